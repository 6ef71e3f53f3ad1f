import asyncio
import importlib
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.server.events.ordering import CausalOrderingModule, EventArrivedEarly
from prefect.server.events.schemas.events import ReceivedEvent, Resource

from flows.server.environment import SERVER
from flows.server.event_order import WAIT, CausalOrdering


@pytest.fixture
def order() -> CausalOrdering:
    return CausalOrdering(f"a scope of its own: {uuid4()}")


def event(follows: UUID | None, seconds_ago: float = 0) -> ReceivedEvent:
    then = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return ReceivedEvent(
        id=uuid4(), follows=follows, occurred=then, received=then, event="prefect.flow-run.Pending",
        resource=Resource({"prefect.resource.id": "prefect.flow-run.1"}),
    )  # fmt: skip


async def process(order: CausalOrdering, each: ReceivedEvent, done: list[ReceivedEvent]) -> None:
    async def handle(waiting: ReceivedEvent, depth: int = 0) -> None:
        async with order.preceding_event_confirmed(handle, waiting, depth=depth):
            done.append(waiting)

    await handle(each)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_events_are_processed_in_their_order_although_they_arrive_in_another(
    order: CausalOrdering,
) -> None:
    first = event(None)
    second = event(first.id)
    done: list[ReceivedEvent] = []

    async def arrive() -> None:
        with pytest.raises(EventArrivedEarly):
            await process(order, second, done)
        assert await order.get_lost_followers() == []
        await process(order, first, done)

    run(arrive())
    assert done == [first, second]


def test_an_event_whose_predecessor_never_comes_is_processed_with_those_that_follow_it(
    order: CausalOrdering,
) -> None:
    first = event(uuid4(), WAIT.total_seconds() - 0.4)
    second, other = event(first.id), event(uuid4())
    done: list[ReceivedEvent] = []

    async def arrive() -> None:
        for early in (first, second, other):
            with pytest.raises(EventArrivedEarly):
                await process(order, early, done)
        assert await order.get_lost_followers() == []
        await asyncio.sleep(0.5)
        (lost,) = await order.get_lost_followers()
        assert await order.get_lost_followers() == []
        await process(order, lost, done)

    run(arrive())
    assert done == [first, second]


def test_the_environment_of_servers_names_this_order() -> None:
    module = importlib.import_module(SERVER["PREFECT_SERVER_EVENTS_CAUSAL_ORDERING"])
    assert isinstance(module, CausalOrderingModule)
    assert issubclass(module.CausalOrdering, CausalOrdering)
