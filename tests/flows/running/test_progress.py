import logging
import threading
from dataclasses import replace

import pytest

from flows import stage_definitions
from flows.context.context import open_context
from flows.context.request import RunRequest
from flows.running import progress
from flows.running.progress import StageProgress, follow
from flows.running.stage import Stage
from storage.errors import StoreError
from storage.records import RejectedRecord
from storage.store.variant import ItemOutput
from tasks.stage import Shard
from tests.builders import a_transcript


@pytest.fixture
def stage(finished: RunRequest, caplog: pytest.LogCaptureFixture) -> Stage:
    """Transcribing eight videos, three of which are in the store."""
    caplog.set_level(logging.INFO)
    stage = stage_definitions.transcribe_stage(open_context(finished))
    stage.variant.invalidate(dict(list(stage.expected.items())[3:]))
    return stage


def transcribed(item: str) -> ItemOutput:
    return ItemOutput(item_id=item, rows=(a_transcript(item),))


def rejected(item: str) -> ItemOutput:
    row = RejectedRecord(item_id=item, stage="transcribe", reason="no audio decodes")
    return ItemOutput(item_id=item, rows=(row,))


def test_items_committed_by_anyone_are_counted_with_cached_and_rejected_ones(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    missing = stage.variant.pending(stage.expected)
    assert len(missing) == 5
    follower = StageProgress(stage, missing)
    follower.report()
    stage.variant.commit([transcribed(item) for item in missing[:2]], stage.expected)
    follower.report()
    follower.report()
    stage.variant.commit([transcribed(missing[1]), rejected(missing[2])], stage.expected)
    follower.report()
    lines = [line.split(",")[0] for line in caplog.messages]
    assert lines == [
        "transcribe: 5 of 8 videos (3 cached)",
        "transcribe: 6 of 8 videos (3 cached",
    ]
    assert caplog.messages[1].startswith("transcribe: 6 of 8 videos (3 cached, 1 rejected), ")
    assert "left" in caplog.messages[1]


def test_parts_of_other_inputs_do_not_count(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    missing = stage.variant.pending(stage.expected)
    follower = StageProgress(stage, missing)
    stage.variant.commit([transcribed(missing[0])], {missing[0]: "the digest of another video"})
    follower.report()
    assert caplog.messages == []


def test_a_stage_is_followed_while_its_shards_are_computed(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    missing = stage.variant.pending(stage.expected)
    logged = threading.Event()
    caplog.handler.addFilter(lambda record: logged.set() or True)
    with follow(stage, missing, seconds=0.01):
        shard = Shard(name="1 of 1", expected=stage.expected)
        stage.task.fn(**stage.arguments_of(shard))
        assert logged.wait(20)
    assert caplog.messages == ["transcribe: 8 of 8 videos (3 cached)"]


def test_nothing_is_followed_if_nothing_is_missing_or_the_task_reports_itself(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the store was read")

    monkeypatch.setattr(progress, "StageProgress", fail)
    with follow(stage, []), follow(replace(stage, is_followed=False), list(stage.expected)):
        pass


def test_a_store_that_does_not_respond_stops_no_stage(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = threading.Semaphore(0)

    def fail(*_: object) -> list[str]:
        attempts.release()
        raise StoreError("the bucket does not respond")

    with follow(stage, list(stage.expected), seconds=0.01):
        monkeypatch.setattr(progress, "marker_paths", fail)
        for _ in range(3):
            assert attempts.acquire(timeout=20)


def test_the_error_of_a_stage_is_not_hidden(stage: Stage) -> None:
    with pytest.raises(KeyError), follow(stage, list(stage.expected)):
        raise KeyError("a")
