"""The rules, explored in every order in which processes can read, write, work, end and die."""

from dataclasses import dataclass, replace

import pytest

from storage.store.lease_rules import Claim, Partition, Step, next_step, next_ticket


@dataclass(frozen=True)
class Process:
    """``file`` is what others see; ``plan`` what it writes next, by its last listing."""

    name: str
    partition: Partition | None = None
    file: Claim | None = None
    plan: Claim | None = None
    state: str = "new"  # new, listing, writing, working, done, dead


World = tuple[Process, ...]


def visible(world: World, own: Process) -> list[Claim]:
    mine = Claim(ticket=0, holder=own.name, is_claiming=False, partition=own.partition)
    return [
        other.file
        for other in world
        if other.file and other.name != own.name and mine.excludes(other.file)
    ]


def moves(world: World, own: Process) -> list[Process]:
    """All that one process can do next, in one step that nothing interrupts."""
    if own.state == "new":
        others = visible(world, own)
        claim = Claim(
            ticket=next_ticket(others), holder=own.name, is_claiming=not others,
            partition=own.partition,
        )  # fmt: skip
        return [replace(own, state="writing", plan=claim)]
    if own.state == "writing":
        return [replace(own, state="listing", file=own.plan, plan=None)]
    if own.state == "listing":
        step = next_step(own.file, visible(world, own))
        if step is Step.WORK:
            return [replace(own, state="working")]
        if step is Step.WAIT:
            return []
        claim = replace(own.file, is_claiming=step is Step.CLAIM)
        return [replace(own, state="writing", plan=claim)]
    if own.state == "working":
        return [replace(own, state="done", file=None)]
    return []


def explore(start: World, *, may_die: bool) -> tuple[set[World], set[World]]:
    """Return all worlds that can be reached, and those in which nothing can happen any more."""
    seen, left, ends = {start}, [start], set()
    while left:
        world = left.pop()
        following = []
        for index, own in enumerate(world):
            after = moves(world, own)
            if may_die and own.state in ("writing", "listing", "working"):
                after = [*after, replace(own, state="dead")]
            if own.state == "dead" and own.file:  # its file expires
                after = [replace(own, file=None)]
            following += [(*world[:index], each, *world[index + 1 :]) for each in after]
        if not following:
            ends.add(world)
        for each in following:
            if each not in seen:
                seen.add(each)
                left.append(each)
    return seen, ends


@pytest.mark.parametrize(
    ("partitions", "may_die"),
    [
        ((None, None), True),
        ((None, None, None), False),
        (((1, 2), None, (2, 2)), False),
        (((1, 2), None), True),
        (((1, 2), (1, 2), (1, 3)), False),
    ],
)
def test_no_two_that_exclude_each_other_ever_work_at_once_and_all_get_their_turn(
    partitions, may_die
):
    start = tuple(Process(name=f"p{n}", partition=part) for n, part in enumerate(partitions))
    worlds, ends = explore(start, may_die=may_die)
    claims = {p.name: Claim(ticket=1, holder=p.name, is_claiming=True, partition=p.partition)
              for p in start}  # fmt: skip
    for world in worlds:
        working = [claims[process.name] for process in world if process.state == "working"]
        assert not any(
            one.excludes(other) for one in working for other in working if one is not other
        )
    assert ends
    assert {process.state for world in ends for process in world} <= {"done", "dead"}
    assert len(worlds) > 50


def test_partitions_of_the_same_number_work_side_by_side():
    worlds, _ = explore((Process("a", (1, 2)), Process("b", (2, 2))), may_die=False)
    assert any([process.state for process in world] == ["working"] * 2 for world in worlds)


@pytest.mark.parametrize(
    ("one", "other", "excludes"),
    [
        (None, None, True),
        (None, (1, 2), True),
        ((1, 2), (2, 2), False),
        ((2, 2), (2, 2), True),
        ((1, 2), (2, 3), True),
    ],
)
def test_only_different_partitions_of_one_number_do_not_exclude_each_other(one, other, excludes):
    first, second = (
        Claim(ticket=1, holder=name, is_claiming=True, partition=partition)
        for name, partition in (("a", one), ("b", other))
    )
    assert first.excludes(second) is second.excludes(first) is excludes


def test_who_comes_later_waits_behind_who_waits_already():
    working = Claim(ticket=4, holder="b", is_claiming=True)
    waiting = Claim(ticket=5, holder="c", is_claiming=False)
    last = Claim(ticket=next_ticket([working, waiting]), holder="a", is_claiming=False)
    assert next_step(last, [waiting]) is Step.WAIT
    assert next_step(waiting, [last]) is Step.CLAIM
