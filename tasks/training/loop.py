"""The training loop: steps, measurements, checkpoints, from wherever the last run stopped.

The loss of a step is the mean cross-entropy of the answer token over the whole vocabulary, weighted
by what the class plan says that a sample of either label counts.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from storage.records import SampleRecord
from storage.results import TrainingStepRecord
from tasks.labels.class_plan import has_balanced_sampling
from tasks.training.checkpoints.checkpoints import Progress
from tasks.training.data.batches import Training
from tasks.training.data.samples import SampleOrder
from tasks.training.distributed.optimizer_step import open_optimizer_step
from tasks.training.evaluate import Figures, evaluate, note_figures
from tasks.training.schedule import learning_rate_at
from tasks.training.tracking.divergence import check_finite, check_trend
from tasks.training.tracking.throughput import line_of, throughput_of

_MAX_CHECKPOINT_FRACTION = 0.05
_LINE_SECONDS = 5.0  # between progress lines; measured steps are always told


def train(training: Training) -> Progress:
    """Train to the last step or an early stop, and leave the best weights in the model.

    Raises:
        StageError: training diverged.
    """
    return _Loop(training).run()


class _Loop:
    """One process's training."""

    def __init__(self, training: Training) -> None:
        self._training = training
        self._settings = training.settings
        self._ranks = training.ranks
        self._updates = open_optimizer_step(
            training.opened.trained, training.settings, training.resources, training.ranks
        )
        self._progress = self._restored()
        self._checkpoint_due = time.monotonic() + training.resources.checkpoint_seconds
        self._line_due = 0.0

    def _restored(self) -> Progress:
        """Go back to the last checkpoint, the same in all processes, if there is one."""
        with self._ranks.first_before_others():  # it clears away what is damaged
            found = self._training.checkpoints.find_last(self._updates.contents)
        self._ranks.agree_on(found.progress.step if found else 0, "the last checkpoint")
        if found is None:
            return Progress()
        found.restore()
        return found.progress

    def run(self) -> Progress:
        progress, last = self._progress, self._training.num_steps
        if progress.step:
            self._training.say(f"continues after step {progress.step} of {last}")
        self._training.watch.begin(progress.log, last)
        self._updates.model.train()
        waited_from = time.perf_counter()
        for samples, rows in self._batches(progress.step + 1, last):
            if progress.stopped_early:
                break
            started = time.perf_counter()
            loss, grad_norm = self._take_step(samples, rows)
            seconds = time.perf_counter() - started
            self._note_step(loss, grad_norm, rows, seconds, started - waited_from)
            waited_from = time.perf_counter()
        self._training.watch.end()
        self._ranks.wait()  # the first may still be writing what all shall read
        self._training.checkpoints.load_best(progress, self._updates.contents)
        return progress

    def _batches(self, first: int, last: int) -> Iterator[tuple[list[SampleRecord], list[Any]]]:
        """Give this process's samples of each step with their rows, which are read ahead."""
        samples = self._training.train_samples
        order = SampleOrder(
            [int(sample.label == 1) for sample in samples],
            batch_size=self._settings.batch_size,
            seed=self._settings.seed,
            balanced=has_balanced_sampling(self._training.plan),
        )
        batches = [
            self._ranks.share([samples[i] for i in order.batch(step)])
            for step in range(first, last + 1)
        ]
        return zip(batches, self._training.reader.iter_batches(batches), strict=True)

    def _take_step(self, samples: list[SampleRecord], rows: list[Any]) -> tuple[float, float]:
        """Update the weights by one batch; gives the loss and the gradients' norm of all ranks."""
        training = self._training
        rate = learning_rate_at(self._progress.step + 1, training.num_steps, self._settings)
        whole = self._ranks.sum(
            sum(
                training.weight_of(sample)
                for sample, row in zip(samples, rows, strict=True)
                if row is not None
            )
        )
        loss = 0.0
        for inputs, answers in training.train_batches(rows, samples):
            logits = self._updates.model(**inputs, use_cache=False).logits[:, -1].float()
            share = weighted_loss(logits, answers, training.token_weights) / (whole or 1.0)
            self._updates.add(share)
            loss += float(share.detach())
        loss = self._ranks.sum(loss)
        grad_norm = self._updates.apply(rate)
        check_finite(self._progress.step + 1, loss=loss, grad_norm=grad_norm, rate=rate)
        return loss, grad_norm

    def _note_step(
        self, loss: float, grad_norm: float, rows: list[Any], seconds: float, wait_seconds: float
    ) -> None:
        progress, micro_batch_size = self._progress, self._training.resources.micro_batch_size
        reader = self._training.reader
        reader.hear_of_unreadable(self._ranks.gather(reader.unreadable))
        progress.step += 1
        figures = self._measure() if self._is_measured(progress.step) else None
        progress.log.append(
            TrainingStepRecord(
                step=progress.step,
                loss=loss,
                grad_norm=grad_norm,
                learning_rate=float(self._updates.optimizer.param_groups[0]["lr"]),
                num_samples=self._settings.batch_size,
                seconds=seconds,
                **throughput_of(rows, micro_batch_size, wait_seconds, self._ranks),
                val_loss=figures.loss if figures else None,
                val_macro_f1=figures.macro_f1 if figures else None,
                val_average_precision=figures.average_precision if figures else None,
            )
        )
        self._training.watch.note(progress.log[-1])
        check_trend(progress.log)
        if figures or time.monotonic() >= self._line_due:
            self._training.say(line_of(progress.log, self._training.num_steps))
            self._line_due = time.monotonic() + _LINE_SECONDS
        self._keep(figures)

    def _keep(self, figures: Figures | None) -> None:
        """Keep the weights if they are the best yet, and write a checkpoint if one is due."""
        progress = self._progress
        if not self._settings.validation:
            progress.best_step = progress.step
        elif figures and note_figures(progress, figures, self._settings) and self._writes:
            self._training.checkpoints.save_best(progress.step, self._updates.contents)
        is_due = time.monotonic() >= self._checkpoint_due or progress.stopped_early
        if self._training.is_sharded:
            is_due = self._ranks.first(is_due)  # by one clock
        if is_due and self._writes:
            self._save_last()

    @property
    def _writes(self) -> bool:
        """The first process writes checkpoints of what it holds whole, and all of their parts."""
        return self._ranks.is_first or self._training.is_sharded

    def _is_measured(self, step: int) -> bool:
        due = step % self._settings.eval_steps == 0 or step == self._training.num_steps
        return self._settings.validation and due

    def _measure(self) -> Figures:
        opened = self._training.opened
        return evaluate(
            self._updates.model,
            (batch for _, batch in self._training.val_batches()),
            token_yes=opened.token_yes,
            token_no=opened.token_no,
            ranks=self._ranks,
        )

    def _save_last(self) -> None:
        started = time.monotonic()
        self._training.checkpoints.save_last(self._progress, self._updates.contents)
        expected = self._training.resources.checkpoint_seconds
        bearable = (time.monotonic() - started) / _MAX_CHECKPOINT_FRACTION
        self._checkpoint_due = time.monotonic() + (max(expected, bearable) if expected else 0.0)


def weighted_loss(
    logits: torch.Tensor, answers: torch.Tensor, token_weights: Mapping[int, float]
) -> torch.Tensor:
    """Sum the cross-entropy of answers [batch] under logits [batch, vocabulary], each weighted.

    Weights of 1 give the bits of the sum without weights.
    """
    weights = torch.ones_like(logits[0])
    for token, weight in token_weights.items():
        weights[token] = weight
    return torch.nn.functional.cross_entropy(logits, answers, weight=weights, reduction="sum")
