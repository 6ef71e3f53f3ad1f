import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from flows import pipeline, stages
from flows.context import context as context_module
from flows.context.context import Context
from flows.context.request import RunRequest
from flows.context.rows import expected_videos
from flows.context.stage_names import STAGES
from flows.running import show
from flows.running.stage import Stage, StageReport
from storage.errors import ConfigError
from storage.media_records import MediaFacts
from storage.records import SampleRecord
from storage.store.snapshot import Snapshot
from tasks.labels.label_summary import LabelSummary


@pytest.fixture
def run_without_prefect(monkeypatch: pytest.MonkeyPatch) -> Callable[[RunRequest], list[str]]:
    """Run the pipeline's flows as plain functions; returns a line per context and stage."""
    lines: list[str] = []
    really_open = context_module._open

    def open_request(*arguments):  # type: ignore[no-untyped-def]
        lines.append("opened")
        return really_open(*arguments)

    def run_stage(stage: Stage, _: Context) -> StageReport:
        lines.append(stage.name)
        assert stage.variant.pending(stage.expected) == []
        num_items = len(stage.expected)
        return StageReport(
            stage=stage.name, variant_id="v", num_expected=num_items, num_cached=num_items,
            num_computed=0, num_rejected=0, seconds=0.1,
        )  # fmt: skip

    monkeypatch.setattr(context_module, "_open", open_request)
    monkeypatch.setattr(stages, "run_stage", run_stage)
    monkeypatch.setattr(stages, "run_shards", lambda stage, context: [])
    monkeypatch.setattr(stages, "create_table_artifact", lambda **_: None)
    monkeypatch.setattr(show, "create_markdown_artifact", lambda *_, **__: None)

    def called(flow: Any) -> Callable[[RunRequest], StageReport]:
        return lambda request: flow.fn(request).result()

    functions = {name: called(flow) for name, flow in pipeline._FLOWS.items()}
    monkeypatch.setattr(pipeline, "_FLOWS", functions)

    def run(request: RunRequest) -> list[str]:
        pipeline.pipeline.fn(request).result()
        return lines

    return run


def test_the_pipeline_opens_its_request_once_for_all_stages(
    finished: RunRequest, run_without_prefect: Callable[[RunRequest], list[str]]
) -> None:
    assert list(pipeline._FLOWS) == list(STAGES)
    named_model = [stage for stage in STAGES if stage != "finetune"]
    assert run_without_prefect(finished) == ["opened", *named_model]


def test_a_stage_flow_started_alone_opens_its_own_context(
    finished: RunRequest, run_without_prefect: Callable[[RunRequest], list[str]]
) -> None:
    lines = run_without_prefect(finished.model_copy(update={"only": ("segment",)}))
    assert stages.segment_flow.fn(finished).is_completed()
    assert lines == ["opened", "segment", "opened", "segment"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"only": ("segment", "infer")}, "runs the stage segment alone, but `only` names infer"),
        ({"only": ("manifest",)}, "runs the stage segment alone, but `only` names manifest"),
        ({"force": ("infer", "segment")}, "names infer, which this run skips: it runs segment"),
        ({"start_at": "infer"}, "No stage is left to run"),
    ],
)
def test_a_stage_flow_started_alone_rejects_what_it_would_ignore(
    finished: RunRequest,
    run_without_prefect: Callable[[RunRequest], list[str]],
    given: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ConfigError, match=message):
        stages.segment_flow.fn(finished.model_copy(update=given)).result()
    run_without_prefect(finished.model_copy(update={"only": ("segment", "infer")}))


def test_the_segment_flow_warns_of_the_number_of_videos_cut_with_a_warning(
    finished: RunRequest,
    run_without_prefect: Callable[[RunRequest], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    really_read = Snapshot.read
    warned: set[str] = set()

    def read(snapshot: Snapshot, record_type: type[Any]) -> list[Any]:
        rows = really_read(snapshot, record_type)
        if record_type is not MediaFacts:
            return rows
        return [replace(r, warnings=("damaged",) if r.video_id in warned else ()) for r in rows]

    monkeypatch.setattr(Snapshot, "read", read)
    request = finished.model_copy(update={"only": ("segment",)})
    with caplog.at_level(logging.WARNING):
        run_without_prefect(request)
        assert not [line for line in caplog.messages if "cut with a warning" in line]
        with context_module.context_of(request) as context:
            names = sorted(expected_videos(context))
        warned.update(names[:2])
        run_without_prefect(request)
    (line,) = [line for line in caplog.messages if "cut with a warning" in line]
    assert line.startswith(f"segment: 2 of {len(names)} videos were cut with a warning")


def test_the_manifest_flow_shows_its_labels_and_warns_of_missing_ones(
    finished: RunRequest,
    run_without_prefect: Callable[[RunRequest], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    artifacts: dict[str, dict[str, Any]] = {}
    monkeypatch.setattr(
        stages, "create_table_artifact", lambda key, **fields: artifacts.setdefault(key, fields)
    )
    really_summarize = stages.summarize_labels

    def without_positives(samples: Sequence[SampleRecord], issues: Any) -> LabelSummary:
        short = [replace(s, label=0, overlap_ms=9) if s.label else s for s in samples]
        return really_summarize(short, issues)

    monkeypatch.setattr(stages, "summarize_labels", without_positives)
    with caplog.at_level(logging.WARNING):
        run_without_prefect(finished.model_copy(update={"only": ("manifest",)}))
    (warning,) = [line for line in caplog.messages if "have no positive segment" in line]
    assert warning.startswith("manifest: ")
    assert warning.removeprefix("manifest: ") in artifacts["manifest-labels"]["description"]
    assert {row["split"] for row in artifacts["manifest-labels"]["table"]} >= {"train", "val"}
