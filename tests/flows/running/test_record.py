import time
from pathlib import Path

import pytest

from flows import stage_definitions
from flows.commands.erase import erase_found, find_participant
from flows.context.context import Context, open_context
from flows.context.request import RunRequest
from flows.context.results import open_report
from flows.running.record import journaled
from flows.running.stage import Stage
from storage.errors import StageError
from storage.store.journal import read_runs
from tests.flows.toys import videos_of


def run(stage: Stage, _: Context):
    """Compute a stage's shards as Prefect's tasks do, without a server."""
    for shard in stage.shards():
        stage.task.fn(**stage.arguments_of(shard))


def fail_at_the_end(stage: Stage, context: Context):
    run(stage, context)
    raise StageError("a shard failed")


def fail_at_once(stage: Stage, context: Context):
    raise StageError("nothing was computed")


STAGES = {
    "transcribe": stage_definitions.transcribe_stage,
    "manifest": stage_definitions.manifest_stage,
    "aggregate": lambda context: stage_definitions.aggregate_stage(context, open_report(context)),
}


@pytest.mark.parametrize("name", STAGES)
def test_a_run_leaves_a_record_of_what_it_computed(finished: RunRequest, name: str) -> None:
    context = open_context(finished)
    stage = STAGES[name](context)
    stage.variant.invalidate(dict(list(stage.expected.items())[:3]))
    started = time.time()
    journaled(run)(stage, context)
    (record,) = read_runs(context.store)
    num_computed = min(3, len(stage.expected))
    num_segments = 16 if name == "aggregate" else 2 * num_computed
    assert (record.stage, record.variant_id) == (name, stage.variant.variant_id)
    assert record.num_expected == len(stage.expected)
    assert record.num_computed == num_computed
    assert record.num_cached == len(stage.expected) - num_computed
    assert record.num_segments == num_segments
    assert record.video_ms == 2_000 * num_segments
    assert record.bytes_written > 0
    assert started <= record.started_at <= time.time()
    assert record.seconds > 0
    assert record.cpu_seconds is not None
    assert not record.failed


def test_a_run_with_nothing_to_compute_leaves_none(finished: RunRequest) -> None:
    context = open_context(finished)
    for stage in (definition(context) for definition in STAGES.values()):
        journaled(run)(stage, context)
    assert read_runs(context.store) == []


def test_a_failed_run_leaves_a_record_only_if_it_computed_something(finished: RunRequest) -> None:
    context = open_context(finished)
    stage = stage_definitions.transcribe_stage(context)
    stage.variant.invalidate(stage.expected)
    with pytest.raises(StageError, match="nothing was computed"):
        journaled(fail_at_once)(stage, context)
    assert read_runs(context.store) == []
    with pytest.raises(StageError, match="a shard failed"):
        journaled(fail_at_the_end)(stage, context)
    (record,) = read_runs(context.store)
    assert record.failed
    assert record.num_computed == 8


def test_a_journal_that_cannot_be_written_is_a_warning(
    finished: RunRequest, caplog: pytest.LogCaptureFixture
) -> None:
    context = open_context(finished)
    (Path(finished.store) / "runs").write_text("a file")
    stage = stage_definitions.transcribe_stage(context)
    stage.variant.invalidate(stage.expected)
    journaled(run)(stage, context)
    assert "transcribe: no record in the journal" in caplog.text


def test_records_name_nobody_so_erasing_leaves_them(finished: RunRequest, tmp_path: Path) -> None:
    context = open_context(finished)
    stage = stage_definitions.transcribe_stage(context)
    stage.variant.invalidate(stage.expected)
    journaled(run)(stage, context)
    found = find_participant(finished.store, "90001", None)
    assert videos_of("90001")[0] in found.traces.videos
    assert erase_found(found, tmp_path / "history").scan.is_clean
    assert len(read_runs(context.store)) == 1
