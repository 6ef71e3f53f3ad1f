"""Plans, compared with what the next run computes.

`flows.planning.videos` and `flows.planning.models` plan the stages, `flows.planning.reasons` finds
why items are missing, and `flows.planning.records` is what is reported.
"""

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.context.overrides import read_overrides
from flows.context.request import RunRequest
from flows.planning.plan import free_bytes, plan_run
from flows.planning.records import RunPlan, StagePlan
from storage.store.journal import write_run
from storage.store.store import Store
from tests.builders import a_stage_run
from tests.flows.planning.scenarios import damage, run_again
from tests.flows.toys import QUICK, another_model, request_of, videos_of

VIDEO, OTHER = videos_of("90001")[0], videos_of("90003")[0]


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def missing(plan: RunPlan) -> Counter[str]:
    return Counter({stage.stage: stage.num_missing for stage in plan.stages if stage.num_missing})


def reasons(plan: RunPlan, stage: str) -> dict[str, int]:
    return {reason.kind: reason.count for reason in stage_of(plan, stage).reasons}


def stage_of(plan: RunPlan, stage: str) -> StagePlan:
    return next(found for found in plan.stages if found.stage == stage)


def with_settings(request: RunRequest, *overrides: str) -> RunRequest:
    return request.model_copy(update={"settings": read_overrides((*QUICK, *overrides))})


def test_a_finished_run_has_nothing_to_compute_and_planning_writes_nothing(
    finished: RunRequest,
) -> None:
    before = everything(Path(finished.store))
    plan = plan_run(finished)
    assert plan.is_cached
    assert [(s.stage, s.num_expected, s.num_missing, s.is_estimate) for s in plan.stages] == [
        ("segment", 8, 0, False), ("transcribe", 8, 0, False), ("manifest", 8, 0, False),
        ("infer", 16, 0, False), ("aggregate", 1, 0, False),
    ]  # fmt: skip
    assert everything(Path(finished.store)) == before


def test_a_store_that_does_not_exist_is_planned_and_not_created(
    finished: RunRequest, tmp_path: Path
) -> None:
    plan = plan_run(finished.model_copy(update={"store": str(tmp_path / "none")}))
    assert not (tmp_path / "none").exists()
    assert missing(plan) == {"segment": 8, "transcribe": 8, "manifest": 8, "aggregate": 1}
    assert reasons(plan, "segment") == {"new": 8}
    assert stage_of(plan, "infer").num_missing is None
    assert plan.without_rate == ("segment", "transcribe", "manifest", "aggregate")


DAMAGES = [
    ("segment", "file", "damaged"), ("segment", "table", "damaged"),
    ("segment", "marker", "damaged"), ("segment", "invalidate", "invalidated"),
    ("transcribe", "table", "damaged"), ("transcribe", "damaged marker", "damaged"),
    ("manifest", "table", "damaged"), ("manifest", "marker", "damaged"),
    ("manifest", "variant", "new"), ("infer", "table", "damaged"),
    ("infer", "invalidate", "invalidated"),
]  # fmt: skip


@pytest.mark.parametrize(("stage", "what", "kind"), DAMAGES)
def test_damage_is_planned_with_its_reason_as_the_next_run_computes_it(
    stage: str, what: str, kind: str, finished: RunRequest, tmp_path: Path
) -> None:
    damage(finished, stage, what)
    plan = plan_run(finished)
    computed = run_again(finished, tmp_path / "files", report=False)
    assert missing(plan)[stage] == computed[stage] > 0
    assert reasons(plan, stage) == {kind: computed[stage]}
    for other in {"segment", "transcribe", "manifest", "infer"} - {stage}:
        assert missing(plan)[other] == computed[other] == 0


SETTINGS = [
    ("segment.crf=20", "segment", "segment.crf: 23 → 20"),
    ("transcribe.beam_size=3", "transcribe", "transcribe.beam_size: 5 → 3"),
    ("manifest.max_words_before=7", "manifest", "manifest.max_words_before: 50 → 7"),
    ("input.fps=1", "infer", "input.fps: 2.0 → 1.0"),
    ("aggregate.top_k=3", "aggregate", "aggregate.top_k: 2 → 3"),
]


@pytest.mark.parametrize(("override", "stage", "detail"), SETTINGS)
def test_a_changed_setting_is_named_with_both_values_and_later_stages_name_the_stage(
    override: str, stage: str, detail: str, finished: RunRequest, tmp_path: Path
) -> None:
    changed = with_settings(finished, override)
    plan = plan_run(changed)
    (reason,) = stage_of(plan, stage).reasons
    assert (reason.kind, reason.detail) == ("settings", detail)
    computed = run_again(changed, tmp_path / "files")
    assert reason.count == missing(plan)[stage] == computed[stage]
    for planned in plan.stages:
        num_missing, num_computed = planned.num_missing, computed[planned.stage]
        # Toy segments and transcripts do not depend on settings, real ones may.
        assert num_missing == num_computed or (planned.is_estimate and num_missing > num_computed)
    if stage == "segment":
        (later,) = stage_of(plan, "transcribe").reasons
        assert (later.kind, later.detail) == ("upstream", "other results of segment")
    assert plan_run(changed).is_cached


