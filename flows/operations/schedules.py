"""Schedules of deployments: given on the command line, or kept as they are on the server."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.schedules import CronSchedule
from pydantic import ValidationError

from storage.errors import ConfigError

OFF = "off"


def cron_schedule(cron: str, timezone: str) -> CronSchedule:
    """Return a schedule of five fields: minute, hour, day of month, month, day of week.

    Raises:
        ConfigError: it cannot be read, or there is no such time zone.
    """
    try:
        return CronSchedule(cron=cron, timezone=timezone)
    except (ValidationError, ValueError) as error:
        raise ConfigError(
            f"The schedule {cron!r} in time zone {timezone!r} cannot be read: expected five fields "
            "as in '0 2 * * *' (every day at 2:00), or off, and a zone as in Europe/Paris."
        ) from error


def put_schedule(
    client: SyncPrefectClient, deployment: UUID, schedule: CronSchedule | None
) -> None:
    """Let a deployment have this schedule alone, or none."""
    _replace(client, deployment, [] if schedule is None else [_create(schedule, active=True)])


def keep_schedules(
    client: SyncPrefectClient, before: Mapping[UUID, Sequence[DeploymentSchedule]]
) -> None:
    """Restore the schedules that deployments had before they were created again.

    Prefect replaces them by those of the YAML file: one that somebody has changed or paused in the
    UI would be lost.
    """
    for deployment, schedules in before.items():
        kept = [
            DeploymentScheduleCreate(
                schedule=row.schedule, active=row.active, parameters=row.parameters or {},
                slug=row.slug,
            )
            for row in schedules
        ]  # fmt: skip
        _replace(client, deployment, kept)


def describe(schedules: Sequence[DeploymentSchedule]) -> str:
    """Return the schedules in one line."""
    return ", ".join(_describe(row) for row in schedules) or "none"


def _describe(row: DeploymentSchedule) -> str:
    schedule = row.schedule
    if isinstance(schedule, CronSchedule):
        text = f"{schedule.cron} ({schedule.timezone or 'UTC'})"
    else:
        text = getattr(schedule, "rrule", None) or f"every {getattr(schedule, 'interval', '?')}"
    return text if row.active else f"{text}, paused"


def _create(schedule: CronSchedule, *, active: bool) -> DeploymentScheduleCreate:
    return DeploymentScheduleCreate(schedule=schedule, active=active)


def _replace(
    client: SyncPrefectClient, deployment: UUID, schedules: Sequence[DeploymentScheduleCreate]
) -> None:
    for row in client.read_deployment_schedules(deployment):
        client.delete_deployment_schedule(deployment, row.id)
    if schedules:
        client.create_deployment_schedules(deployment, list(schedules))
