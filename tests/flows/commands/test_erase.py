import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from flows import pipeline, stages
from flows.cli import main as cli
from flows.commands.erase import (
    EraseReport,
    check_one_participant,
    erase_found,
    find_participant,
    undo_erasure,
)
from flows.context.context import open_context
from flows.context.request import RunRequest
from flows.context.results import open_report
from flows.context.rows import expected_videos, read_manifest
from storage.datasets.erased import digest_of_participant, salt_of
from storage.errors import ConfigError, DataError, StoreError
from storage.fingerprint import digest_of
from storage.issues import IssueKind
from storage.results import TrainedOnRecord, VerdictRecord
from storage.store.store import Store
from storage.store.variant import ItemOutput, open_variant
from tasks.inference.samples import expected_items
from tests.builders import a_model
from tests.flows.toys import ANSWERS, finish, request_of, videos_of, write_release
from tests.storage.erasure.erase_toys import commit_cuts, cut_variant

WHO = "90002"
NO_HISTORY = Path("/nonexistent")


def erase_now(store: str, who: str, data: str | None) -> EraseReport:
    return erase_found(find_participant(store, who, data), NO_HISTORY)


def everything(store: str) -> dict[str, bytes]:
    root = Path(store)
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def commit_model(
    store: str, folder: Path, *trained_on: str, digest: Callable[[str], str] | None = None
) -> str:
    """Commit a model without weights to the store and return its folder."""
    variant = open_variant(Store(store), "finetune", version=1, settings={"on": trained_on})
    path = variant.file_path("abc/merged")
    record = a_model(path)
    salt = salt_of(Store(store))
    digest = digest or (lambda who: digest_of_participant(salt, who))
    seen = [
        TrainedOnRecord(participant_digest=digest(who), split="val", num_samples=4)
        for who in trained_on
    ]
    (folder / "weights").write_bytes(b"weights")
    files = {f"{path}/weights.bin": folder / "weights"}
    variant.commit([ItemOutput(item_id="model", rows=(record, *seen), files=files)], {"model": "1"})
    return f"{store}/{variant.file_path('abc')}"


def test_every_stage_is_erased_and_the_next_run_computes_only_the_report(
    finished: RunRequest, tmp_path: Path
) -> None:
    report = erase_now(finished.store, WHO, None)
    assert report.removed == {
        "segment": 2, "transcribe": 2, "manifest": 2, "infer": 4, "aggregate": 1,
    }  # fmt: skip
    assert report.scan.is_clean
    assert not [path for path in everything(finished.store) if WHO in path]
    context = open_context(finished)
    manifest, report = read_manifest(context), open_report(context)
    predictions = report.inference.models.variant
    for variant, expected in (
        (context.segment, expected_videos(context)),
        (context.transcribe, manifest.expected_transcripts),
        (context.manifest, manifest.expected),
        (predictions, expected_items(manifest.samples)),
    ):
        assert len(expected) in (6, 12)
        assert variant.pending(expected) == []
    assert report.variant.pending(report.expected) == ["report"]
    (tmp_path / "work").mkdir()
    finish(finished, tmp_path / "work")
    assert {row.video_id for row in open_report(open_context(finished)).read(VerdictRecord)} == {
        name for who in ANSWERS if who != WHO for name in videos_of(who)
    }
    assert erase_now(finished.store, WHO, finished.data).scan.is_clean


def test_videos_that_a_run_leaves_out_are_counted_and_nobody_is_named(
    finished: RunRequest, caplog
) -> None:
    erase_now(finished.store, WHO, None)
    with caplog.at_level("INFO", logger="waver"):
        issues = open_context(finished).dataset.issues
    (issue,) = [issue for issue in issues if issue.kind is IssueKind.ERASED]
    assert issue.detail.startswith("2 videos of participants erased from the store were excluded")
    assert [record.getMessage() for record in caplog.records] == [issue.detail]
    assert WHO not in caplog.text + issue.detail


def test_a_participant_without_results_is_left_out_of_the_first_run(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "store").mkdir()
    write_release(tmp_path / "data")
    request = request_of(tmp_path / "data", tmp_path / "store")
    assert len(open_context(request).dataset.videos) == 8
    with pytest.raises(DataError, match="Unknown participant in the store"):
        find_participant(request.store, WHO, None)
    report = erase_now(request.store, WHO, request.data)
    assert (report.removed, report.scan.is_clean) == ({}, True)
    assert len(open_context(request).dataset.videos) == 6
    assert find_participant(request.store, WHO, None).traces.videos == frozenset()


