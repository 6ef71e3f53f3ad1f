"""The terminal shows every stage's counts in 100 columns; test_pipeline checks whole runs."""

import subprocess
import sys
from dataclasses import replace

from rich.console import Console

from flows.commands.run import rejected_lines, stage_table
from flows.running.stage import StageReport
from storage.records import RejectedRecord
from storage.store.store import Store


def report(stage: str, num_computed: int, num_rejected: int = 12) -> StageReport:
    return StageReport(
        stage=stage,
        variant_id="v",
        num_expected=1_000_000,
        num_cached=1_000_000 - num_computed,
        num_computed=num_computed,
        num_rejected=num_rejected,
        seconds=86_400.04,
    )


def test_the_stage_table_shows_states_and_counts_in_100_columns() -> None:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(stage_table([report("transcribe", 250_000), report("infer", 0, 0)]))
    lines = [line.split() for line in capture.get().splitlines() if line.strip()]
    assert lines[1] == ["stage", "state", "expected", "cached", "computed", "rejected", "seconds"]
    assert lines[3:] == [
        ["transcribe", "SomeRejected", "1000000", "750000", "250000", "12", "86400.0"],
        ["infer", "Cached", "1000000", "1000000", "0", "0", "86400.0"],
    ]


def rejections(num_rejected: int) -> StageReport:
    rows = (
        RejectedRecord(item_id=f"day 1/[b]{n}.mp4", stage="segment", reason=f"reason {n}")
        for n in range(min(10, num_rejected))
    )
    return replace(report("segment", 0), num_rejected=num_rejected, first_rejected=tuple(rows))


def test_the_first_rejected_items_are_named_with_their_reasons_and_the_table_of_all(tmp_path):
    clean = replace(report("infer", 0), num_rejected=0)
    lines = list(rejected_lines([rejections(25), clean], Store(str(tmp_path))))
    assert lines[0] == "Rejected by segment: 25 of 1000000"
    assert lines[1:11] == [f"  day 1/[b]{n}.mp4: reason {n}" for n in range(10)]
    assert lines[11].startswith("  and 15 more: see artifact segment-rejected in `waver ui`")
    assert lines[11].endswith(f"{tmp_path}/segment/v/RejectedRecord")
    assert len(lines) == 12


def test_a_list_of_all_rejected_items_does_not_end_with_more(tmp_path):
    lines = list(rejected_lines([rejections(3)], Store(str(tmp_path))))
    assert lines[0] == "Rejected by segment: 3 of 1000000"
    assert len(lines) == 4


def test_a_name_cannot_write_lines_of_its_own_to_the_terminal(tmp_path):
    row = RejectedRecord(item_id="a\n\x1b[2J\u202eb.mp4", stage="segment", reason="no\tvideo")
    odd = replace(rejections(1), first_rejected=(row,))
    assert list(rejected_lines([odd], Store(str(tmp_path))))[1] == (
        r"  a\n\x1b[2J\u202eb.mp4: no\tvideo"
    )


def test_a_run_imports_model_libraries_in_its_children_alone() -> None:
    """Importing them takes a nothing-to-do run as long as all the rest."""
    code = "import sys, flows.commands.run; print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True
    )
    heavy = {"torch", "transformers", "vllm", "sklearn", "faster_whisper", "ctranslate2", "cv2"}
    assert not heavy & set(ended.stdout.split())
