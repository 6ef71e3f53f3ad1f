"""Collecting: `flows.upkeep.needed` finds what stays, `flows.upkeep.garbage` what goes."""

import contextlib
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.context.context import open_context
from flows.context.overrides import read_overrides
from flows.context.request import RunRequest
from flows.planning.plan import plan_run
from flows.upkeep import garbage
from flows.upkeep.collect import Findings, find_garbage, remove_garbage
from storage.errors import StoreError
from storage.records import TranscriptRecord
from storage.store.journal import write_run
from storage.store.lease import hold_leases
from storage.store.part import marker_paths, read_parts, tombstone_folder
from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant, open_variant
from tests.builders import a_model, a_stage_run
from tests.flows.planning.scenarios import run_again
from tests.flows.toys import QUICK, _transcribed, request_of

MONTH = 30 * 24 * 3600


def with_settings(request: RunRequest, *overrides: str) -> RunRequest:
    return request.model_copy(update={"settings": read_overrides((*QUICK, *overrides))})


def age(store: str) -> None:
    """Let every file of a store be a month old; parts keep their times."""
    then = time.time() - MONTH
    for path in Path(store).rglob("*"):
        os.utime(path, (then, then))


def find(request: RunRequest, keep_days: float = 0) -> Findings:
    return find_garbage(Store(request.store, read_only=True), (), keep_days)


def collect(request: RunRequest, keep_days: float = 0) -> Findings:
    return remove_garbage(Store(request.store), lambda: find(request, keep_days), expiry_seconds=2)


def everything(folder: str) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def variants(store: str) -> set[str]:
    return {f"{p.parent.parent.name}/{p.parent.name}" for p in Path(store).glob("*/*/variant.json")}


def test_a_finished_store_has_nothing_to_remove(finished: RunRequest) -> None:
    age(finished.store)
    assert find(finished).garbage == ()


def test_finding_writes_nothing(finished: RunRequest) -> None:
    age(finished.store)
    open_context(with_settings(finished, "segment.crf=20"))
    before = everything(finished.store)
    find(finished)
    assert everything(finished.store) == before


def test_a_variant_without_a_report_goes_and_what_a_report_needs_stays(
    finished: RunRequest, tmp_path: Path
) -> None:
    before = variants(finished.store)
    run_again(with_settings(finished, "segment.crf=20"), tmp_path / "files", report=False)
    age(finished.store)
    assert find(finished, keep_days=7).garbage == (), "it was computed just now"
    found = collect(finished)
    assert {each.group for each in found.garbage} == {"variants"}
    assert {each.name.partition("/")[0] for each in found.garbage} == {
        "segment", "transcribe", "manifest",
    }  # fmt: skip
    assert variants(finished.store) == before
    assert plan_run(finished).is_cached
    assert find(finished).garbage == ()