def test_the_annotation_cache_of_the_next_run_does_not_hold_them(finished: RunRequest) -> None:
    open_context(finished)
    found = find_participant(finished.store, WHO, None)
    erase_found(found, NO_HISTORY)
    open_context(finished)
    assert Store(finished.store).list_files(".cache/annotation")
    report = erase_now(finished.store, WHO, finished.data)
    assert report.scan.is_clean


def test_undo_lets_the_next_run_use_the_videos_again(finished: RunRequest) -> None:
    erase_now(finished.store, WHO, None)
    undo_erasure(finished.store, WHO)
    context = open_context(finished)
    assert len(context.dataset.videos) == 8
    assert sorted(context.segment.pending(expected_videos(context))) == sorted(videos_of(WHO))
    with pytest.raises(DataError, match="is not erased from"):
        undo_erasure(finished.store, WHO)


def test_an_interrupted_erasure_is_reported_and_must_finish_before_it_is_undone(
    finished: RunRequest, monkeypatch, caplog
) -> None:
    found = find_participant(finished.store, WHO, None)

    def interrupt(_: Store) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("storage.erasure.erase.remove_cache", interrupt)
        with pytest.raises(KeyboardInterrupt):
            erase_found(found, NO_HISTORY)
    with pytest.raises(StoreError, match=r"was interrupted: .* `waver erase` again") as caught:
        undo_erasure(finished.store, WHO)
    assert (WHO in str(caught.value), caught.value.details) == (False, (WHO,))
    open_context(finished)
    assert "did not finish" in caplog.text
    assert WHO not in caplog.text
    assert erase_now(finished.store, WHO, None).scan.is_clean
    undo_erasure(finished.store, WHO)
    caplog.clear()
    open_context(finished)
    assert caplog.text == ""


def test_a_data_set_of_erased_participants_is_a_mistake(finished: RunRequest) -> None:
    for who in ANSWERS:
        erase_now(finished.store, who, None)
    with pytest.raises(DataError, match=r"may be used: all 8 videos"):
        open_context(finished)


def test_models_trained_on_the_participant_are_listed_and_kept(
    finished: RunRequest, tmp_path: Path
) -> None:
    trained = commit_model(finished.store, tmp_path, WHO, "90001")
    unsalted = commit_model(finished.store, tmp_path, WHO, digest=digest_of)
    other = commit_model(finished.store, tmp_path, "90001")
    unrecorded = commit_model(finished.store, tmp_path)
    report = erase_now(finished.store, WHO, None)
    assert {model.folder: model.splits for model in report.models} == {
        trained: ("val",), unsalted: ("val",), unrecorded: (),
    }  # fmt: skip
    message = "\n".join(report.lines())
    assert f"{trained} (val)" in message
    assert f"{unrecorded} (participants not recorded)" in message
    assert other not in message
    assert "finetune" not in report.removed
    assert Path(trained, "merged", "weights.bin").exists()


@pytest.mark.parametrize("who", ["9000", "02", "Question", "nobody", "1"])
def test_an_unknown_participant_is_a_mistake_and_nothing_is_touched(
    finished: RunRequest, who: str
) -> None:
    before = everything(finished.store)
    with pytest.raises(DataError, match=r"or the data set .* nothing was changed") as caught:
        find_participant(finished.store, who, finished.data)
    assert caught.value.details == (who,)
    assert everything(finished.store) == before


