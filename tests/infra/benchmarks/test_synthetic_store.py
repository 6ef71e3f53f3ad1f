from pathlib import Path

import pytest

from flows.context.context import open_context
from flows.context.overrides import read_overrides
from flows.context.request import RunRequest
from flows.context.results import open_report
from infra.benchmarks.orchestration import MODEL
from infra.benchmarks.synthetic_store import write_results, write_videos
from storage.results import VerdictRecord
from tasks.inference.samples import expected_items


@pytest.fixture(scope="module")
def request_of_all(tmp_path_factory: pytest.TempPathFactory) -> RunRequest:
    folder = tmp_path_factory.mktemp("synthetic")
    write_videos(folder / "data", 120)
    request = RunRequest(
        data=str(folder / "data"), store=str(folder / "store"), profile="sandbox",
        model=str(MODEL), settings=read_overrides(["aggregate.bootstrap_draws=20"]),
    )  # fmt: skip
    write_results(request)
    return request


def test_nothing_is_left_to_compute_in_any_stage(request_of_all: RunRequest) -> None:
    context = open_context(request_of_all)
    report = open_report(context)
    manifest = report.inference.manifest
    assert len(manifest.samples) == len(context.videos) == 120
    assert report.variant.pending(report.expected) == []
    assert report.inference.models.variant.pending(expected_items(manifest.samples)) == []
    assert len({row.video_id for row in report.read(VerdictRecord)}) == 120


def test_parts_are_as_small_as_a_run_writes_them(request_of_all: RunRequest) -> None:
    context = open_context(request_of_all)
    store = context.store
    assert len(store.list_files(f"{context.segment.path}/done")) == 8
    assert len(list(Path(store.root, context.segment.path, "files").rglob("*.wav"))) == 120
