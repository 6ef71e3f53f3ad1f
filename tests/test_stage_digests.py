"""No stage changes what it computes without a new version, and the guard notices what matters."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import stage_digests
from tests.stage_digests import (
    CANNOT_CHANGE_RESULTS,
    ROOT,
    Record,
    SourceTree,
    changes_without_version,
    explain,
    read_record,
)


@pytest.fixture(scope="module")
def tree() -> SourceTree:
    return SourceTree(ROOT)


def test_no_stage_changed_without_its_version(tree: SourceTree) -> None:
    recorded = read_record()
    changes = changes_without_version(recorded, tree)
    assert not changes, explain(changes, recorded)
    assert recorded == tree.record(), "Run `python -m tests.stage_digests` and commit the record."


def test_every_stage_and_cache_with_a_version_is_guarded(tree: SourceTree) -> None:
    stages = {"segment", "transcribe", "manifest", "finetune", "infer", "ensemble", "aggregate"}
    assert tree.record().stages.keys() == {
        *(f"tasks.{stage}" for stage in stages),
        "tasks.ablation.arms",
        "tasks.audit.files",
        "tasks.training.data.towers",
        "storage.datasets.bah.annotation_cache",
    }


@pytest.mark.parametrize(
    ("stage", "sources"),
    [
        (
            "segment",
            {"tasks.media.plan", "tasks.media.video.cut", "storage.media_records.SegmentRecord"},
        ),
        ("transcribe", {"tasks.speech.recognize", "storage.records.Word"}),
        ("manifest", {"tasks.labels.label_rule", "tasks.speech.word_alignment"}),
        ("finetune", {"tasks.training.loop", "tasks.prompting.prompt", "tasks.ms_swift.command"}),
        ("infer", {"tasks.inference.requests", "tasks.prompting.prompt", "tasks.adapters.merge"}),
        ("ensemble", {"storage.results.PredictionRecord"}),
        ("aggregate", {"tasks/evaluation/sql/rules/mean.sql", "tasks/report/report.css"}),
    ],
)
def test_sources_of_a_stage_are_found_through_its_imports(
    tree: SourceTree, stage: str, sources: set[str]
) -> None:
    assert sources <= tree.sources_of(f"tasks.{stage}")


def test_every_data_file_of_tasks_and_every_exception_is_accounted_for(tree: SourceTree) -> None:
    files = {path for path in ROOT.glob("tasks/**/*.*") if "__pycache__" not in path.parts}
    data = {path for path in files if path.is_file() and path.suffix not in (".py", ".md")}
    assert {f"{path.relative_to(ROOT)}" for path in data} <= tree.record().sources.keys()
    for name, reason in CANNOT_CHANGE_RESULTS.items():
        path = ROOT / name.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), name
        assert reason


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copied")
    for package in ("tasks", "storage"):
        shutil.copytree(ROOT / package, folder / package)
    return folder


@pytest.fixture
def stages_after(tree: SourceTree, copied: Path) -> Iterator[Callable[..., set[str]]]:
    """Edit one file of a copied tree and return the roots whose version would have to change."""
    edited: dict[Path, str] = {}

    def edit(name: str, old: str, new: str) -> set[str]:
        text = edited[copied / name] = (copied / name).read_text()
        assert old in text
        (copied / name).write_text(text.replace(old, new, 1))
        return set(changes_without_version(tree.record(), SourceTree(copied)))

    yield edit
    for path, text in edited.items():
        path.write_text(text)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("tasks/media/plan.py", '"""Plan segment', '"""Decide segment'),
        (
            "tasks/media/plan.py",
            "index: int\n",
            'index: int\n    """The number of the segment."""\n',
        ),
        ("tasks/media/plan.py", "import math\n", "import math  # floor\n\n"),
        ("tasks/infer.py", "were predicted without video", "lack video"),
        ("tasks/training/README.md", "Training", "Fine-tuning"),
        ("tasks/processes/worker_pool.py", "_MAX_WORKERS = 16", "_MAX_WORKERS = 8"),
        ("storage/store/store.py", '".tmp"', '".temporary"'),
    ],
)
def test_edits_that_change_no_result_need_no_new_version(
    stages_after: Callable[..., set[str]], name: str, old: str, new: str
) -> None:
    assert stages_after(name, old, new) == set()


PROMPTED = {"finetune", "infer", "ensemble", "ablation.arms", "training.data.towers"}


@pytest.mark.parametrize(
    ("name", "old", "new", "stages"),
    [
        ("tasks/media/cut_video.py", "_PROBE_SECONDS = 120", "_PROBE_SECONDS = 60", {"segment"}),
        ("tasks/speech/recognize.py", "_BATCH_SIZE = 8", "_BATCH_SIZE = 9", {"transcribe"}),
        ("tasks/labels/label_rule.py", '= "video"', '= "weak"', {"manifest"}),
        ("tasks/training/loop.py", "_FRACTION = 0.05", "_FRACTION = 0.5", {"finetune"}),
        (
            "tasks/training/data/towers.py",
            '"video_features"',
            '"features_of_video"',
            {"finetune", "training.data.towers"},
        ),
        ("tasks/inference/engine.py", "_PROBE_TOKENS = 16", "_PROBE_TOKENS = 8", {"infer"}),
        ("tasks/evaluation/baselines.py", "_PRIOR_ROWS = 1.0", "_PRIOR_ROWS = 2.0", {"aggregate"}),
        ("tasks/evaluation/sql/rules/mean.sql", "avg(", "median(", {"aggregate"}),
        ("tasks/report/report.css", "{", "{ ", {"aggregate"}),
        ("tasks/prompting/prompts/paper.txt", "hesitant", "reluctant", PROMPTED),
        ("storage/results.py", "    loss: float", "    loss: int", {"finetune"}),
    ],
)
def test_a_change_of_what_a_stage_computes_needs_a_new_version_of_that_stage_alone(
    stages_after: Callable[..., set[str]], name: str, old: str, new: str, stages: set[str]
) -> None:
    assert stages_after(name, old, new) == {f"tasks.{stage}" for stage in stages}


def test_a_new_version_is_recorded_without_a_complaint(
    stages_after: Callable[..., set[str]], tree: SourceTree, copied: Path
) -> None:
    version = tree.record().stages["tasks.segment"][0]
    bumped = f"VERSION = {version + 1}\nEXTRA = 1"
    assert stages_after("tasks/segment.py", f"VERSION = {version}", bumped) == set()
    assert SourceTree(copied).record().stages["tasks.segment"][0] == version + 1


def test_the_message_names_the_changed_sources_and_both_ways_out(tree: SourceTree) -> None:
    now = tree.record()
    version, _ = now.stages["tasks.segment"]
    recorded = Record(
        sources={**now.sources, "tasks.media.plan": "another digest"},
        stages={**now.stages, "tasks.segment": (version, "another digest")},
    )
    changes = changes_without_version(recorded, tree)
    assert changes == {"tasks.segment": ["tasks.media.plan"]}
    message = explain(changes, recorded)
    assert f"tasks.segment: the version is still {version}" in message
    assert "tasks.media.plan" in message
    assert "bump the VERSION" in message
    assert "--unchanged-results" in message


def test_recording_fails_under_an_unchanged_version_unless_results_are_declared_valid(
    tree: SourceTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = tree.record()
    version, _ = now.stages["tasks.segment"]
    old = {**now.stages, "tasks.segment": (version, "another digest")}
    monkeypatch.setattr(stage_digests, "RECORD_PATH", tmp_path / "digests.json")
    stage_digests.write_record(Record(sources=now.sources, stages=old))
    monkeypatch.setattr("sys.argv", ["stage_digests"])
    with pytest.raises(SystemExit, match=r"tasks\.segment"):
        stage_digests.main()
    assert read_record().stages == old
    monkeypatch.setattr("sys.argv", ["stage_digests", "--unchanged-results"])
    stage_digests.main()
    assert read_record() == now