def test_ids_that_differ_in_leading_zeros_are_erased_together_only_if_that_is_confirmed(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    store = Store(str(tmp_path / "store"))
    owners = {"a.mp4": "7", "b.mp4": "007", "c.mp4": "70"}
    commit_cuts(cut_variant(store), owners, [list(owners)])
    before = everything(store.root)
    with pytest.raises(ConfigError, match=r"2 ids differ in leading zeros .* --yes") as caught:
        run_command("erase", "7", "--store", store.root)
    assert caught.value.details == ("'007'", "'7'")
    assert everything(store.root) == before
    assert run_command("erase", "7", "--store", store.root, "--yes") == 0
    assert "ids that were erased as one: '007', '7'" in capsys.readouterr().out
    assert cut_variant(store).finished(dict.fromkeys(owners, "1")) == {"c.mp4"}


def test_spellings_of_one_id_are_erased_and_named_without_a_question(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    owners = {"a.mp4": "José", "b.mp4": "JOSE\u0301 ", "c.mp4": "Jose"}
    commit_cuts(cut_variant(store), owners, [list(owners)])
    model = commit_model(store.root, tmp_path, "José")
    found = find_participant(store.root, "jos\u200bé", None)
    check_one_participant(found)
    assert [trained.folder for trained in found.models] == [model]
    report = erase_found(found, NO_HISTORY)
    assert (report.removed, report.scan.is_clean) == ({"cut": 2}, True)
    assert "ids that were erased as one: 'JOSE\\u0301 '" in report.lines()[0]


def test_an_empty_id_and_a_missing_store_are_mistakes(finished: RunRequest, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="participant's id '' is empty"):
        find_participant(finished.store, " ", None)
    with pytest.raises(DataError, match=r"There is no store .*--store"):
        find_participant(str(tmp_path / "nowhere"), WHO, None)
    assert not (tmp_path / "nowhere").exists()


def test_nobody_is_erased_between_the_stages_of_a_run(finished: RunRequest, monkeypatch) -> None:
    def erase_instead(*_: object) -> None:
        erase_now(finished.store, WHO, None)

    monkeypatch.setitem(pipeline._FLOWS, "transcribe", erase_instead)
    monkeypatch.setattr(stages, "run_stage", erase_instead)
    one_stage = finished.model_copy(update={"only": ("transcribe",)})
    flows = (stages.segment_flow, stages.transcribe_flow, stages.manifest_flow,
             stages.infer_flow, stages.aggregate_flow, pipeline.pipeline)  # fmt: skip
    before = everything(finished.store)
    for flow in flows:
        with pytest.raises(StoreError, match="Another process, such as a run, is writing"):
            flow.fn(one_stage if flow is pipeline.pipeline else finished).result()
        assert everything(finished.store) == before, flow.name
    assert erase_now(finished.store, WHO, None).scan.is_clean


def run_command(*arguments: str) -> int:
    """Run the command in this process and return its exit status."""
    return typer.main.get_command(cli.app).main(args=list(arguments), standalone_mode=False) or 0


def test_the_command_reports_what_was_removed_and_searched_and_what_is_out_of_reach(
    finished: RunRequest, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    assert run_command("erase", WHO, "--store", finished.store, "--yes") == 0
    message = capsys.readouterr().out
    for line in (
        "removed: segment 2, transcribe 2, manifest 2, infer 4, aggregate 1",
        "of the store: nothing is left",
        "no model in the store was trained on them",
        "out of reach:",
        "the data folder, which is never changed",
        "waver-parity-*.log in the temporary folder",
    ):
        assert line in message
    (Path(finished.store) / "stray.json").write_text(json.dumps({"seen": videos_of(WHO)[0]}))
    assert run_command("erase", WHO, "--store", finished.store, "--yes") == 1
    assert "still names them: stray.json" in capsys.readouterr().out
    (Path(finished.store) / "stray.json").unlink()
    assert run_command("erase", WHO, "--store", finished.store, "--undo") == 0
    assert "use their videos again" in capsys.readouterr().out


def test_the_default_store_is_the_one_that_runs_write_to(
    finished: RunRequest, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    (tmp_path / ".waver").mkdir()
    Path(finished.store).rename(tmp_path / ".waver" / "store")
    monkeypatch.chdir(tmp_path)
    assert run_command("erase", f" {WHO} ", "--yes") == 0
    assert "of the store: nothing is left" in capsys.readouterr().out
    assert run_command("erase", f"{WHO}\t", "--undo") == 0


def test_a_terminal_prompts_for_confirmation_and_no_changes_nothing(
    finished: RunRequest, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    before = everything(finished.store)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: (_ for _ in ()).throw(typer.Abort()))
    with pytest.raises(typer.Abort):
        run_command("erase", WHO, "--store", finished.store)
    assert everything(finished.store) == before


def test_a_leak_of_another_participant_in_the_data_set_does_not_prevent_an_erasure(
    finished: RunRequest,
) -> None:
    splits = Path(finished.data) / "split"
    other = videos_of("90003")[0]
    for name in ("train", "test"):
        with (splits / f"{name}.txt").open("a", encoding="utf-8") as stream:
            stream.write(f"{other},0,words\n")
    assert erase_now(finished.store, WHO, finished.data).removed


def test_an_unreadable_data_set_is_reported_and_the_store_alone_is_searched(
    finished: RunRequest,
) -> None:
    annotation = Path(finished.data) / "video_annotation_transcript.yaml"
    annotation.write_text("a: [", encoding="utf-8")
    report = erase_now(finished.store, WHO, finished.data)
    assert report.removed
    assert "the data set was not read" in report.lines()[0]
    with pytest.raises(DataError, match="There is no data folder"):
        find_participant(finished.store, WHO, f"{finished.data} elsewhere")
