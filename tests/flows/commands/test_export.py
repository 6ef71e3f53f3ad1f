import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer

from flows.cli import main as cli
from flows.commands.export import write_rows
from flows.commands.options import EXPORT_KINDS
from flows.context.request import RunRequest
from storage.errors import ConfigError, DataError, StageError, StoreError
from tests.flows.toys import QUICK, WORDS, finish, request_of, videos_of

ALLOWED = {
    "internal": {"90001", "90002", "90003", "90004"},
    "publication": {"90001", "90004"},
    "challenge": {"90001", "90002"},
}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def participant_of(row: dict[str, str]) -> str:
    """Return the participant of a row, from its video's name."""
    return next(row[name] for name in ("video_id", "frame") if name in row).split("/")[1]


@pytest.mark.parametrize("kind", EXPORT_KINDS)
@pytest.mark.parametrize("purpose", ALLOWED)
def test_an_export_holds_and_names_those_who_consented_to_its_purpose(
    finished: RunRequest, tmp_path: Path, kind, purpose
) -> None:
    out = tmp_path / "export.csv"
    report = write_rows(finished, kind, purpose, out)
    rows = rows_of(out)
    assert {participant_of(row) for row in rows} == ALLOWED[purpose]
    assert {row["purpose"] for row in rows} == {purpose}
    assert (report.num_rows, report.num_videos) == (len(rows), 2 * len(ALLOWED[purpose]))
    num_out = 8 - report.num_videos
    assert (report.num_declined, report.num_unknown) == (num_out // 2, num_out // 2)
    assert "left out" in report.lines()[1]


@pytest.mark.parametrize("kind", EXPORT_KINDS)
def test_transcripts_are_exported_for_internal_use_only(
    finished: RunRequest, tmp_path: Path, kind
) -> None:
    for purpose in ("publication", "challenge"):
        write_rows(finished, kind, purpose, tmp_path / "export.csv")
        assert WORDS not in (tmp_path / "export.csv").read_text()
    write_rows(finished, "manifest", "internal", tmp_path / "export.csv")
    assert WORDS in (tmp_path / "export.csv").read_text()


def test_segments_carry_probability_verdict_and_label(finished: RunRequest, tmp_path: Path) -> None:
    write_rows(finished, "segments", "internal", tmp_path / "export.csv")
    rows = {row["segment_id"]: row for row in rows_of(tmp_path / "export.csv")}
    assert len(rows) == 16
    first, second = (rows[f"{videos_of('90004')[1]}#000{index}"] for index in (0, 1))
    assert (first["start_ms"], first["end_ms"], first["label"]) == ("0", "2000", "1")
    assert float(first["p_ah"]) == pytest.approx(0.8)
    assert first["verdict"] == str(int(float(first["threshold"]) <= 0.8))
    assert (second["label"], second["overlap_ms"]) == ("1", "1500")
    not_predicted = rows[f"{videos_of('90004')[0]}#0001"]
    assert (not_predicted["p_ah"], not_predicted["verdict"]) == ("", "")


def test_frames_are_named_as_in_the_release_with_label_and_probability(
    finished: RunRequest, tmp_path: Path
) -> None:
    report = write_rows(finished, "frames", "internal", tmp_path / "export.csv")
    rows = {row["frame"]: row for row in rows_of(tmp_path / "export.csv")}
    assert report.num_rows == len(rows) == 8 * 20
    name = videos_of("90001")[1]  # annotated from 1,000 to 3,500 ms, cut at 2,000 ms
    of_video = [rows[f"{name}/frame-{number}.jpg"] for number in range(20)]
    assert [row["label"] for row in of_video] == ["0"] * 5 + ["1"] * 13 + ["0"] * 2
    assert {row["p_ah"] for row in of_video} == {"0.8"}
    assert [row["frame_ms"] for row in of_video[:3]] == ["0", "200", "400"]
    not_predicted = [
        rows[f"{videos_of('90004')[0]}/frame-{number}.jpg"]["p_ah"] for number in (9, 10)
    ]
    assert not_predicted == ["0.2", ""]


def test_the_metadata_of_a_parquet_export_holds_its_purpose_and_what_is_left_out(
    finished: RunRequest, tmp_path: Path
) -> None:
    write_rows(finished, "verdicts", "publication", tmp_path / "export.parquet")
    metadata = pq.read_schema(tmp_path / "export.parquet").metadata
    assert (metadata[b"waver.kind"], metadata[b"waver.purpose"]) == (b"verdicts", b"publication")
    assert (metadata[b"waver.videos_declined"], metadata[b"waver.videos_unknown"]) == (b"2", b"2")
    table = pq.read_table(tmp_path / "export.parquet")
    assert table["purpose"].unique().to_pylist() == ["publication"]
    assert table.num_rows == 4


def test_an_export_that_nobody_consented_to_is_a_mistake_and_writes_nothing(
    tmp_path: Path, finished
) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "a.mp4").write_bytes(b"a")
    request = request_of(plain, tmp_path / "other store")
    (tmp_path / "work").mkdir()
    finish(request, tmp_path / "work")
    with pytest.raises(ConfigError, match=r"of 0 videos declined, .* to 1 is unknown"):
        write_rows(request, "verdicts", "challenge", tmp_path / "export.csv")
    assert not (tmp_path / "export.csv").exists()
    assert write_rows(request, "verdicts", "internal", tmp_path / "export.csv").num_rows == 1