def test_the_variants_of_a_profile_stay(finished: RunRequest, tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text('extends = "sandbox"\n[segment]\ncrf = 20\n[manifest]\nsplit_seed = 3\n')
    run_again(with_settings(finished, "segment.crf=20"), tmp_path / "files", report=False)
    age(finished.store)
    found = find_garbage(Store(finished.store, read_only=True), (str(profile),), 0)
    assert found.garbage == ()
    assert f"profile {profile}" in found.needed.values()


def test_invalidated_and_replaced_parts_go_and_their_files_that_are_in_use_stay(
    finished: RunRequest, tmp_path: Path
) -> None:
    run_again(finished.model_copy(update={"force": ("segment", "infer")}), tmp_path / "files")
    age(finished.store)
    found = collect(finished)
    assert {each.group for each in found.garbage} == {"superseded parts"}
    assert len(found.garbage) > 1
    assert plan_run(finished).is_cached
    assert find(finished).garbage == ()


def test_a_tombstone_stays_as_long_as_the_run_that_wrote_it_may_be_retried(
    finished: RunRequest,
) -> None:
    context = open_context(finished)
    context.segment.invalidate({"a video that has no part": "digest"}, once_for="run")
    folder = Path(context.store.full_path(tombstone_folder(context.segment.path)))
    assert len(list(folder.iterdir())) == 1
    assert find(finished, keep_days=7).garbage == ()
    age(finished.store)
    assert [each.num_files for each in collect(finished, keep_days=7).garbage] == [1]
    assert not folder.exists()
    assert plan_run(finished).is_cached


def test_a_part_stays_while_the_newer_one_is_damaged(finished: RunRequest) -> None:
    context = open_context(finished)
    (old, *_), expected = read_parts(context.store, context.transcribe.path), {}
    expected = dict(old.items)
    context.transcribe.commit([_transcribed(item) for item in expected], expected)
    age(finished.store)
    newest = max(
        read_parts(context.store, context.transcribe.path), key=lambda part: part.created_ns
    )
    table = f"{context.transcribe.path}/{TranscriptRecord.__name__}/{newest.part_id}.parquet"
    (Path(finished.store) / table).write_bytes(b"damaged")
    collect(finished)
    assert plan_run(finished).is_cached, "the older part has all of it"


def test_files_that_no_part_lists_go_once_they_are_a_day_old(finished: RunRequest) -> None:
    context = open_context(finished)
    folder = Path(context.store.full_path(context.segment.path))
    stray = folder / "files" / "left over" / "0000.mp4"
    stray.parent.mkdir()
    stray.write_bytes(b"video")
    table = folder / "SegmentRecord" / "0123456789abcdef.parquet"
    table.write_bytes(b"rows of a run that was killed before it wrote the marker")
    assert find(finished).garbage == ()
    age(finished.store)
    assert [each.num_files for each in collect(finished).garbage] == [2]
    assert not stray.parent.exists()
    assert not table.exists()
    assert plan_run(finished).is_cached


def test_old_logs_checkpoints_records_and_temporaries_go(finished: RunRequest) -> None:
    context = open_context(finished)
    folder = Path(context.store.full_path(context.manifest.path))
    for name in ("logs/a.log", "work/seed-1/weights.bin"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(b"old")
    write_run(context.store, a_stage_run())
    next(Path(finished.store).glob("runs/*.json")).write_text("{")
    (Path(finished.store) / ".tmp" / "01234567-1-0123456789ab").mkdir()
    age(finished.store)
    groups = [each.group for each in collect(finished, keep_days=7).garbage]
    assert groups == ["logs", "checkpoints", "journal", "temporaries"]
    assert find(finished).garbage == ()


def test_a_variant_whose_identity_is_damaged_keeps_all_of_them(
    finished: RunRequest, tmp_path: Path
) -> None:
    run_again(with_settings(finished, "segment.crf=20"), tmp_path / "files", report=False)
    context = open_context(finished)
    (Path(finished.store) / context.manifest.identity_path).write_text("{")
    age(finished.store)
    assert find(finished).garbage == ()


@pytest.mark.parametrize("damaged", ["settings.json", "ModelRecord"])
def test_nothing_is_removed_while_it_is_unknown_what_a_model_needs(
    finished: RunRequest, tmp_path: Path, damaged: str
) -> None:
    store = Store(finished.store)
    variant = open_variant(store, "finetune", version=1, settings={})
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"source_path": "manifest/some"}))
    row = a_model(f"{variant.file_path('seed-0')}/merged")
    files = {f"{variant.file_path('seed-0')}/settings.json": settings}
    variant.commit([ItemOutput(item_id="seed-0", rows=(row,), files=files)], {"seed-0": "digest"})
    assert find(finished).needed[variant.path] == "a trained model"
    (path, *_) = [
        p for p in (Path(store.root) / variant.path).rglob("*") if p.is_file() and damaged in str(p)
    ]
    path.write_bytes(b"{")
    with pytest.raises(StoreError, match=r"cannot be read.*run again"):
        find(finished)


def test_nothing_is_removed_while_a_run_is_at_work(finished: RunRequest) -> None:
    context = open_context(with_settings(finished, "segment.crf=20"))
    age(finished.store)
    before = variants(finished.store)
    with context.store.at_work(), pytest.raises(StoreError, match="works in the store"):
        collect(finished)
    with (
        hold_leases([context.segment], on_wait=print, expiry_seconds=1),
        pytest.raises(StoreError, match="works in the store"),
    ):
        collect(finished)
    assert variants(finished.store) == before
    age(finished.store)
    assert len(collect(finished).garbage) == 3


def test_a_run_that_begins_meanwhile_stops_the_removal(finished: RunRequest, monkeypatch) -> None:
    context = open_context(with_settings(finished, "segment.crf=20"))
    age(finished.store)
    removed = []

    def remove_and_begin(store: Store, each: garbage.Garbage) -> None:
        garbage.remove(store, each)
        removed.append(each.name)
        work.__enter__()

    work = context.store.at_work()
    monkeypatch.setattr("flows.upkeep.collect.remove", remove_and_begin)
    with pytest.raises(StoreError, match="run `waver gc` again"):
        collect(finished)
    work.__exit__(None, None, None)
    assert len(removed) == 1


CHANGES = ("segment.crf=20", "transcribe.beam_size=3", "manifest.max_words_before=7",
           "aggregate.top_k=3")  # fmt: skip


