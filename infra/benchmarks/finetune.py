"""Cost of training: Waver against transformers' Trainer on the same model, segments and epochs.

``python -m infra.benchmarks.finetune [--data .waver/sandbox] [--store .waver/store]``; exit status
1 below the target. All ways run in turn, round by round, so that noise affects all of them; each
runs in a process of its own and is timed from an open model to its last step.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from flows.context.context import Context, open_context
from flows.context.request import RunRequest
from flows.context.rows import read_manifest
from infra.benchmarks.finetune_ways import Measured
from storage.records import SampleRecord
from tasks.labels.class_plan import ClassRule, plan_classes
from tasks.model.model_folder import check_model
from tasks.processes.child_process import YIELDING
from tasks.training.job import TrainingJob, write_job
from tasks.training.settings import FinetuneResources

TARGET = 3.0
MOST_WAITING = 0.05
_PLAIN, _OURS = "transformers Trainer", "waver"
_COLUMNS = (
    "way", "seconds", "times as fast", "CPU s", "samples/s", "tokens/s", "peak MiB", "waiting",
    "padding",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the table: a way, its resources, and the name of its feature folder."""

    way: str
    resources: Mapping[str, Any]
    features: str | None = None  # rows with the same name use one folder within a round


ROWS: Mapping[str, Row] = {
    _PLAIN: Row(way="plain", resources={}),
    _OURS: Row(way="waver", resources={}, features="ours"),
    "waver, a second run": Row(way="waver", resources={}, features="ours"),
    "towers in every step": Row(way="waver", resources={}),
    "every position": Row(way="every-position", resources={}, features="every position"),
    "whole rows": Row(way="whole-rows", resources={}, features="whole rows"),
    "a decoding process": Row(
        way="waver", resources={"num_decoders": 1}, features="a decoding process"
    ),
    "one step, 151,936 words, last position": Row(way="head-last", resources={}),
    "one step, 151,936 words, every position": Row(way="head-every", resources={}),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.benchmarks.finetune", description=__doc__
    )
    parser.add_argument("--data", default=".waver/sandbox")
    parser.add_argument("--store", default=".waver/store")
    parser.add_argument("--profile", default="sandbox")
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--batch", type=int, help="by default the profile's")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of each way's model")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    options = parser.parse_args(arguments)
    request = RunRequest(data=options.data, store=options.store, profile=options.profile)
    _prepare(request)
    context = open_context(request)
    samples = read_manifest(context).samples
    rows = {title: row for title, row in ROWS.items() if title in (_PLAIN, _OURS, *options.rows)}
    found: dict[str, list[Measured]] = {title: [] for title in rows}
    with tempfile.TemporaryDirectory(prefix="waver-finetune-") as name:
        for number in range(options.repeats):
            for title, row in rows.items():
                folder = Path(name) / f"{number}" / row.way / title.replace(" ", "-")
                job = _job(context, samples, row, folder, options)
                found[title].append(_measure(row.way, job, samples, folder))
                print(f"round {number + 1}: {title}: {found[title][-1].seconds:.1f} s", flush=True)
    return report(found)


def _prepare(request: RunRequest) -> None:
    """Run the stages up to the manifest; cached results are kept."""
    command = [
        sys.executable, "-m", "flows.cli.main", "run",
        "--data", request.data, "--store", request.store,
        "--profile", request.profile, "--only", "segment", "--only", "transcribe",
        "--only", "manifest",
    ]  # fmt: skip
    subprocess.run(command, check=True)


def _job(
    context: Context,
    samples: Sequence[SampleRecord],
    row: Row,
    folder: Path,
    options: argparse.Namespace,
) -> TrainingJob:
    folder.mkdir(parents=True)
    settings = context.settings.finetune.training_of(0)
    changes = {
        "steps": None, "epochs": options.epochs, "validation": False,
        "patience": None,
    }  # fmt: skip
    if options.batch:
        changes["batch_size"] = options.batch
    resources = {
        "device": "cpu", "num_threads": options.threads, "checkpoint_seconds": 1e9, **row.resources
    }  # fmt: skip
    return TrainingJob(
        identity="benchmark",
        store_url=context.store.url,
        model_path=check_model(context.settings.finetune.model),
        input=context.settings.input,
        training=settings.model_copy(update=changes),
        plan=plan_classes(samples, ClassRule(sampling="natural")),
        resources=FinetuneResources.model_validate(resources),
        work_path=folder / "work",
        features_path=folder.parents[1] / row.features if row.features else None,
    )


def _measure(way: str, job: TrainingJob, samples: Sequence[SampleRecord], folder: Path) -> Measured:
    path = write_job(job, samples, folder)
    command = [sys.executable, "-m", "infra.benchmarks.finetune_ways", way, str(path)]
    environment = {**YIELDING, **os.environ, "TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1"}
    environment["OMP_NUM_THREADS"] = str(job.resources.num_threads)
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    return Measured(**json.loads(ended.stdout.splitlines()[-1]))


def report(found: Mapping[str, Sequence[Measured]]) -> int:
    """Print the rounds' medians; return 0 if the targets are met, else 1."""
    print(f"\n| {' | '.join(_COLUMNS)} |")
    print("|---" * len(_COLUMNS) + "|")
    for title, rounds in found.items():
        print(f"| {title} | {' | '.join(_cells(rounds, found[_PLAIN]))} |")
    ours, waiting = (
        _times_as_fast(found[_OURS], found[_PLAIN]),
        _median(found[_OURS], "wait_fraction"),
    )
    ratios = ", ".join(f"{ratio:.2f}" for ratio in ours)
    print(f"\nours is {median(ours):.2f} times as fast (target {TARGET}; rounds {ratios})")
    print(f"ours waits {waiting:.1%} of its steps' time (target at most {MOST_WAITING:.0%})")
    return 0 if median(ours) >= TARGET and waiting <= MOST_WAITING else 1


def _cells(rounds: Sequence[Measured], plain: Sequence[Measured]) -> list[str]:
    one, seconds = rounds[0], _median(rounds, "seconds")
    is_training = one.num_samples == plain[0].num_samples
    ratio = f"{median(_times_as_fast(rounds, plain)):.2f}" if is_training else ""
    return [
        f"{seconds:.1f}",
        ratio,
        f"{_median(rounds, 'cpu_seconds'):.1f}",
        f"{one.num_samples / seconds:.1f}",
        f"{one.num_tokens / seconds:.0f}",
        f"{_median(rounds, 'peak_mib'):.0f}",
        f"{_median(rounds, 'wait_fraction'):.1%}",
        f"{one.padding_fraction:.1%}",
    ]


def _median(rounds: Sequence[Measured], name: str) -> float:
    return median(getattr(one, name) for one in rounds)


def _times_as_fast(rounds: Sequence[Measured], plain: Sequence[Measured]) -> list[float]:
    return [theirs.seconds / one.seconds for theirs, one in zip(plain, rounds, strict=True)]


if __name__ == "__main__":
    sys.exit(main())
