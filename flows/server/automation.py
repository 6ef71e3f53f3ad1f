"""The automation of a Prefect server that turns runs without heartbeat to Crashed."""

from typing import Any

import httpx

from flows.server.connection import post

AUTOMATION = "waver: a run without heartbeat becomes Crashed"
# A run sends a heartbeat every 30 s, but none while the server restarts, which may take 5 minutes;
# then it reconnects within 40 s. A shorter time would crash runs that are alive.
WITHOUT_HEARTBEAT_SECONDS = 400.0
# Any event of the run: that of its end has the name of its state, such as Cached or SomeRejected.
_EVENTS = "prefect.flow-run.*"


def ensure_crash_automation(
    client: httpx.Client, seconds: float = WITHOUT_HEARTBEAT_SECONDS
) -> bool:
    """Create the automation unless the server has one of its name; returns whether it did."""
    by_name = {"automations": {"name": {"any_": [AUTOMATION]}}}
    if post(client, "/automations/filter", by_name):
        return False
    post(client, "/automations/", _automation(seconds))
    return True


def _automation(seconds: float) -> dict[str, Any]:
    heartbeat = "prefect.flow-run.heartbeat"
    message = (
        "No heartbeat of this run has arrived: its process was killed, or its computer stopped."
    )
    return {
        "name": AUTOMATION,
        "description": "Created by Waver. A server that lacks it gets it again when it starts: "
        "disable it to keep it off.",
        "enabled": True,
        "trigger": {
            "type": "event",
            "posture": "Proactive",
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "for_each": ["prefect.resource.id"],
            "after": [heartbeat],
            "expect": [_EVENTS],
            "threshold": 1,
            "within": seconds,
        },
        "actions": [{"type": "change-flow-run-state", "state": "CRASHED", "message": message}],
    }
