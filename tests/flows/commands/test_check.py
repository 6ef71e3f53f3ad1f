"""A data set is audited before a run; only the audit and an existing store's cache are written."""

import shutil
from pathlib import Path

import pytest
import typer
import yaml

from flows.cli import main as cli
from flows.commands.check import FileChecks, audit
from storage.datasets.dataset import Dataset
from storage.datasets.erased import mark_erased
from storage.errors import ConfigError, DataError, WaverError
from storage.fingerprint import digest_file
from storage.media_records import MediaHashRecord, VideoQuality
from storage.records import Interval
from storage.results import AuditRecord
from storage.schema import from_table, read_parquet
from storage.store.cache import remove_cache
from storage.store.store import Store
from storage.store.variant import ItemOutput, open_variant
from tasks.audit import files
from tasks.audit.files import FileFacts
from tasks.audit.reencoded import DecodedVideos
from tests.builders import a_video, media_facts

NAME = "Videos/{0}/Visite_1/{0}_Question_{1}_2024-01-01_10-00-00_Video.mp4"
SPLITS = {
    "train": ("90001", "90002"), "test": ("90003", "90004"), "val": ("90005", "90006"),
}  # fmt: skip
WORDS = "private words"


@pytest.fixture
def release(video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release of six videos without problems, in its own working folder."""
    monkeypatch.chdir(tmp_path)
    root, annotation, people = tmp_path / "data", {}, {}
    for split, participants in SPLITS.items():
        lines = []
        for label, participant in enumerate(participants):
            name = NAME.format(participant, label + 1)
            (root / name).parent.mkdir(parents=True)
            shutil.copy(video("cfr25.mp4"), root / name)
            with (root / name).open("ab") as stream:
                stream.write(b"\0" * int(participant[-1]))  # no two have the same content
            times = [["00:00:01.000", "00:00:04.000"]] * label
            annotation[name] = {
                "global_ah": label, "time_detailed_ah": times, "certainty_ah": [1] * label,
                "all_cues": [{"facial": WORDS}] * label,
                "transcript": {"chunks": [{"text": WORDS, "timestamp": [0.0, None]}]},
            }  # fmt: skip
            people[participant] = {"Use in challenges": "Yes", "Age": WORDS}
            lines.append(f"{name},{label},{WORDS}\n")
        (root / "split").mkdir(exist_ok=True)
        (root / "split" / f"{split}.txt").write_text("".join(lines))
    (root / "video_annotation_transcript.yaml").write_text(yaml.safe_dump(annotation))
    (root / "meta_data.yml").write_text(yaml.safe_dump(people))
    return root


def check(*options: str) -> int:
    """Run the command in this process and return its exit status."""
    command = typer.main.get_command(cli.app)
    return command.main(args=["check", "--data", "data", *options], standalone_mode=False)


def audited() -> dict[tuple[str | None, str], AuditRecord]:
    rows = from_table(AuditRecord, read_parquet("audit.parquet"))
    return {(row.split, row.name): row for row in rows}


def found() -> dict[str, tuple[str, ...]]:
    rows = audited().values()
    return {row.name: row.examples for row in rows if row.subject == "finding"}


def test_a_data_set_without_problems_ends_with_status_0_and_only_the_audit_is_written(
    release, tmp_path, capsys
):
    before = sorted(tmp_path.rglob("*"))
    assert check("--out", "audit.parquet") == 0
    printed = capsys.readouterr().out
    assert "No problem found that makes results untrustworthy." in printed
    assert "Audit: audit.parquet" in printed
    created = {str(p.relative_to(tmp_path)) for p in set(tmp_path.rglob("*")) - set(before)}
    assert created == {"audit.parquet"}


def test_an_existing_store_caches_the_parsed_annotation(release):
    store = Store("my store")
    assert check("--store", "my store") == 0
    assert len(store.list_files(".cache/annotation")) == 1
    assert not Path(".waver").exists()


def test_the_table_holds_every_count_and_finding(release):
    assert check("--out", "audit.parquet") == 0
    rows = audited()
    assert rows[None, "videos"].value == 6
    assert rows["test", "positive_fraction"].value == 0.5
    assert rows[None, "hours"].value == pytest.approx(6 * 12 / 3600)
    assert rows["train", "ah_fraction"].value == pytest.approx(3 / 24)
    assert rows[None, "challenges_yes"].value == 6
    assert set(found()) == {"transcript_open"}


def test_the_table_names_every_video_and_the_screen_a_few(release, capsys):
    assert check("--out", "audit.parquet") == 0
    assert len(found()["transcript_open"]) == 6
    assert "and 3 more: `--out FILE.parquet` writes all of them" in capsys.readouterr().out


def test_repeated_windows_of_transcripts_and_unknown_cues_are_named(release):
    path, name = release / "video_annotation_transcript.yaml", NAME.format("90002", 2)
    annotation = yaml.safe_load(path.read_text())
    chunks = [{"text": WORDS, "timestamp": times} for times in ([0.0, 29.0], [0.0, None])]
    annotation[name] |= {"transcript": {"chunks": chunks}, "all_cues": [{"gaze": WORDS}]}
    path.write_text(yaml.safe_dump(annotation))
    assert check("--out", "audit.parquet") == 0
    assert found()["transcript_restarts"] == (name,)
    (cue,) = found()["cue_kind_unknown"]
    assert cue.startswith(f"{name}: unknown kinds of cues: 'gaze'")


def test_all_copies_of_a_file_and_all_spellings_of_a_participant_are_named(release):
    original, lines = NAME.format("90004", 2), {"train": "", "test": ""}
    copies = {"train": ("José", "Jose\u0301"), "test": ("José",)}
    for split, people in copies.items():
        for number, who in enumerate(people):
            copy = NAME.format(who, 3 + number + 2 * (split == "test"))
            (release / copy).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(release / original, release / copy)
            lines[split] += f"{copy},1,words\n"
        with (release / "split" / f"{split}.txt").open("a", encoding="utf-8") as stream:
            stream.write(lines[split])
    assert check("--out", "audit.parquet") == 1
    (example,) = found()["same_file_in_two_splits"]
    assert example.count(" (train)") == 2
    assert example.count(" (test)") == 2
    assert original in example
    (spelled,) = found()["participant_spelled_twice"]
    assert r"'Jose\u0301' of " in spelled
    assert "'José' of " in spelled
    assert len(found()["participant_in_two_splits"]) == 1


def test_leakage_ends_with_status_1_and_names_the_videos(release, capsys):
    train, test = NAME.format("90001", 1), NAME.format("90004", 2)
    with (release / "split" / "test.txt").open("a") as stream:
        stream.write(f"{train},0,words\n")
    copy = NAME.format("90002", 3)
    shutil.copy(release / test, release / copy)
    with (release / "split" / "train.txt").open("a") as stream:
        stream.write(f"{copy},1,words\n")
    assert check("--out", "audit.parquet") == 1
    assert "results untrustworthy" in capsys.readouterr().out
    assert found()["video_in_two_splits"] == (train,)
    assert found()["same_file_in_two_splits"] == (f"{copy} (train) + {test} (test)",)


def test_a_contradiction_ends_with_status_1_and_a_damaged_file_alone_does_not(release):
    (release / NAME.format("90003", 1)).write_bytes(b"")
    assert check("--out", "audit.parquet") == 0
    (message,) = found()["cannot_be_opened"]
    assert message.startswith(f"{NAME.format('90003', 1)}: ")
    assert "empty" in message
    with (release / "split" / "train.txt").open("a") as stream:
        stream.write(f"{NAME.format('90001', 1)},1,words\n")
    assert check("--out", "audit.parquet") == 1
    assert "listed_with_two_labels" in found()


def test_an_unforeseen_error_in_one_file_ends_with_status_1_and_names_file_and_class(
    video, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for name in ("odd.mp4", "good.mp4"):
        shutil.copy(video("one-frame.mp4"), tmp_path / "data" / name)
    real = files.probe_seconds
    monkeypatch.setattr(
        files,
        "probe_seconds",
        lambda p, **options: {}[1] if "odd" in p.name else real(p, **options),
    )
    assert check("--out", "audit.parquet") == 1
    (example,) = found()["check_failed"]
    assert example.startswith("odd.mp4: unexpected KeyError in ")
    assert "unexpected KeyError" in capsys.readouterr().out
    assert audited()[None, "videos"].value == 2


def test_poor_video_and_audio_are_found_once_the_store_holds_decoded_videos(
    video, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "a.mp4"
    shutil.copy(video("one-frame.mp4"), path)
    facts = media_facts(
        source_digest=digest_file(path),
        video_quality=VideoQuality(black_fraction=0.5, frozen_fraction=0.5),
        antiphase=True,
    )
    variant = open_variant(Store(".waver/store"), "segment", version=1, settings={})
    hashes = MediaHashRecord(video_id=facts.video_id, motion=b"", audio=b"")
    variant.commit([ItemOutput(item_id="a.mp4", rows=(facts, hashes))], {"a.mp4": "1"})
    assert check("--out", "audit.parquet") == 0
    assert found() == {
        "black_video": ("a.mp4: the video is black for 50% of its duration",),
        "antiphase_audio": ("a.mp4: the two audio channels cancel each other",),
    }
    assert "Not examined" not in capsys.readouterr().out


def test_neither_screen_nor_table_holds_words_or_details(release, tmp_path, capsys):
    assert check("--out", "audit.parquet") == 0
    printed = capsys.readouterr()
    assert WORDS.split()[0] not in printed.out + printed.err
    table = read_parquet("audit.parquet").to_pylist()
    assert WORDS.split()[0] not in str(table)


def test_what_could_not_be_checked_is_reported_with_the_command_to_run_first(release, capsys):
    assert check("--store", "my store", "--out", "audit.parquet") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "whether 6 of 6 videos are re-encoded copies of others" in printed
    assert "whether 6 of 6 videos are black, frozen, silent or clipped" in printed
    assert "run `waver run --data data --store 'my store' --only segment` first" in printed
    assert audited()[None, "reencoded"].value == audited()[None, "input_quality"].value == 6


def test_erased_participants_are_left_out_as_in_a_run(release):
    store = Store(".waver/store")
    assert check("--out", "audit.parquet") == 0
    mark_erased(store, "90004")
    remove_cache(store)
    for _ in range(2):  # the second time, the cache holds the annotation without them
        assert check("--out", "audit.parquet") == 1
        assert audited()[None, "videos"].value == 5
        assert set(found()) == {"erased", "transcript_open", "split_of_one_label"}
        assert "90004" not in str(found())


def test_a_plain_folder_is_audited_too(video, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    shutil.copy(video("cfr25.mp4"), tmp_path / "data" / "a.mp4")
    assert check("--out", "audit.parquet") == 0
    assert not (tmp_path / ".waver").exists()
    (tmp_path / "data" / "labels.csv").write_text("video,label,split\na.mp4,1,train\n")
    assert check("--out", "audit.parquet") == 1
    assert set(found()) == {
        "split_of_one_label", "split_without_videos", "test_without_videos", "no_participant",
    }  # fmt: skip


def test_all_contradictions_in_a_label_table_are_reported_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (tmp_path / "data" / name).write_bytes(b"")
    (tmp_path / "data" / "labels.csv").write_text(
        "video,label,split,start_ms,end_ms\na.mp4,1,train,,\na.mp4,,test,,\n"
        "b.mp4,1,train,,\nb.mp4,0,,,\nc.mp4,0,train,,\nc.mp4,1,,1000,2000\n"
    )
    assert check("--out", "audit.parquet") == 1
    assert found()["video_in_two_splits"] == ("a.mp4",)
    assert found()["listed_with_two_labels"] == ("b.mp4",)
    assert found()["negative_with_intervals"] == ("c.mp4",)


def _write_times(root: Path, is_table: bool, pairs: list[tuple[int, int]]) -> None:
    """Annotate the release's positive videos with one interval each, in milliseconds."""
    path = root / "video_annotation_transcript.yaml"
    annotation = yaml.safe_load(path.read_text())
    times = dict(zip([n for n, a in annotation.items() if a["global_ah"]], pairs, strict=True))
    if not is_table:
        for name, pair in times.items():
            annotation[name]["time_detailed_ah"] = [[ms / 1000 for ms in pair]]
        path.write_text(yaml.safe_dump(annotation))
        return
    rows = ["video,label,start_ms,end_ms"]
    for name, entry in annotation.items():
        start_ms, end_ms = times.get(name, ("", ""))
        rows.append(f"{name},{entry['global_ah']},{start_ms},{end_ms}")
    shutil.rmtree(root / "split")
    path.unlink()
    (root / "labels.csv").write_text("\n".join(rows))


@pytest.mark.parametrize("is_table", [True, False], ids=["table", "release"])
@pytest.mark.parametrize(
    ("pairs", "kinds"),
    [
        ([(1, 4), (0, 3), (2, 5)], {"implausible_unit": 3}),
        ([(1_000, 3_000), (0, 3), (500, 2_000)], {"implausible_unit": 1}),
        ([(1_000, 1_040), (0, 3_000), (500, 2_000)], {}),
        (
            [(1_000, 99_000), (0, 3_000), (500, 2_000)],
            {"interval_far_past_end": 1, "no_interval_within": 1},
        ),
        (
            [(90_000, 99_000), (80_000, 89_000), (70_000, 75_000)],
            {"interval_after_end": 3, "no_interval_within": 3},
        ),
    ],
)
def test_implausible_times_invalidate_a_data_set_of_either_format(release, pairs, kinds, is_table):
    _write_times(release, is_table, pairs)
    assert check("--out", "audit.parquet") == int(bool(kinds))
    findings = {row.name: row for row in audited().values() if row.subject == "finding"}
    implausible = {
        name: int(row.value)
        for name, row in findings.items()
        if name.startswith(("interval", "implausible", "no_interval"))
    }
    assert implausible == kinds
    assert all(findings[name].invalidates for name in kinds)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (("--data", "nowhere"), DataError, "There is no data folder 'nowhere'"),
        (("--out", "audit.csv"), ConfigError, "'audit.csv' must end in .parquet"),
        (("--out", "audit"), ConfigError, "must end in .parquet"),
        (("--out", "missing/audit.parquet"), ConfigError, "The folder 'missing' of --out"),
        (("--out", "folder.parquet"), ConfigError, "is a folder"),
        (("--store", "data/store"), ConfigError, "is inside the data folder 'data'"),
        (("--store", "nothing://x"), ConfigError, "The store 'nothing://x' cannot be opened"),
    ],
)
def test_a_users_mistake_is_one_sentence_before_any_work(
    release, tmp_path, options, error, message
):
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(WaverError) as caught:
        check(*options)
    assert isinstance(caught.value, error)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("end_ms", "num_labeled"), [(8_000, 2), (7_100, 2), (6_000, 1)])
def test_a_video_that_stretches_without_ah_cover_is_counted_as_labeled(end_ms, num_labeled):
    stretches = (Interval(start_ms=0, end_ms=end_ms),)
    videos = (
        a_video("a", split="train", negative_intervals=stretches),
        a_video("b", split="train", label=1),
    )
    durations = {video.video_id: 8_000 for video in videos}
    checks = FileChecks(
        facts=FileFacts(durations=durations),
        decoded=DecodedVideos(groups=(), unhashed=frozenset()),
        decode_command="",
    )
    records = list(audit(Dataset(root=Path("x"), videos=videos), checks))
    (labeled,) = (r.value for r in records if (r.name, r.split) == ("labeled", "train"))
    assert labeled == num_labeled
    is_one_class = any(row.name == "split_of_one_label" for row in records)
    assert is_one_class == (num_labeled == 1)
