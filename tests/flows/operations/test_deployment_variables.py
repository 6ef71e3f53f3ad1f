"""Build steps of the deployments, as Prefect's own `prefect deploy` runs them."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prefect.deployments.steps.core import StepExecutionError, run_steps
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.operations.deployment_variables import DEPLOYMENTS_FILE
from storage.errors import ConfigError

ENTRIES = yaml.safe_load(DEPLOYMENTS_FILE.read_text())
BUILDS = [entry.get("build", ENTRIES["build"]) for entry in ENTRIES["deployments"]]
DISTINCT = [steps for number, steps in enumerate(BUILDS) if steps not in BUILDS[:number]]


@pytest.fixture(autouse=True)
def client_of(server: dict[str, str]) -> Iterator[None]:
    """A failed step is an event for the server."""
    with temporary_settings({PREFECT_API_URL: server["PREFECT_API_URL"]}):
        yield


def build(steps: list[dict[str, Any]]) -> None:
    asyncio.run(run_steps(steps, print_function=lambda *_, **__: None))


@pytest.mark.parametrize("steps", DISTINCT, ids=["all", "predict-new"])
def test_deploying_by_hand_without_a_variable_fails_and_names_it(
    steps: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"WAVER_HOME", "WAVER_DATA", "WAVER_STORE", "WAVER_PROFILE"}
    for name in {*names, "WAVER_MODEL"}:
        monkeypatch.setenv(name, "/somewhere")
    build(steps)
    for name in names if steps == ENTRIES["build"] else {*names, "WAVER_MODEL"}:
        for value in (None, "", " "):
            with monkeypatch.context() as patch:
                if value is None:
                    patch.delenv(name)
                else:
                    patch.setenv(name, value)
                with pytest.raises(StepExecutionError) as caught:
                    build(steps)
                assert isinstance(caught.value.__cause__, ConfigError)
                assert name in str(caught.value.__cause__)
