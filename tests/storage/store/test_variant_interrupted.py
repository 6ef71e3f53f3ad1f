"""A process that dies at any write leaves whole results, and a second run completes them.

Death is simulated: from one write on, every write raises, cleaning up included, and the content of
the first one is missing or cut in half. `test_variant_killed.py` kills real processes.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant
from tests.storage.toys import Fact, Row, open_toy_variant

OLD = {"kept": "1", "changed": "1"}
NEW = {"kept": "1", "changed": "2", "added": "1"}

LOCAL_WRITES = ("mkdir", "rename", "replace", "rmdir", "touch", "unlink", "write_bytes")
REMOTE_WRITES = ("makedirs", "pipe_file", "put_file", "rm_file", "rmdir")


class Died(BaseException):
    """The end of a simulated process."""


class DyingProcess:
    """Counts writes; the one at ``step`` and all later ones raise.

    If ``is_torn``, the first one leaves half of its content.
    """

    def __init__(self, step: int | None = None, *, is_torn: bool = False) -> None:
        self.step = step
        self.is_torn = is_torn
        self.num_writes = 0

    def wrap(
        self, write: Callable[..., Any], tear: Callable[..., Any] | None
    ) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            number, self.num_writes = self.num_writes, self.num_writes + 1
            if self.step is None or number < self.step:
                return write(*arguments, **options)
            if number == self.step and self.is_torn and tear is not None:
                tear(*arguments)
            raise Died

        return wrapped

    @contextmanager
    def running(self) -> Iterator[None]:
        write_bytes, pipe_file = Path.write_bytes, MemoryFileSystem.pipe_file
        tears: dict[str, Callable[..., Any]] = {
            "write_bytes": lambda path, content: write_bytes(path, content[: len(content) // 2]),
            "pipe_file": lambda fs, path, content: pipe_file(
                fs, path, content[: len(content) // 2]
            ),
            "put_file": lambda fs, local, path: pipe_file(fs, path, Path(local).read_bytes()[:3]),
        }
        with pytest.MonkeyPatch.context() as patch:
            for owner, names in (
                (Path, LOCAL_WRITES), (MemoryFileSystem, REMOTE_WRITES),
                (shutil, ("copyfile", "rmtree")),
            ):  # fmt: skip
                for name in names:
                    wrapped = self.wrap(getattr(owner, name), tears.get(name))
                    patch.setattr(owner, name, wrapped)
            yield


def text_of(item: str, digest: str) -> bytes:
    return f"{item} {digest} ".encode() * 20


def file_of(variant: Variant, item: str, digest: str) -> str:
    """Where an item's file is stored: as in all stages, its path depends on its input."""
    return variant.file_path(f"{item}-{digest}.txt")


def rows_of(item: str, digest: str) -> tuple[Fact | Row, ...]:
    return (Fact(name=item), *(Row(name=item, number=n, note=digest) for n in (1, 2)))


def commit(variant: Variant, expected: Mapping[str, str]) -> None:
    """Commit all pending items as one part."""
    pending = variant.pending(expected)
    with variant.store.staging() as folder:
        outputs = []
        for item in pending:
            digest = expected[item]
            local = folder / item
            with local.open("wb") as stream:
                stream.write(text_of(item, digest))
            files = {file_of(variant, item, digest): local}
            outputs.append(ItemOutput(item_id=item, rows=rows_of(item, digest), files=files))
        variant.commit(outputs, expected)


def check_whole(variant: Variant, expected: Mapping[str, str]) -> set[str]:
    """Check that exactly the finished items can be read, each of them whole; return them."""
    finished = variant.finished(expected)
    assert variant.pending(expected) == [item for item in expected if item not in finished]
    rows = [row for item in expected if item in finished for row in rows_of(item, expected[item])]
    assert variant.read(Fact, expected) == [row for row in rows if isinstance(row, Fact)]
    assert variant.read(Row, expected) == [row for row in rows if isinstance(row, Row)]
    for item in finished:
        with variant.store.open(file_of(variant, item, expected[item])) as stream:
            assert stream.read() == text_of(item, expected[item])
    return finished


@pytest.fixture(params=["folder", "memory"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """The URLs of stores, each with the old results."""
    numbers, prefix = count(), "memory://" if request.param == "memory" else ""

    def make() -> str:
        url = f"{prefix}{tmp_path}/{next(numbers)}"
        commit(open_toy_variant(Store(url)), OLD)
        return url

    yield make
    with suppress(FileNotFoundError):
        MemoryFileSystem().rm(str(tmp_path), recursive=True)


def deaths(run: Callable[[Variant], None], fresh: Callable[[], str]) -> Iterator[Variant]:
    """Yield the variant, as another process opens it, after each possible death of a run."""
    undisturbed = DyingProcess()
    variant = open_toy_variant(Store(fresh()))
    with undisturbed.running():
        run(variant)
    assert undisturbed.num_writes >= 2
    for step in range(undisturbed.num_writes):
        for is_torn in (False, True):
            url = fresh()
            variant = open_toy_variant(Store(url))
            with DyingProcess(step, is_torn=is_torn).running(), pytest.raises(Died):
                run(variant)
            yield open_toy_variant(Store(url))


def test_a_commit_that_dies_at_any_write_leaves_all_of_it_or_nothing(
    fresh: Callable[[], str],
) -> None:
    outcomes = []
    for variant in deaths(lambda variant: commit(variant, NEW), fresh):
        assert check_whole(variant, OLD) == {"kept", "changed"}
        finished = check_whole(variant, NEW)
        outcomes.append(finished)
        assert finished in ({"kept"}, set(NEW))
        commit(variant, NEW)
        assert check_whole(variant, NEW) == set(NEW)
        assert check_whole(variant, OLD) == {"kept", "changed"}
    assert {"kept"} in outcomes
    assert set(NEW) in outcomes


def test_an_invalidation_that_dies_at_any_write_leaves_all_of_it_or_nothing(
    fresh: Callable[[], str],
) -> None:
    invalid = {"changed": "1"}
    for variant in deaths(lambda variant: variant.invalidate(invalid), fresh):
        assert check_whole(variant, OLD) in ({"kept"}, {"kept", "changed"})
        variant.invalidate(invalid)
        assert check_whole(variant, OLD) == {"kept"}
        commit(variant, OLD)
        assert check_whole(variant, OLD) == set(OLD)


def test_two_commits_that_die_at_any_writes_are_completed_by_a_third(
    fresh: Callable[[], str],
) -> None:
    """Leftovers of one death do not make another one worse."""
    for variant in deaths(lambda variant: commit(variant, NEW), fresh):
        step = len(variant.pending(NEW)) + 1
        with DyingProcess(step, is_torn=True).running(), suppress(Died):
            commit(variant, NEW)
        reopened = open_toy_variant(Store(variant.store.url))
        check_whole(reopened, NEW)
        commit(reopened, NEW)
        assert check_whole(reopened, NEW) == set(NEW)