def test_an_unfinished_stage_is_reported_and_nothing_is_written(
    finished: RunRequest, tmp_path: Path
) -> None:
    for marker in (tmp_path / "store" / "infer").rglob("done/*.json"):
        marker.unlink()
    with pytest.raises(StageError, match="Stage 'infer' is not finished: 16 of 16"):
        write_rows(finished, "segments", "internal", tmp_path / "export.csv")
    assert not (tmp_path / "export.csv").exists()
    assert write_rows(finished, "manifest", "internal", tmp_path / "export.csv").num_rows == 16


def test_a_mistyped_store_is_a_mistake_and_nothing_is_created(
    finished: RunRequest, tmp_path: Path
) -> None:
    before = set(tmp_path.rglob("*"))
    request = finished.model_copy(update={"store": str(tmp_path / "stroe")})
    with pytest.raises(DataError, match=r"There is no store .*stroe.*--store"):
        write_rows(request, "manifest", "internal", tmp_path / "export.csv")
    assert set(tmp_path.rglob("*")) == before


def fault(*options: str) -> Exception:
    arguments = ["export", *options]
    with pytest.raises((ConfigError, StoreError)) as caught:
        typer.main.get_command(cli.app).main(args=arguments, standalone_mode=False)
    assert "\n" not in str(caught.value)
    return caught.value


def test_mistakes_on_the_command_line_are_one_sentence(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    (tmp_path / "data").mkdir()
    options = ("--data", "data", "--out")
    assert "verdicts, segments" in str(fault("verdict", "--purpose", "internal", *options, "o.csv"))
    assert "internal, publication" in str(fault("verdicts", "--purpose", "fun", *options, "o.csv"))
    assert ".parquet" in str(fault("verdicts", "--purpose", "internal", *options, "o.xlsx"))


def test_the_command_writes_the_file_and_reports_what_it_left_out(
    finished: RunRequest, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    out = tmp_path / "verdicts.csv"
    overrides = [part for setting in QUICK for part in ("--set", setting)]
    typer.main.get_command(cli.app).main(
        args=[
            "export", "verdicts", "--purpose", "challenge", "--data", finished.data,
            "--store", finished.store, "--profile", "sandbox", "--model", str(finished.model),
            "--out", str(out), *overrides,
        ],
        standalone_mode=False,
    )  # fmt: skip
    printed = capsys.readouterr().out
    assert "4 rows of 4 videos, for purpose 'challenge'" in printed
    assert "left out without consent: 2 videos declined, 2 unknown" in printed
    assert len(rows_of(out)) == 4
