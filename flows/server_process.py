"""The local Prefect server's own process: `python -m flows.server_process PORT`.

It ends with the process that started it, however that one ends.
"""

import sys

from tasks.child import end_with_parent


def main() -> None:
    """Serve Prefect's API and UI on loopback until the parent is gone."""
    end_with_parent()
    import uvicorn
    from prefect.server.api.server import create_app

    uvicorn.run(create_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")


if __name__ == "__main__":
    main()
