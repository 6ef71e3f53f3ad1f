"""Notifications about runs of the deployments: Prefect automations, each off until configured."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import quote, urlsplit
from uuid import UUID

from prefect.blocks.notifications import CustomWebhookNotificationBlock, SlackWebhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import DoNothing, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.types import SecretDict
from pydantic import SecretStr

from flows.running.outcome import CACHED, COMPLETED, SOME_REJECTED
from storage.errors import ConfigError

Channel = Literal["webhook", "email"]
SMTP = "WAVER_SMTP"
_DEFAULT_SMTP = "smtp://localhost:25"
_NOT_CONFIGURED = "Off until an address is configured: `waver deploy --{channel} ...`."
_SUBJECT = "Waver: {{ deployment.name }} {{ flow_run.state.name }}"
_BODY = (
    "{{ flow_run.name }}: {{ flow_run.state.message or 'no message' }}\n"
    "{{ (flow_run | ui_url) or '' }}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Occasion:
    """When to notify: the names of the states that a run enters."""

    name: str
    events: tuple[str, ...]


# A run that no worker takes is Late; one that a deployment's limit rejects is Cancelled.
_OCCASIONS = (
    _Occasion(name="failure", events=("Failed", "Crashed", "TimedOut", "Cancelled", "Late")),
    _Occasion(name="completion", events=(COMPLETED, CACHED, SOME_REJECTED)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One automation as it is on the server now."""

    name: str
    enabled: bool


def configure(
    client: SyncPrefectClient,
    deployments: Sequence[UUID],
    *,
    webhook: str | None = None,
    email: str | None = None,
) -> list[Notification]:
    """Create the automations that are missing, and turn those of a given address on.

    Those of no given address keep what they do, and whether they are on.

    Raises:
        ConfigError: an address is invalid.
    """
    blocks: dict[Channel, UUID] = {}
    if webhook is not None:
        blocks["webhook"] = _save_webhook(webhook)
    if email is not None:
        blocks["email"] = _save_email(email, os.environ.get(SMTP) or _DEFAULT_SMTP)
    channels: tuple[Channel, ...] = ("webhook", "email")
    return [
        _put(client, occasion, channel, deployments, blocks.get(channel))
        for occasion in _OCCASIONS
        for channel in channels
    ]


def _put(
    client: SyncPrefectClient,
    occasion: _Occasion,
    channel: Channel,
    deployments: Sequence[UUID],
    block: UUID | None,
) -> Notification:
    name = f"waver: {occasion.name} by {channel}"
    automation = AutomationCore(
        name=name,
        description=f"Notify of the {occasion.name} of a deployment's run. "
        + ("" if block else _NOT_CONFIGURED.format(channel=channel)),
        enabled=block is not None,
        trigger=_trigger(occasion, deployments),
        actions=[
            SendNotification(block_document_id=block, subject=_SUBJECT, body=_BODY)
            if block
            else DoNothing()
        ],
    )
    existing = client.read_automations_by_name(name)
    if not existing:
        client.create_automation(automation)
    else:
        if block is None:
            kept = {"enabled", "actions", "description"}
            automation = automation.model_copy(update={k: getattr(existing[0], k) for k in kept})
        client.update_automation(existing[0].id, automation)
    return Notification(name=name, enabled=automation.enabled)


def _trigger(occasion: _Occasion, deployments: Sequence[UUID]) -> EventTrigger:
    """Return the trigger on runs of these deployments; the flows within a run have none."""
    labels = {"prefect.resource.id": "prefect.flow-run.*"}
    of_deployment = {
        "prefect.resource.role": "deployment",
        "prefect.resource.id": [f"prefect.deployment.{deployment}" for deployment in deployments],
    }
    return EventTrigger(
        posture=Posture.Reactive,
        threshold=1,
        expect={f"prefect.flow-run.{event}" for event in occasion.events},
        match=ResourceSpecification.model_validate(labels),
        match_related=ResourceSpecification.model_validate(of_deployment),
    )


def _save_webhook(url: str) -> UUID:
    """Save the webhook; the URL often holds a token, and is kept as a secret."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise ConfigError(f"The webhook {url!r} is not a URL: expected http:// or https://.")
    block = CustomWebhookNotificationBlock(
        name="waver",
        url="{{url}}",
        json_data={"text": "{{subject}}\n{{body}}"},  # as Slack, Mattermost and Teams read it
        headers=None,
        cookies=None,
        secrets=SecretDict({"url": url}),
    )
    return cast(UUID, block.save("waver-webhook", overwrite=True))


def _save_email(address: str, smtp: str) -> UUID:
    # Prefect has no block for a mail server; this one passes any other URL than Slack's on to
    # Apprise, which has.
    block = SlackWebhook(url=SecretStr(mail_url(address, smtp)))
    return cast(UUID, block.save("waver-email", overwrite=True))


def mail_url(address: str, smtp: str) -> str:
    """Return Apprise's URL for mail to an address through a server.

    Args:
        address: the recipient, who is also named as the sender
        smtp: ``smtp://`` or, with TLS, ``smtps://`` and ``[USER:PASSWORD@]HOST[:PORT]``

    Raises:
        ConfigError: one of them has another form.
    """
    name, at, domain = address.partition("@")
    if not (name and at and domain) or any(c.isspace() for c in address):
        raise ConfigError(f"The e-mail address {address!r} is not of the form NAME@DOMAIN.")
    server = urlsplit(smtp)
    try:
        named_port = server.port
    except ValueError:
        named_port = 0
    if server.scheme not in ("smtp", "smtps") or not server.hostname or named_port == 0:
        raise ConfigError(
            f"{SMTP} is not the URL of a mail server: expected smtp://HOST:PORT, or with TLS "
            "smtps://USER:PASSWORD@HOST:PORT."
        )
    secure = server.scheme == "smtps"
    port = named_port or (465 if secure else 25)
    mode = "insecure" if not secure else ("ssl" if port == 465 else "starttls")
    user = f"{server.username}:{server.password or ''}@" if server.username else ""
    to = quote(address)
    scheme = "mailtos" if secure else "mailto"
    return f"{scheme}://{user}{server.hostname}:{port}?from={to}&to={to}&mode={mode}"
