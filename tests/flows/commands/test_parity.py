import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from flows.cli import main as cli
from storage.errors import DataError, StageError

MODEL = Path(__file__).parents[3] / "infra" / "sandbox" / "models" / "omni-base"


@pytest.mark.slow
def test_vllm_reads_and_serves_an_adapter_as_transformers_reads_and_merges_it(
    tmp_path: Path, write_adapter: Callable[..., Path]
) -> None:
    out, adapter = tmp_path / "parity.csv", write_adapter(tmp_path / "an adapter", MODEL)
    ended = subprocess.run(
        [sys.executable, "-m", "flows.cli.main", "parity", "--model", str(adapter),
         "--sample", "12", "--profile", "sandbox", "--set", "input.max_pixels=36864",
         "--out", str(out), "--store", str(tmp_path / "a store")],
        env={**os.environ, "PREFECT_HOME": str(tmp_path / "prefect")},
        capture_output=True, text=True, timeout=280, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "an adapter' is served as LoRA" in " ".join(ended.stdout.split())
    assert "The backends agree" in ended.stdout
    flips = [line.split() for line in ended.stdout.splitlines() if " that flip at .500 " in line]
    assert [line[-3:] for line in flips] == [["0", "of", "12"], ["0", "of", "3"]]
    with out.open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 12
    assert len({row["p_ah_vllm"] for row in rows}) == 12, "equal predictions would prove nothing"
    for row in rows:
        assert float(row["difference"]) <= 1e-3
        assert (row["same_token_ids"], row["same_features"], row["flips"]) == ("yes", "yes", "no")
        for kind in ("text", "video", "audio"):
            assert row[f"{kind}_tokens_vllm"] == row[f"{kind}_tokens_transformers"]
        assert int(row["video_tokens_vllm"]) > 0
    assert sum(row["audio_tokens_vllm"] == "0" for row in rows) == 2  # the segments without audio


def run_command(folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(folder / "prefect"))
    command = ["parity", "--model", str(MODEL), "--profile", "sandbox", *options]
    typer.main.get_command(cli.app).main(args=command, standalone_mode=False)


def test_a_data_set_needs_a_store_with_its_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one.mp4").write_bytes(b"")
    (tmp_path / "store").mkdir()
    data = ("--data", str(tmp_path / "data"))
    with pytest.raises(DataError, match="There is no store"):
        run_command(tmp_path, monkeypatch, *data, "--store", str(tmp_path / "nowhere"))
    with pytest.raises(StageError, match="'segment' is not finished"):
        run_command(tmp_path, monkeypatch, *data, "--store", str(tmp_path / "store"))
