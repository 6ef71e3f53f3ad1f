"""The environment variables that `infra/prefect.yaml` reads when deployments are created."""

import os
from collections.abc import Sequence
from pathlib import Path

from storage.errors import ConfigError

HOME = Path(__file__).parents[2]
DEPLOYMENTS_FILE = HOME / "infra" / "prefect.yaml"


def check_variables(names: Sequence[str]) -> None:
    """Raise if one of these environment variables is not set; a build step of the YAML file.

    Raises:
        ConfigError: one is missing or empty, or WAVER_HOME is not an absolute path.
    """
    missing = [name for name in names if not os.environ.get(name, "").strip()]
    if missing:
        raise ConfigError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set: set "
            f"{'it' if len(missing) == 1 else 'them'} as {DEPLOYMENTS_FILE.name} explains, or "
            "create the deployments with `waver deploy`."
        )
    home = os.environ["WAVER_HOME"]
    if not Path(home).is_absolute():
        raise ConfigError(f"WAVER_HOME is {home!r}: expected an absolute path.")
