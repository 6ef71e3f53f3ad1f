"""`waver deploy`: work pools, deployments, schedules and notifications on a Prefect server.

It may be repeated: what is not given again is kept as it is on the server.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.responses import DeploymentResponse
from prefect.settings import PREFECT_API_URL, temporary_settings
from rich.console import Console
from rich.table import Table

from flows.context.settings import load_settings
from flows.operations import notifications
from flows.operations.deployment_variables import DEPLOYMENTS_FILE, HOME
from flows.operations.schedules import (
    OFF,
    cron_schedule,
    describe,
    keep_schedules,
    put_schedule,
)
from flows.server.connection import api_client
from flows.server.local_server import prefect_server, running_server
from flows.server.pools import ensure_pools
from storage.datasets.open import check_apart, data_folder
from storage.errors import ConfigError, StageError
from storage.store.url import local_root

_NIGHTLY, _PREDICT_NEW = "nightly", "predict-new"
_DEPLOY_SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployRequest:
    """What is deployed: paths as a worker sees them; ``schedules`` maps deployments to cron.

    Without a profile or model those of the deployment before are kept.
    """

    data: str
    store: str
    profile: str | None = None
    model: str | None = None
    schedules: Mapping[str, str] = field(default_factory=dict)
    timezone: str = "UTC"
    webhook: str | None = None
    email: str | None = None


def deploy(request: DeployRequest) -> None:
    """Create or update everything on the server, and print it.

    Raises:
        ConfigError: a path, schedule or address cannot be used, or no server responds.
        DataError: there is no such data folder.
        StageError: Prefect's own command failed.
    """
    declared = declared_deployments()
    variables = _variables(request)
    crons = {name: _cron(request, name, declared) for name in request.schedules}
    is_own_server = not (os.environ.get("PREFECT_API_URL") or running_server())
    with (
        prefect_server() as api_url,
        temporary_settings({PREFECT_API_URL: api_url}),
        get_client(sync_client=True) as client,
    ):
        with api_client(api_url) as pools:
            ensure_pools(pools)
        before = _deployed(client, declared)
        _keep_variables(variables, before)
        load_settings(variables["WAVER_PROFILE"])
        names = [name for name in declared if name != _PREDICT_NEW or "WAVER_MODEL" in variables]
        _check_deployed(request.schedules, names)
        try:
            _run_prefect_deploy(names, {**variables, "PREFECT_API_URL": api_url})
        finally:  # some deployments may have been created again before it failed
            keep_schedules(client, {row.id: row.schedules for row in before.values()})
        after = _deployed(client, declared)
        for name, cron in crons.items():
            put_schedule(client, after[name].id, cron)
        notes = notifications.configure(
            client, [row.id for row in after.values()], webhook=request.webhook, email=request.email
        )
        _show(Console(), _deployed(client, declared), notes, api_url, is_own_server=is_own_server)


def declared_deployments() -> dict[str, dict[str, Any]]:
    """Read the entries of the YAML file by name."""
    entries = yaml.safe_load(DEPLOYMENTS_FILE.read_text(encoding="utf-8"))["deployments"]
    return {entry["name"]: entry for entry in entries}


def _variables(request: DeployRequest) -> dict[str, str]:
    """Return the variables that the YAML file reads; local paths become absolute."""
    root = local_root(request.store)
    store = request.store if root is None else str(root.resolve())
    data = str(data_folder(request.data).resolve())
    check_apart(data, store)
    variables = {"WAVER_HOME": str(HOME), "WAVER_DATA": data, "WAVER_STORE": store}
    if request.profile is not None:
        load_settings(request.profile)
        is_file = request.profile.endswith(".toml")
        name = str(Path(request.profile).resolve()) if is_file else request.profile
        variables["WAVER_PROFILE"] = name
    if request.model is not None:
        variables["WAVER_MODEL"] = _absolute_model(request.model)
    return variables


def _absolute_model(name: str) -> str:
    """Return a model's folder as an absolute path; a name of the Hugging Face Hub as it is."""
    path = Path(name).expanduser()
    if path.exists():
        return str(path.resolve())
    if path.is_absolute() or name.startswith(("./", "../", "~")):
        raise ConfigError(f"There is no model folder {name!r}: name a folder or a hub name.")
    return name


