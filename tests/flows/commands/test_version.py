from importlib.metadata import PackageNotFoundError

import pytest

from flows.commands import version


def test_a_checkout_that_is_not_installed_has_an_unknown_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def find(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(version, "version", find)
    assert version.waver_version() == "unknown"
    monkeypatch.setattr(version, "version", lambda name: f"1.2 of {name}")
    assert version.waver_version() == "1.2 of waver"
