"""Ways to train the same model on the same segments, each measured in a separate process.

``python -m infra.benchmarks.finetune_ways WAY JOB`` prints its measurements as one line of JSON.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from storage.records import SampleRecord
from storage.store.store import Store
from tasks.prompting.model_input import build_input, to_model_batch
from tasks.prompting.prompt import ANSWER_NO, ANSWER_YES
from tasks.training.checkpoints.checkpoints import Checkpoints
from tasks.training.context import TrainingContext
from tasks.training.data.reading import open_reader
from tasks.training.distributed.ranks import Ranks
from tasks.training.job import TrainingJob, read_job
from tasks.training.loop import train
from tasks.training.model.last_position import compute_every_position
from tasks.training.model.trainable import OpenModel, open_for_training
from tasks.training.selection import select_samples
from tasks.training.tracking.callbacks import CallbackList
from tasks.training.tracking.throughput import wait_fraction

NO_LABEL = -100  # ignored by transformers' losses
FULL_VOCABULARY = 151_936
_HEAD_ROWS = 8
_MIB_OF_KIB = 1 / 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Measurements of one way, from an open model to its last step, with decoding."""

    seconds: float
    num_samples: int
    num_tokens: int
    wait_fraction: float
    padding_fraction: float
    peak_mib: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Wall-clock seconds, and CPU seconds of this process and its finished children."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> "Spent":
        """Read the clocks."""
        used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return cls(
            wall=time.perf_counter(), cpu=sum(part.ru_utime + part.ru_stime for part in used)
        )

    def since(self, started: "Spent") -> "Spent":
        """Return the seconds spent since ``started``."""
        return Spent(wall=self.wall - started.wall, cpu=self.cpu - started.cpu)


Way = Callable[[TrainingJob, Sequence[SampleRecord]], Measured]


def train_as_waver(job: TrainingJob, samples: Sequence[SampleRecord]) -> Measured:
    """Train as the finetune stage does, without validation and checkpoints."""
    return _train(job, samples, open_for_training(job.model_path, job.training))


def train_with_every_position(job: TrainingJob, samples: Sequence[SampleRecord]) -> Measured:
    """Train as the stage does, but with the last layer and the logits of every position."""
    opened = open_for_training(job.model_path, job.training)
    compute_every_position(opened.trained)
    return _train(job, samples, opened)


def train_with_whole_rows(job: TrainingJob, samples: Sequence[SampleRecord]) -> Measured:
    """Train as the stage does, but compute the instruction again for each row."""
    return _train(job, samples, open_for_training(job.model_path, job.training), reuse_prefix=False)


def _train(
    job: TrainingJob,
    samples: Sequence[SampleRecord],
    opened: OpenModel,
    *,
    reuse_prefix: bool = True,
) -> Measured:
    ranks = Ranks(cpu=True)
    started = Spent.now()
    with open_reader(job, opened, ranks, samples, _log) as reader:
        if not reuse_prefix:
            opened.top.thinker.model._forward_pre_hooks.clear()
        progress = train(
            TrainingContext(
                settings=job.training,
                plan=job.plan,
                resources=job.resources,
                opened=opened,
                reader=reader,
                train_samples=samples,
                val_samples=[],
                checkpoints=Checkpoints(job.work_path, job.identity),
                ranks=ranks,
                report=lambda _line: None,
                callback=CallbackList(),
            )
        )
    log, spent = progress.log, Spent.now().since(started)
    return Measured(
        seconds=spent.wall,
        cpu_seconds=spent.cpu,
        num_samples=sum(row.num_samples for row in log),
        num_tokens=sum(row.num_tokens for row in log),
        wait_fraction=wait_fraction(log),
        padding_fraction=sum(row.padding_fraction for row in log) / len(log),
        peak_mib=_peak_mib(),
    )


