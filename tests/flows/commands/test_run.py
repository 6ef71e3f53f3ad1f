"""The terminal shows every stage's counts in 100 columns; test_pipeline checks whole runs."""

import subprocess
import sys

from rich.console import Console

from flows.commands.run import stage_table
from flows.run_stage import StageReport


def report(stage: str, num_computed: int) -> StageReport:
    return StageReport(
        stage=stage,
        variant_id="v",
        num_expected=1_000_000,
        num_cached=1_000_000 - num_computed,
        num_computed=num_computed,
        num_rejected=12,
        seconds=86_400.04,
    )


def test_the_stage_table_shows_states_and_counts_in_100_columns() -> None:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(stage_table([report("transcribe", 250_000), report("infer", 0)]))
    lines = [line.split() for line in capture.get().splitlines() if line.strip()]
    assert lines[1] == ["stage", "state", "expected", "cached", "computed", "rejected", "seconds"]
    assert lines[3:] == [
        ["transcribe", "Completed", "1000000", "750000", "250000", "12", "86400.0"],
        ["infer", "Cached", "1000000", "1000000", "0", "12", "86400.0"],
    ]


def test_a_run_imports_model_libraries_in_its_children_alone() -> None:
    """Importing them takes a nothing-to-do run as long as all the rest."""
    code = "import sys, flows.commands.run; print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True
    )
    heavy = {"torch", "transformers", "vllm", "sklearn", "faster_whisper", "ctranslate2", "cv2"}
    assert not heavy & set(ended.stdout.split())
