"""Two runs at once, of the pipeline and of a stage: real processes against one server."""

import json
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flows.server.history import post
from tests.flows.commands.command_line import Waver, computed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NUM_VIDEOS = 12


@pytest.fixture(scope="module")
def second_waver(waver: Waver) -> Iterator[Waver]:
    with waver.fork() as second:
        yield second


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory, video) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(NUM_VIDEOS):
        shutil.copy(video("odd.mp4"), folder / f"{number}.mp4")
    return folder


class Run:
    """A command in progress, and what it printed so far; killed if the block does not wait."""

    def __init__(self, waver: Waver, output: Path, videos: Path, store: Path, *only: str):
        self._waver, self._output, self._status = waver, output, None
        arguments = ["run", "--profile", "sandbox", "--data", str(videos), "--store", str(store)]
        arguments += [part for stage in only for part in ("--only", stage)]
        with output.open("wb") as stream:
            number = stream.fileno()
            self.process_id = waver.start(arguments, number, number)

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is None:
            self.signal(signal.SIGKILL)
            self.end()

    def text(self) -> str:
        return self._output.read_text()

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.text(), self.text)

    def end(self) -> int:
        self._status = self._waver.wait()
        return self._status

    def signal(self, number: int) -> None:
        os.kill(self.process_id, number)


def wait_until(condition, describe) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, describe()
        time.sleep(0.02)


def finished_items(store: Path) -> Counter:
    markers = (store / "segment").glob("*/done/*.json")
    return Counter(
        item for path in markers for item in json.loads(path.read_text())["part"]["items"]
    )


def stop_in_segment(run: Run, store: Path, *, num_finished: int = 0) -> None:
    """Freeze a run that works on the stage, so that the other certainly meets it."""
    leases = store / ".leases"
    wait_until(
        lambda: any(leases.glob("segment.*")) and len(finished_items(store)) >= num_finished,
        run.text,
    )
    run.signal(signal.SIGSTOP)


def test_the_nightly_and_a_stage_alone_compute_each_video_once(
    server, waver, second_waver, videos, tmp_path
):
    store = tmp_path / "store"
    stages = ("segment", "transcribe")
    with Run(waver, tmp_path / "first", videos, store, *stages) as nightly:
        stop_in_segment(nightly, store)
        working = f"process {nightly.process_id} on {os.uname().nodename}, which has worked on it"
        message = f"segment: waiting for {working}"
        with Run(second_waver, tmp_path / "second", videos, store, "segment") as alone:
            alone.wait_for(message)
            nightly.signal(signal.SIGCONT)
            assert [nightly.end(), alone.end()] == [0, 0], nightly.text() + alone.text()
            numbers = [computed(run.text(), "segment") for run in (nightly, alone)]
    assert numbers == [NUM_VIDEOS, 0]
    assert set(finished_items(store).values()) == {1}
    assert len(finished_items(store)) == NUM_VIDEOS
    assert list((store / ".leases").iterdir()) == []
    with httpx.Client(base_url=server["PREFECT_API_URL"], timeout=60) as client:
        logs = post(client, "/logs/filter", {"sort": "TIMESTAMP_DESC"})
    pages = {log["flow_run_id"] for log in logs if log["message"].startswith(message)}
    assert len(pages) == 2, "the stage's page shows the line, and that of its whole run"


def test_the_second_goes_on_at_once_when_the_first_is_killed_and_ends_at_once_on_ctrl_c(
    waver, second_waver, videos, tmp_path
):
    store = tmp_path / "store"
    with Run(waver, tmp_path / "first", videos, store, "segment") as first:
        stop_in_segment(first, store, num_finished=1)
        finished = finished_items(store)
        with Run(second_waver, tmp_path / "waiting", videos, store, "segment") as waiting:
            waiting.wait_for("segment: waiting for process")
            interrupted = time.monotonic()
            waiting.signal(signal.SIGINT)
            assert waiting.end() != 0
            assert time.monotonic() - interrupted < 20
        with Run(second_waver, tmp_path / "second", videos, store, "segment") as second:
            second.wait_for("segment: waiting for process")
            assert finished_items(store) == finished
            first.signal(signal.SIGKILL)
            killed = time.monotonic()
            second.wait_for("nobody else computes it now")
            assert time.monotonic() - killed < 30
            assert (second.end(), first.end()) == (0, -signal.SIGKILL)
            assert computed(second.text(), "segment") == NUM_VIDEOS - len(finished)
    assert set(finished_items(store).values()) == {1}
    assert len(finished_items(store)) == NUM_VIDEOS
    assert list((store / ".leases").iterdir()) == []
