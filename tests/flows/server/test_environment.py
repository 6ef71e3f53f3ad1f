import os
from pathlib import Path

import pytest

from flows.server.environment import prepare_environment
from storage.errors import ConfigError


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment of its own, restored after the test."""
    for name in (*os.environ,):
        if name.startswith("PREFECT_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(os, "environ", dict(os.environ))


def test_the_history_is_created_and_the_console_log_silenced(tmp_path: Path) -> None:
    prepare_environment(tmp_path / "deep" / "history")
    assert os.environ["PREFECT_HOME"] == str(tmp_path / "deep" / "history")
    assert (tmp_path / "deep" / "history").is_dir()
    assert os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] == "CRITICAL"
    assert os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


def test_variables_of_the_user_are_kept(tmp_path: Path) -> None:
    os.environ["PREFECT_HOME"] = str(tmp_path / "mine")
    os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "DEBUG"
    prepare_environment(tmp_path / "history")
    assert os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] == "DEBUG"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_unwritable_history_is_a_mistake_that_names_the_variable_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot be written .* PREFECT_HOME"):
        prepare_environment(tmp_path / "file" / "history")