def _cron(request: DeployRequest, name: str, declared: Mapping[str, Any]) -> Any:
    if name not in declared:
        raise ConfigError(
            f"There is no deployment {name!r} to schedule: expected one of {', '.join(declared)}."
        )
    cron = request.schedules[name]
    return None if cron == OFF else cron_schedule(cron, request.timezone)


def _deployed(
    client: SyncPrefectClient, declared: Mapping[str, Mapping[str, Any]]
) -> dict[str, DeploymentResponse]:
    """Read from the server those of the declared deployments that it has."""
    flows = FlowFilter(name=FlowFilterName(any_=_flow_names(declared)))
    return {
        row.name: row for row in client.read_deployments(flow_filter=flows) if row.name in declared
    }


def _flow_names(declared: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the name of each entry's flow: a stage's own, or that of the whole pipeline."""
    modules = {name: row["entrypoint"].rpartition(".")[2] for name, row in declared.items()}
    return sorted(
        {"waver" if attribute == "pipeline" else name for name, attribute in modules.items()}
    )


def _keep_variables(variables: dict[str, str], before: Mapping[str, DeploymentResponse]) -> None:
    """Add the profile and the model of earlier deployments, where none is given now."""
    for variable, field_name, of in (
        ("WAVER_PROFILE", "profile", _NIGHTLY),
        ("WAVER_MODEL", "model", _PREDICT_NEW),
    ):
        if variable not in variables and of in before:
            earlier = before[of].parameters.get("request", {}).get(field_name)
            if isinstance(earlier, str):
                variables[variable] = earlier
    variables.setdefault("WAVER_PROFILE", "default")


def _check_deployed(schedules: Mapping[str, str], names: Sequence[str]) -> None:
    if missing := [name for name in schedules if name not in names]:
        raise ConfigError(f"To schedule {' and '.join(missing)}, name its model with --model.")


def _run_prefect_deploy(names: Sequence[str], variables: Mapping[str, str]) -> None:
    """Let Prefect read the YAML file, as `prefect deploy` by hand does."""
    chosen = [part for name in names for part in ("--name", name)]
    command = [
        sys.executable, "-m", "prefect", "--no-prompt", "deploy",
        "--prefect-file", str(DEPLOYMENTS_FILE.relative_to(HOME)), *chosen,
    ]  # fmt: skip
    try:
        ended = subprocess.run(
            command, cwd=HOME, env={**os.environ, **variables}, timeout=_DEPLOY_SECONDS, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise StageError(
            f"Prefect has not created the deployments within {_DEPLOY_SECONDS} s: check that its "
            "server responds, and deploy again."
        ) from error
    if ended.returncode:
        raise StageError(
            f"Prefect could not create the deployments (exit status {ended.returncode}).",
            details=tuple(ended.stdout.splitlines()[-30:]),
        )


def _show(
    console: Console,
    deployed: Mapping[str, DeploymentResponse],
    notes: Sequence[notifications.Notification],
    api_url: str,
    *,
    is_own_server: bool,
) -> None:
    table = Table(title="Deployments", title_justify="left", box=None, pad_edge=False)
    for column in ("deployment", "work pool", "schedule"):
        table.add_column(column)
    for name, row in deployed.items():
        paused = " (deployment paused)" if row.paused else ""
        table.add_row(name, row.work_pool_name, describe(row.schedules) + paused)
    console.print(table)
    on = [note.name.removeprefix("waver: ") for note in notes if note.enabled]
    console.print(f"Notifications: {', '.join(on) or 'off (see --webhook and --email)'}")
    if is_own_server:
        console.print("Kept in the local history: `waver serve` starts its server and workers.")
    else:
        console.print(f"Prefect UI: {api_url.removesuffix('/api')}", highlight=False)
