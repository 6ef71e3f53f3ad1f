"""The installed version of Waver."""

from importlib.metadata import PackageNotFoundError, version


def waver_version() -> str:
    """Return the installed version, or "unknown" in a checkout that is not installed."""
    try:
        return version("waver")
    except PackageNotFoundError:
        return "unknown"
