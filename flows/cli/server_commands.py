"""Commands on Prefect servers: `serve`, `ui`, `deploy`, `runs` and `retry`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import HISTORY, Data
from flows.server.environment import prepare_environment
from storage.errors import ConfigError

Port = Annotated[
    int, typer.Option(min=1, max=65535, help="Port of the UI and the API on this computer.")
]
PemFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", exists=True, dir_okay=False, help="For HTTPS: a PEM file."),
]
DeployedStore = Annotated[
    str, typer.Option(metavar="STORE", help="Folder or URL of the store of all runs.")
]
DeployedProfile = Annotated[
    str | None,
    typer.Option(
        metavar="PROFILE", help="Name of a profile, or path of a .toml file. At first, `default`."
    ),
]
DeployedModel = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="Model folder or hub name of deployment predict-new."),
]
Nightly = Annotated[
    str | None,
    typer.Option(metavar="CRON", help="When nightly runs; `off` for never. At first, 2:00."),
]
Schedules = Annotated[
    list[str] | None,
    typer.Option(
        metavar="DEPLOYMENT=CRON", help="When another deployment runs, or `off` (repeatable)."
    ),
]
Timezone = Annotated[
    str | None, typer.Option(metavar="ZONE", help="Time zone of the given schedules; else UTC.")
]
Webhook = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Notify of failed and completed runs by a webhook."),
]
Email = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Notify by e-mail, through WAVER_SMTP=smtps://USER:PASSWORD@HOST:PORT.",
    ),
]


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")
    ] = "127.0.0.1",
    port: Port = 4200,
    workers: Annotated[
        bool, typer.Option(help="Run a worker for each work pool on this computer.")
    ] = True,
    ssl_certificate: PemFile = None,
    ssl_key: PemFile = None,
) -> None:
    """Serve Prefect's API and UI, and run deployments on this computer, until Ctrl-C.

    Set PREFECT_SERVER_API_AUTH_STRING to user:password, there and as PREFECT_API_AUTH_STRING for
    every client, to admit nobody else. PREFECT_API_DATABASE_CONNECTION_URL names another database
    than the history's SQLite file.
    """
    if (ssl_certificate is None) != (ssl_key is None):
        raise ConfigError("--ssl-certificate and --ssl-key belong together: pass both, or neither.")
    os.environ.pop("PREFECT_API_URL", None)  # of the clients: this command starts the server
    prepare_environment(HISTORY)
    from flows.operations.serve import serve as serve_server
    from flows.server.local_server import Listen

    listen = Listen(host=host, port=port, certificate=ssl_certificate, key=ssl_key)
    serve_server(listen, with_workers=workers)


def ui(port: Port = 4200) -> None:
    """Serve the Prefect UI with the history of local runs, until Ctrl-C."""
    prepare_environment(HISTORY)
    from flows.operations.ui import serve_ui

    serve_ui(port)


def runs(
    limit: Annotated[int, typer.Option(min=1, help="Number of runs, the newest first.")] = 20,
    state: Annotated[
        str | None,
        typer.Option(metavar="STATE", help="Only runs in this state, as Failed or SomeRejected."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List the runs of the local history, or of the server that PREFECT_API_URL names."""
    prepare_environment(HISTORY)
    from flows.operations.runs import show_runs

    show_runs(limit, state, as_json=as_json)


def retry(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Id of a run, the beginning of one, or its name.")
    ],
) -> None:
    """Run again what a run left: here if it ran here, else by a worker of its deployment.

    What a run forces is computed once, however often it is retried: a completed run of `retrain`
    trains nothing more. Start its deployment, or the command with --force, anew for that.
    """
    prepare_environment(HISTORY)
    from flows.operations.runs import retry_run

    raise typer.Exit(retry_run(run))


def deploy(
    data: Data,
    store: DeployedStore,
    profile: DeployedProfile = None,
    model: DeployedModel = None,
    nightly: Nightly = None,
    schedule: Schedules = None,
    timezone: Timezone = None,
    webhook: Webhook = None,
    email: Email = None,
) -> None:
    """Create the deployments, work pools and notifications on a Prefect server, or update them.

    Profile, model, schedules and notifications that are not given again stay as they are; schedules
    and notifications also if they were changed in the UI.
    """
    schedules = dict(_schedule_of(text) for text in schedule or ())
    if nightly is not None:
        schedules["nightly"] = nightly
    if timezone is not None and not schedules:
        raise ConfigError(
            f"--timezone {timezone!r} belongs to a schedule: give one with --nightly or --schedule."
        )
    prepare_environment(HISTORY)
    from flows.operations.deploy import DeployRequest
    from flows.operations.deploy import deploy as deploy_all

    request = DeployRequest(
        data=data, store=store, profile=profile, model=model, schedules=schedules,
        timezone=timezone or "UTC", webhook=webhook, email=email,
    )  # fmt: skip
    deploy_all(request)


def _schedule_of(text: str) -> tuple[str, str]:
    name, equals, cron = text.partition("=")
    if not (equals and cron.strip()):
        raise ConfigError(
            f"The schedule {text!r} is not of the form DEPLOYMENT=CRON, as in 'retrain=0 4 1 * *'."
        )
    return name, cron