@settings(max_examples=5)
@given(
    runs=st.lists(st.tuples(st.sampled_from(CHANGES), st.booleans()), min_size=1, max_size=3),
    force=st.sampled_from(["segment", "transcribe", "infer"]),
    stop_after=st.integers(0, 60),
)
def test_every_kept_report_is_still_reproducible_also_after_a_kill_at_any_removal(
    finished_once: Path, runs: list[tuple[str, bool]], force: str, stop_after: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        for folder in ("data", "store"):
            shutil.copytree(finished_once / folder, Path(name) / folder)
        request = request_of(Path(name) / "data", Path(name) / "store")
        kept = [request]
        for override, report in runs:
            changed = with_settings(request, override)
            run_again(changed, Path(name) / "files", report=report)
            kept += [changed] if report else []
        run_again(request.model_copy(update={"force": (force,)}), Path(name) / "files")
        age(request.store)
        _collect_and_die(request, stop_after)
        assert all(plan_run(each).is_cached for each in kept)
        collect(request)
        assert all(plan_run(each).is_cached for each in kept)
        age(request.store)
        assert find(request).garbage == ()


def _collect_and_die(request: RunRequest, after: int) -> None:
    """Collect, but die at one of the removals of single files."""

    class Killed(BaseException):
        pass

    class DyingStore(Store):
        left = after

        def remove(self, path: str) -> None:
            DyingStore.left -= 1
            if DyingStore.left < 0:
                raise Killed
            super().remove(path)

    with contextlib.suppress(Killed):
        remove_garbage(DyingStore(request.store), lambda: find(request))


def test_markers_go_first_and_the_identity_last(finished: RunRequest) -> None:
    context = open_context(finished)
    paths = garbage.whole_variant(context.store, context.segment.path).paths
    markers = marker_paths(context.store, context.segment.path)
    assert set(paths[: len(markers)]) == set(markers)
    assert paths[-2:] == (context.segment.identity_path, context.segment.path)


def commit_apart(variant: Variant, count: int) -> None:
    """Commit items, each in a part of its own."""
    for number in range(count):
        item = f"{number}.mp4"
        variant.commit([_transcribed(item)], {item: "digest"})


def test_removing_from_s3_costs_as_many_requests_for_few_parts_as_for_many(bucket, s3_server):
    deletions, looks = [], []
    for num_parts in (2, 12):
        store = Store(f"s3://{bucket}/{num_parts}")
        variant = open_variant(store, "transcribe", version=1, settings={})
        commit_apart(variant, num_parts)
        variant.invalidate({"0.mp4": "digest"})
        with s3_server.counted() as counts:
            seen = Store(store.url, read_only=True)
            remove_garbage(store, lambda seen=seen: find_garbage(seen, (), 0))
        assert s3_server.keys(bucket, f"{num_parts}/transcribe") == []
        deletions.append(counts["POST"] + counts["DELETE"])
        looks.append(counts["HEAD"] + counts["GET"])
    assert deletions[0] == deletions[1] <= 5
    assert looks[1] - looks[0] <= 12 - 2, "more than one request for another part"


def test_superseded_parts_and_old_tombstones_in_s3_cost_a_request_each(bucket, s3_server):
    store = Store(f"s3://{bucket}/store")
    variant = open_variant(store, "transcribe", version=1, settings={})
    commit_apart(variant, 6)
    for number in range(6):
        variant.invalidate({f"{number}.mp4": "digest"})
    commit_apart(variant, 6)
    fresh = Store(store.url, read_only=True)
    with s3_server.counted() as counts:
        (*found,) = garbage.in_variant(fresh, variant.path, 0)
    assert [each.group for each in found].count("superseded parts") == 6 + 1
    assert counts["HEAD"] == 0
    assert counts["GET"] <= 3 * 6 + 2 * 6


@pytest.mark.parametrize("stage", ["segment", "transcribe", "finetune", "infer", "aggregate"])
def test_the_only_result_stays_when_a_forced_run_dies_before_it_has_another(
    tmp_path: Path, stage: str
) -> None:
    variant = open_variant(Store(str(tmp_path)), stage, version=1, settings={})
    commit_apart(variant, 2)
    variant.invalidate({"0.mp4": "digest", "1.mp4": "digest"})
    before = everything(str(tmp_path))
    assert [g for g in garbage.in_variant(variant.store, variant.path, 0) if g.paths] == []
    assert everything(str(tmp_path)) == before


@pytest.mark.parametrize("stage", ["finetune", "aggregate"])
def test_models_and_reports_stay_beside_newer_ones(tmp_path: Path, stage: str) -> None:
    variant = open_variant(Store(str(tmp_path)), stage, version=1, settings={})
    commit_apart(variant, 2)
    variant.invalidate({"0.mp4": "digest"})
    commit_apart(variant, 2)
    assert garbage.superseded_parts(
        variant.store, variant.path, list(read_parts(variant.store, variant.path))
    ) == []  # fmt: skip


def test_a_variant_with_a_young_checkpoint_is_in_use(tmp_path: Path) -> None:
    variant = open_variant(Store(str(tmp_path)), "finetune", version=1, settings={})
    age(str(tmp_path))
    assert find_garbage(variant.store, (), 7).garbage
    checkpoint = tmp_path / variant.path / "work" / "seed-0" / "checkpoint"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"state")
    assert find_garbage(variant.store, (), 7).needed[variant.path] == "used lately"