@dataclass(slots=True, kw_only=True)
class PlainCollator:
    """The straightforward collator: decode, call the processor, append the answer, in step."""

    job: TrainingJob
    processor: Any
    seconds: float = 0.0
    lengths: list[int] = field(default_factory=list)
    num_padded_tokens: int = 0

    def __call__(self, samples: Sequence[SampleRecord]) -> dict[str, torch.Tensor]:
        """Collate samples, with ``labels`` [batch, tokens] for the answer token alone."""
        started = time.perf_counter()
        store = Store(self.job.store_url)
        batch = to_model_batch(self.processor, [self._input(store, sample) for sample in samples])
        labels = torch.full_like(batch["input_ids"], NO_LABEL)
        labels[:, -1] = batch["input_ids"][:, -1]
        self.lengths += batch["attention_mask"].sum(-1).tolist()
        self.num_padded_tokens += labels.numel()
        self.seconds += time.perf_counter() - started
        return {**batch, "labels": labels}

    def _input(self, store: Store, sample: SampleRecord) -> Any:
        with ExitStack() as files:
            video = sample.video_path and files.enter_context(store.open(sample.video_path))
            audio = sample.audio_path and files.enter_context(store.open(sample.audio_path))
            model_input = build_input(
                self.job.input,
                video=video or None,
                audio=audio or None,
                transcript=sample.transcript,
                transcript_before=sample.transcript_before,
            )
        answer = ANSWER_YES if sample.label else ANSWER_NO
        return replace(model_input, text=model_input.text + answer)


def train_plainly(job: TrainingJob, samples: Sequence[SampleRecord]) -> Measured:
    """Train with transformers' Trainer, every epoch from the files."""
    from transformers import Trainer, TrainingArguments

    opened = open_for_training(job.model_path, job.training)
    compute_every_position(opened.trained)
    collator = PlainCollator(job=job, processor=opened.processor)
    arguments = TrainingArguments(
        output_dir=str(job.work_path),
        per_device_train_batch_size=job.training.batch_size,
        num_train_epochs=job.training.epochs,
        learning_rate=job.training.learning_rate,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    trainer = Trainer(
        model=opened.trained, args=arguments, train_dataset=list(samples), data_collator=collator
    )
    started = Spent.now()
    trainer.train()
    spent = Spent.now().since(started)
    return Measured(
        seconds=spent.wall,
        cpu_seconds=spent.cpu,
        num_samples=len(collator.lengths),
        num_tokens=sum(collator.lengths),
        wait_fraction=collator.seconds / spent.wall,
        padding_fraction=1 - sum(collator.lengths) / collator.num_padded_tokens,
        peak_mib=_peak_mib(),
    )


def step_with_full_vocabulary(
    job: TrainingJob, samples: Sequence[SampleRecord], *, every_position: bool
) -> Measured:
    """Take one step with an output layer as wide as the full-size model's."""
    opened = open_for_training(job.model_path, job.training)
    compute_every_position(opened.trained)
    head = opened.top.thinker.get_output_embeddings()
    wide = torch.nn.Linear(head.in_features, FULL_VOCABULARY, bias=False).requires_grad_(False)
    if not every_position:
        wide.register_forward_pre_hook(lambda _head, arguments: (arguments[0][:, -1:],))
    opened.top.thinker.set_output_embeddings(wide)
    collator = PlainCollator(job=job, processor=opened.processor)
    batch = collator(list(samples)[:_HEAD_ROWS])
    answers = batch.pop("labels")[:, -1]
    started = Spent.now()
    logits = opened.trained(**batch, use_cache=False).logits[:, -1]
    torch.autograd.backward(torch.nn.functional.cross_entropy(logits, answers))
    spent = Spent.now().since(started)
    return Measured(
        seconds=spent.wall,
        cpu_seconds=spent.cpu,
        num_samples=len(answers),
        num_tokens=sum(collator.lengths),
        wait_fraction=0.0,
        padding_fraction=1 - sum(collator.lengths) / collator.num_padded_tokens,
        peak_mib=_peak_mib(),
    )


def step_at_last_position(job: TrainingJob, samples: Sequence[SampleRecord]) -> Measured:
    """Take one step with 151,936 logits for each answer."""
    return step_with_full_vocabulary(job, samples, every_position=False)


def step_at_every_position(job: TrainingJob, samples: Sequence[SampleRecord]) -> Measured:
    """Take one step with 151,936 logits for each position."""
    return step_with_full_vocabulary(job, samples, every_position=True)


WAYS: Mapping[str, Way] = {
    "plain": train_plainly,
    "waver": train_as_waver,
    "every-position": train_with_every_position,
    "whole-rows": train_with_whole_rows,
    "head-last": step_at_last_position,
    "head-every": step_at_every_position,
}


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _peak_mib() -> float:
    """Return the peak memory of this process, without its decoders, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MIB_OF_KIB


def main(way: str, job_path: Path) -> None:
    """Run one way and print its measurements."""
    job, samples = read_job(job_path)
    if job.resources.num_threads is not None:
        torch.set_num_threads(job.resources.num_threads)
    found, _ = select_samples(samples, job.training)
    full_batches = len(found) // job.training.batch_size * job.training.batch_size
    print(json.dumps(asdict(WAYS[way](job, found[:full_batches]))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
