from dataclasses import replace

from flows.running.stage import StageReport
from flows.running.summary import count_reasons, run_summary, stage_summary
from storage.records import RejectedRecord
from tests.flows.running.test_outcome import CACHED, REJECTED, REPORT


def rejected(*reasons: str) -> list[RejectedRecord]:
    return [
        RejectedRecord(item_id=f"{n}.mp4", stage="segment", reason=r) for n, r in enumerate(reasons)
    ]


def test_reasons_that_differ_in_numbers_are_counted_together() -> None:
    rows = rejected(
        "the file is empty", "only 43% of 12.5 s decode", "only 7% of 3 s decode",
        "no video stream",
        "only 43% of 12.5 s decode",
    )  # fmt: skip
    assert count_reasons(rows) == (
        ("only N% of N s decode", 3),
        ("the file is empty", 1),
        ("no video stream", 1),
    )
    assert count_reasons(rejected("only 43% decode", "only 43% decode")) == (
        ("only 43% decode", 2),
    )


def test_a_stage_shows_counts_rate_reasons_warnings_and_headline_but_no_names() -> None:
    rows = rejected("the file is empty", "a | b <script>")
    report = replace(
        REJECTED, first_rejected=tuple(rows), reasons=count_reasons(rows),
        warnings=("segment: 1 of 4 videos were cut with a warning",), headline=("Found much.",),
    )  # fmt: skip
    lines = stage_summary(report).splitlines()
    assert lines[0] == "| expected | cached | computed | rejected | time | rate |"
    assert lines[2] == "| 4 | 1 | 3 | 2 | 2.0 s | 1.5 videos per second |"
    assert "**Rejected: 2 of 4 videos**" in lines
    assert "| 1 | the file is empty |" in lines
    assert r"| 1 | a \| b \<script\> |" in lines
    assert "- segment: 1 of 4 videos were cut with a warning" in lines
    assert "Found much." in lines
    assert ".mp4" not in stage_summary(report)


def test_of_very_many_reasons_the_rest_is_summed_up() -> None:
    reasons = tuple((f"reason {chr(97 + n)}", 30 - n) for n in range(20))
    lines = stage_summary(replace(REJECTED, reasons=reasons)).splitlines()
    assert "| 30 | reason a |" in lines
    assert "| 19 | reason l |" in lines
    assert f"| {sum(30 - n for n in range(12, 20))} | other reasons |" in lines


def states(text: str) -> list[list[str]]:
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| ")]
    return [[row[0].strip(), row[1].strip()] for row in rows]


def test_a_run_shows_which_stages_are_finished_which_runs_and_which_are_to_come() -> None:
    stages = ("segment", "transcribe", "manifest", "infer")
    transcribed = replace(CACHED, stage="transcribe")
    assert states(run_summary(stages, [REPORT, transcribed])) == [
        ["stage", "state"],
        ["segment", "Completed"],
        ["transcribe", "Cached"],
        ["manifest", "Running"],
        ["infer", ""],
    ]


def test_a_failed_run_shows_why_and_in_which_stage_and_what_was_rejected_before() -> None:
    report: StageReport = replace(REJECTED, reasons=(("the file is empty", 2),))
    text = run_summary(("segment", "transcribe"), [report], ["a warning"], "Stage x failed: so.")
    assert text.startswith("**Stage x failed: so.**\n")
    assert states(text)[1:3] == [["segment", "SomeRejected"], ["transcribe", "Failed"]]
    assert "**Rejected by segment: 2 of 4 videos**" in text
    assert text.endswith("- a warning")


def test_a_finished_run_shows_the_headline_of_its_stages() -> None:
    report = replace(REPORT, headline=("F1 .8", "Report: `/store/report.html`"))
    text = run_summary(("segment",), [report])
    assert text.endswith("\n\nF1 .8\n\nReport: `/store/report.html`")
    assert "Running" not in text
