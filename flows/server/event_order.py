"""How long a Prefect server waits for the event that another event follows: some seconds.

A server runs it by `PREFECT_SERVER_EVENTS_CAUSAL_ORDERING`. Prefect's own order waits 15 minutes,
and its scheduler sends no event for the runs that it creates (3.7.7): a run that starts within five
minutes after that, as the first ones of a new schedule do, would notify a quarter of an hour late.
"""

from datetime import UTC, datetime, timedelta

from prefect.server.events.ordering import memory
from prefect.server.events.schemas.events import ReceivedEvent

WAIT = timedelta(seconds=15)


class CausalOrdering(memory.CausalOrdering):
    """Prefect's order of events in memory, with a shorter wait for one that is missing."""

    async def wait_for_leader(self, event: ReceivedEvent) -> None:
        """Wait for the event that this one follows, unless this one has waited long enough."""
        if not _has_waited(event):
            await super().wait_for_leader(event)

    async def get_lost_followers(self) -> list[ReceivedEvent]:
        """Return, in their order, the events that have waited long enough; they wait no longer."""
        async with self._lock:
            waiting = [self._events[name] for name in self._waitlist if name in self._events]
            lost = sorted(filter(_has_waited, waiting), key=lambda event: event.occurred)
            for event in lost:
                del self._waitlist[event.id]
        return lost


def _has_waited(event: ReceivedEvent) -> bool:
    return datetime.now(UTC) - event.received >= WAIT
