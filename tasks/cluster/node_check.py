"""Check that a node of a cluster can compute for a run: the same code, store and files.

A node with other code would write other results under the same variant, and one without the store's
file system would write them where nobody finds them.
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

from storage.errors import WaverError
from storage.fingerprint import digest_file, digest_of
from storage.store.store import Store

_ROOT = Path(__file__).parents[2]
_PACKAGES = ("tasks", "storage")


@cache
def code_digest() -> str:
    """Digest the source files, prompts and queries of what runs on nodes."""
    files = sorted(
        path
        for package in _PACKAGES
        for path in (_ROOT / package).rglob("*")
        if path.is_file() and path.suffix in {".py", ".txt", ".sql"}
    )
    return digest_of([(str(path.relative_to(_ROOT)), digest_file(path)) for path in files])


def find_fault(
    code: str, store_url: str, token: str, paths: Sequence[str], module: str
) -> str | None:
    """Return why this node cannot compute for the run, or None.

    ``code`` is the run's `code_digest`, ``token`` a file that it has written to the store, and
    ``paths`` are files and folders that it reads, ``module`` is that of its task.
    """
    if code_digest() != code:
        return "has another version of Waver: install the same one on every node"
    try:
        sees_store = Store(store_url).exists(token)
    except WaverError as error:
        return f"cannot use the store ({error})"
    if not sees_store:
        return f"does not see the store {store_url!r}: every node needs it at this path"
    for path in paths:
        if not Path(path).exists():
            return f"has no {path!r}: every node needs it at this path"
    import_module(module)  # the task starts sooner then in this process
    return None


def placeholder_flow() -> None:
    """Stand for the function of a flow whose tasks run on nodes, where the flow itself does not."""
