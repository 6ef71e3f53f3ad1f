"""Verify that the sandbox's label is learned, and only with both video and audio.

    python -m infra.sandbox.prove --data DIR --store STORE

Runs the whole pipeline with LoRA, with full-parameter training, and with LoRA without
video or without audio, in training and inference; prints the test metrics side by side. Exit
status 1 if training does not reach 0.90, or if a run without a modality exceeds chance.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from flows.commands.exit_status import ExitStatus
from flows.context.context import open_context
from flows.context.overrides import read_overrides
from flows.context.request import RunRequest
from flows.context.results import open_report
from storage.results import MetricRecord, ThresholdRecord
from tasks.evaluation.display import format_fraction, format_interval
from tasks.evaluation.evaluation import SEGMENT_METHOD

MIN_LEARNED = 0.90
MAX_CHANCE = 0.65
_FIGURES = {"macro_f1": "macro F1", "accuracy": "accuracy", "average_precision": "AP"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One way to run the pipeline, and whether it should learn."""

    name: str
    profile: str
    overrides: tuple[str, ...] = ()
    learns: bool


TRIALS = (
    Trial(name="LoRA", profile="sandbox", learns=True),
    Trial(name="full-parameter", profile="sandbox-full", learns=True),
    Trial(
        name="LoRA without video",
        profile="sandbox",
        overrides=("input.video=false",),
        learns=False,
    ),
    Trial(
        name="LoRA without audio", profile="sandbox", overrides=("input.audio=false",), learns=False
    ),
)


def test_figures(request: RunRequest, level: str) -> dict[str, MetricRecord]:
    """Read the model's figures on test, by name; on videos, those of the chosen pooling rule."""
    report = open_report(open_context(request))
    (rule,) = [row for row in report.read(ThresholdRecord) if row.chosen]
    method = rule.method if level == "video" else SEGMENT_METHOD
    return {
        row.name: row
        for row in report.read(MetricRecord)
        if row.split == "test" and row.level == level and row.method == method
    }


def holds(trial: Trial, figures: dict[str, dict[str, MetricRecord]]) -> bool:
    """Return whether a trial meets its expectation, from its metrics by level and name.

    Learned: macro F1 on videos of at least 0.90. Chance: on videos and on segments, macro F1 is at
    most 0.65 and its interval includes 0.5.
    """
    macro_f1 = {level: rows["macro_f1"] for level, rows in figures.items()}
    if trial.learns:
        return (macro_f1["video"].value or 0.0) >= MIN_LEARNED
    return all(
        row.value is not None and row.value <= MAX_CHANCE and row.low is not None and row.low <= 0.5
        for row in macro_f1.values()
    )


def _run(trial: Trial, data: str, store: str) -> RunRequest:
    request = RunRequest(
        data=data, store=store, profile=trial.profile, settings=read_overrides(trial.overrides)
    )
    command = [
        sys.executable, "-m", "flows.cli.main", "run",
        "--data", data, "--store", store, "--profile", trial.profile,
    ]  # fmt: skip
    for override in trial.overrides:
        command += ["--set", override]
    ended = subprocess.run(command, check=False).returncode
    if ended not in (ExitStatus.DONE, ExitStatus.SOME_REJECTED):
        sys.exit(ended)  # the run has printed the reason
    return request


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=".waver/sandbox")
    parser.add_argument("--store", default=".waver/store")
    options = parser.parse_args(arguments)
    title = "Held-out participants (test), value and 95 % interval"
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False)
    for column in ("trial", "level", *_FIGURES.values(), "holds"):
        table.add_column(column, no_wrap=True)
    all_hold = True
    for trial in TRIALS:
        request = _run(trial, options.data, options.store)
        figures = {level: test_figures(request, level) for level in ("video", "segment")}
        good = holds(trial, figures)
        all_hold &= good
        for level, rows in figures.items():
            cells = [
                f"{format_fraction(rows[name].value)}\n{format_interval(rows[name])}"
                for name in _FIGURES
            ]
            table.add_row(trial.name, level, *cells, "yes" if good else "NO")
    Console().print(table)
    return 0 if all_hold else 1


if __name__ == "__main__":
    sys.exit(main())