def test_new_and_changed_videos_are_counted_apart(finished: RunRequest, tmp_path: Path) -> None:
    (Path(finished.data) / VIDEO).write_bytes(b"another recording")
    added = VIDEO.replace("Question_1", "Question_7")
    (Path(finished.data) / added).write_bytes(b"a new recording")
    with (Path(finished.data) / "split" / "train.txt").open("a") as stream:
        stream.write(f"{added},0,words\n")
    plan = plan_run(finished)
    assert reasons(plan, "segment") == {"changed": 1, "new": 1}
    assert reasons(plan, "transcribe") == {"changed": 1, "new": 1}
    assert stage_of(plan, "infer").num_missing == 4
    assert stage_of(plan, "infer").is_estimate
    computed = run_again(finished, tmp_path / "files")
    assert computed.pop("infer") == 2, "toy segments of the changed video are the same"
    assert missing(plan) == {**computed, "infer": 4}


def test_a_video_that_was_only_copied_again_is_cached(finished: RunRequest) -> None:
    path = Path(finished.data) / VIDEO
    path.write_bytes(path.read_bytes())
    assert plan_run(finished).is_cached


def test_another_version_of_a_stage_is_named(finished: RunRequest, monkeypatch) -> None:
    monkeypatch.setattr("tasks.segment.VERSION", 99)
    (reason,) = stage_of(plan_run(finished), "segment").reasons
    assert reason.kind == "version"
    assert reason.detail.startswith("stage version")
    assert reason.detail.endswith("→ 99")


def test_another_model_is_a_setting_of_inference(finished: RunRequest, tmp_path: Path) -> None:
    model = another_model(tmp_path / "model")
    plan = plan_run(finished.model_copy(update={"model": str(model)}))
    (reason,) = stage_of(plan, "infer").reasons
    assert reason.kind == "settings"
    assert reason.detail.startswith("the model: ")
    assert missing(plan) == {"infer": 16, "aggregate": 1}


@pytest.mark.parametrize("stage", ["segment", "transcribe", "manifest", "infer", "aggregate"])
def test_forced_stages_are_computed_and_later_ones_keep_equal_results(
    stage: str, finished: RunRequest, tmp_path: Path
) -> None:
    forced = finished.model_copy(update={"force": (stage,)})
    plan = plan_run(forced)
    computed = run_again(forced, tmp_path / "files", report=stage == "aggregate")
    assert missing(plan)[stage] == computed[stage] > 0
    kinds = {"forced", "rejected and forced"} if stage == "infer" else {"forced"}
    assert set(reasons(plan, stage)) == kinds
    for other in {"segment", "transcribe", "manifest", "infer"} - {stage}:
        assert missing(plan)[other] == computed[other] == 0


def test_a_stage_that_is_skipped_and_not_finished_stops_the_run(finished: RunRequest) -> None:
    damage(finished, "segment", "marker")
    plan = plan_run(finished.model_copy(update={"only": ("infer",)}))
    assert [stage.is_run for stage in plan.stages] == [False, False, False, True, False]
    assert len(plan.problems) == 1
    assert plan.problems[0].startswith("segment is not finished")


def test_a_training_that_has_not_run_comes_before_inference(finished: RunRequest) -> None:
    plan = plan_run(finished.model_copy(update={"model": None}))
    assert missing(plan) == {"finetune": 1, "infer": 16, "aggregate": 1}
    assert not stage_of(plan, "finetune").is_estimate
    assert reasons(plan, "finetune") == {"new": 1}
    assert stage_of(plan, "infer").variant_id is None


def test_time_and_disk_are_those_of_the_stores_own_runs(finished: RunRequest) -> None:
    store = Store(finished.store)
    variant_id = stage_of(plan_run(finished), "segment").variant_id
    for count, seconds in ((10, 30.0), (100, 210.0)):  # ten seconds, and two for each video
        write_run(
            store,
            a_stage_run(
                variant_id=variant_id, num_computed=count, seconds=seconds,
                bytes_written=1_000 * count,
            ),
        )  # fmt: skip
    plan = plan_run(finished.model_copy(update={"force": ("segment",)}))
    segment = stage_of(plan, "segment")
    assert segment.seconds == pytest.approx(10 + 2 * 8)
    assert segment.num_bytes == pytest.approx(8_000)
    assert plan.seconds == pytest.approx(segment.seconds)
    assert plan.free_bytes > 0
    assert free_bytes(Store(f"memory://{finished.store}")) is None


@settings(max_examples=8)
@given(st.sets(st.sampled_from([(stage, what) for stage, what, _ in DAMAGES]), max_size=3))
def test_any_mixture_of_damages_is_planned_as_the_next_run_computes_it(
    finished_once: Path, damages: set[tuple[str, str]]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        for folder in ("data", "store"):
            shutil.copytree(finished_once / folder, Path(name) / folder)
        request = request_of(Path(name) / "data", Path(name) / "store")
        for stage, what in sorted(damages, reverse=True):
            order = ["segment", "transcribe", "manifest", "infer"]
            if stage == "infer" and any(order.index(other) < 3 for other, _ in damages):
                continue  # finding the variant of predictions needs a finished manifest
            damage(request, stage, what)
        plan = plan_run(request)
        computed = run_again(request, Path(name) / "files", report=False)
        for stage in ("segment", "transcribe", "manifest", "infer"):
            assert missing(plan)[stage] == computed[stage], stage
            assert sum(reasons(plan, stage).values()) == computed[stage]
