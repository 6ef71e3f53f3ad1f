import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer

from flows.cli import main as cli
from flows.commands import export_training
from flows.commands.export_training import write_training
from flows.context.request import RunRequest
from flows.context.rows import read_manifest
from storage.errors import ConfigError, LeakageError
from tests.flows.toys import QUICK, WORDS


def written_to(folder: Path) -> str:
    """Return the contents of all files of a folder, as text."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return "".join(path.read_bytes().decode(errors="replace") for path in files)


def test_the_ms_swift_export_holds_training_and_validation_rows(
    finished: RunRequest, tmp_path
) -> None:
    lines = write_training(finished, "ms-swift", "internal", tmp_path / "out")
    train, val = (
        [json.loads(line) for line in (tmp_path / "out" / name).read_text().splitlines()]
        for name in ("train.jsonl", "val.jsonl")
    )
    assert (len(train), len(val)) == (4, 4)
    assert all("/90001_" in row["videos"][0] for row in train)
    assert all("/90002_" in row["videos"][0] for row in val)
    assert WORDS in train[0]["messages"][0]["content"]
    assert sorted(row["messages"][1]["content"] for row in train) == ["No", "No", "Yes", "Yes"]
    assert "of 8 videos, for purpose 'internal'" in lines
    assert (tmp_path / "out" / "train.sh").stat().st_mode & 0o111


@pytest.mark.parametrize("purpose", ["publication", "challenge"])
def test_transcripts_and_media_are_exported_for_internal_use_only(
    finished, tmp_path, purpose
) -> None:
    with pytest.raises(ConfigError, match="--purpose internal"):
        write_training(finished, "ms-swift", purpose, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    write_training(finished, "hf", purpose, tmp_path / "out")
    assert WORDS not in written_to(tmp_path / "out")
    tables = [pq.read_table(path) for path in (tmp_path / "out" / "data").iterdir()]
    assert all(table["purpose"].unique().to_pylist() == [purpose] for table in tables)


def test_the_hugging_face_export_holds_those_who_consented_by_split(
    finished: RunRequest, tmp_path: Path
) -> None:
    lines = write_training(finished, "hf", "publication", tmp_path / "out")
    participants = {
        path.name.split("-")[0]: set(pq.read_table(path)["participant_id"].to_pylist())
        for path in (tmp_path / "out" / "data").iterdir()
    }
    assert participants == {"train": {"90001"}, "test": {"90004"}}
    assert "left out without consent: 2 videos declined, 2 unknown" in lines


def test_a_leaking_split_is_exported_in_no_format(finished, tmp_path, monkeypatch) -> None:
    def leaking(context):
        manifest = read_manifest(context)
        first, *rest = manifest.samples
        return replace(manifest, samples=(replace(first, split="test"), *rest))

    monkeypatch.setattr(export_training, "read_manifest", leaking)
    for layout in ("ms-swift", "hf"):
        with pytest.raises(LeakageError, match="participant"):
            write_training(finished, layout, "internal", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def call(*arguments: str) -> None:
    typer.main.get_command(cli.app).main(args=["export", *arguments], standalone_mode=False)


def test_the_command_writes_a_folder_and_reports_its_contents(
    finished: RunRequest, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    out = tmp_path / "out"
    options = [
        "training", "--purpose", "internal", "--data", finished.data, "--store", finished.store,
        "--profile", "sandbox", "--out", str(out), "--set", "finetune.seeds=[3,4]",
        *(part for setting in QUICK for part in ("--set", setting)),
    ]  # fmt: skip
    call(*options, "--format", "ms-swift")
    lines = capsys.readouterr().out
    assert "4 training rows and 4 validation rows" in lines
    assert "only seed 3 of 2" in lines
    assert f"Export: {out}" in lines
    with pytest.raises(ConfigError, match="already exists"):
        call(*options, "--format", "hf")


def test_the_format_is_required_for_training_and_rejected_otherwise(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    options = ("--purpose", "internal", "--data", str(tmp_path), "--out", str(tmp_path / "out"))
    with pytest.raises(ConfigError, match="ms-swift, hf"):
        call("training", *options)
    with pytest.raises(ConfigError, match="takes no --format"):
        call("verdicts", *options, "--format", "hf")
