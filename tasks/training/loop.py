"""The training loop: steps, evaluation and checkpoints, resuming from the last checkpoint.

The loss of a step is the mean cross-entropy of the answer token over the whole vocabulary, weighted
by the class weights of the class plan.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from storage.records import SampleRecord
from storage.results import TrainingStepRecord
from tasks.labels.class_plan import has_balanced_sampling
from tasks.training.checkpoints.checkpoints import Progress
from tasks.training.context import TrainingContext
from tasks.training.data.batches import train_batches, val_batches
from tasks.training.data.samples import SampleOrder
from tasks.training.distributed.optimizer_step import OptimizerStep
from tasks.training.evaluate import ValidationMetrics, evaluate, update_best
from tasks.training.schedule import learning_rate_at
from tasks.training.tracking.divergence import check_finite, check_trend
from tasks.training.tracking.throughput import progress_line, throughput_of

_MAX_CHECKPOINT_FRACTION = 0.05  # of the training time
_LINE_SECONDS = 5.0  # between progress lines; evaluated steps are always reported


def train(context: TrainingContext) -> Progress:
    """Train to the last step or an early stop, then load the best weights into the model.

    Raises:
        StageError: training diverged.
    """
    return _Loop(context).run()


class _Loop:
    """The loop of one process."""

    def __init__(self, context: TrainingContext) -> None:
        self._context = context
        self._settings = context.settings
        self._ranks = context.ranks
        self._optimizer_step = OptimizerStep(
            context.opened.trained, context.settings, context.resources, context.ranks
        )
        self._format = self._optimizer_step.checkpoint_format
        self._progress = self._restore()
        self._checkpoint_due = time.monotonic() + context.resources.checkpoint_seconds
        self._line_due = 0.0

    def _restore(self) -> Progress:
        """Restore the last checkpoint, if any; it is the same one in all processes."""
        with self._ranks.main_process_first():  # it removes damaged checkpoints
            checkpoint = self._context.checkpoints.find_last(self._format)
        step = checkpoint.progress.step if checkpoint else 0
        self._ranks.check_equal(step, "the last checkpoint")
        if checkpoint is None:
            return Progress()
        checkpoint.restore()
        return checkpoint.progress

    def run(self) -> Progress:
        progress, last = self._progress, self._context.num_steps
        if progress.step:
            self._context.report(f"resuming after step {progress.step} of {last}")
        self._context.callback.on_train_begin(progress.log, last)
        self._optimizer_step.model.train()
        wait_started = time.perf_counter()
        for samples, rows in self._batches(progress.step + 1, last):
            if progress.stopped_early:
                break
            started = time.perf_counter()
            loss, grad_norm = self._take_step(samples, rows)
            seconds = time.perf_counter() - started
            self._finish_step(loss, grad_norm, rows, seconds, started - wait_started)
            wait_started = time.perf_counter()
        self._context.callback.on_train_end()
        self._ranks.barrier()  # the main process may still be writing what all read next
        self._context.checkpoints.load_best(progress, self._format)
        return progress

    def _batches(self, first: int, last: int) -> Iterator[tuple[list[SampleRecord], list[Any]]]:
        """Iterate over this process's samples of each step with their prefetched rows."""
        samples = self._context.train_samples
        order = SampleOrder(
            [int(sample.label == 1) for sample in samples],
            batch_size=self._settings.batch_size,
            seed=self._settings.seed,
            balanced=has_balanced_sampling(self._context.plan),
        )
        batches = [
            self._ranks.partition([samples[i] for i in order.batch(step)])
            for step in range(first, last + 1)
        ]
        return zip(batches, self._context.reader.iter_batches(batches), strict=True)

    def _take_step(self, samples: list[SampleRecord], rows: list[Any]) -> tuple[float, float]:
        """Take an optimizer step; returns the loss and gradient norm over all ranks."""
        context = self._context
        learning_rate = learning_rate_at(self._progress.step + 1, context.num_steps, self._settings)
        total_weight = self._ranks.sum(
            sum(
                context.weight_of(sample)
                for sample, row in zip(samples, rows, strict=True)
                if row is not None
            )
        )
        loss = 0.0
        for inputs, targets in train_batches(context, rows, samples):
            logits = self._optimizer_step.model(**inputs, use_cache=False).logits[:, -1].float()
            part = weighted_loss(logits, targets, context.token_weights) / (total_weight or 1.0)
            self._optimizer_step.backward(part)
            loss += float(part.detach())
        loss = self._ranks.sum(loss)
        grad_norm = self._optimizer_step.step(learning_rate)
        check_finite(
            self._progress.step + 1, loss=loss, grad_norm=grad_norm, learning_rate=learning_rate
        )
        return loss, grad_norm

    def _finish_step(
        self, loss: float, grad_norm: float, rows: list[Any], seconds: float, wait_seconds: float
    ) -> None:
        """Evaluate if due, log the step, and save what is due."""
        progress, micro_batch_size = self._progress, self._context.resources.micro_batch_size
        reader = self._context.reader
        reader.add_unreadable(self._ranks.gather(reader.unreadable))
        progress.step += 1
        metrics = self._evaluate() if self._is_eval_step(progress.step) else None
        progress.log.append(
            TrainingStepRecord(
                step=progress.step,
                loss=loss,
                grad_norm=grad_norm,
                learning_rate=float(self._optimizer_step.optimizer.param_groups[0]["lr"]),
                num_samples=self._settings.batch_size,
                seconds=seconds,
                **throughput_of(rows, micro_batch_size, wait_seconds, self._ranks),
                val_loss=metrics.loss if metrics else None,
                val_macro_f1=metrics.macro_f1 if metrics else None,
                val_average_precision=metrics.average_precision if metrics else None,
            )
        )
        self._context.callback.on_step(progress.log[-1])
        check_trend(progress.log)
        if metrics or time.monotonic() >= self._line_due:
            self._context.report(progress_line(progress.log, self._context.num_steps))
            self._line_due = time.monotonic() + _LINE_SECONDS
        self._save(metrics)

    def _save(self, metrics: ValidationMetrics | None) -> None:
        """Save the weights if they are the best so far, and a checkpoint if one is due."""
        progress = self._progress
        if not self._settings.validation:
            progress.best_step = progress.step
        elif metrics and update_best(progress, metrics, self._settings) and self._writes:
            self._context.checkpoints.save_best(progress.step, self._format)
        is_due = time.monotonic() >= self._checkpoint_due or progress.stopped_early
        if self._context.is_sharded:
            is_due = self._ranks.broadcast(is_due)  # clocks differ between processes
        if is_due and self._writes:
            self._save_last()

    @property
    def _writes(self) -> bool:
        """Whether this process writes checkpoints: the main one, or all if the model is sharded."""
        return self._ranks.is_main or self._context.is_sharded

    def _is_eval_step(self, step: int) -> bool:
        is_due = step % self._settings.eval_steps == 0 or step == self._context.num_steps
        return self._settings.validation and is_due

    def _evaluate(self) -> ValidationMetrics:
        opened = self._context.opened
        return evaluate(
            self._optimizer_step.model,
            (batch for _, batch in val_batches(self._context)),
            token_yes=opened.token_yes,
            token_no=opened.token_no,
            ranks=self._ranks,
        )

    def _save_last(self) -> None:
        started = time.monotonic()
        self._context.checkpoints.save_last(self._progress, self._format)
        interval = self._context.resources.checkpoint_seconds
        min_interval = (time.monotonic() - started) / _MAX_CHECKPOINT_FRACTION
        self._checkpoint_due = time.monotonic() + (max(interval, min_interval) if interval else 0.0)


def weighted_loss(
    logits: torch.Tensor, targets: torch.Tensor, token_weights: Mapping[int, float]
) -> torch.Tensor:
    """Return the weighted sum of the cross-entropies of targets [batch].

    ``logits`` are [batch, vocabulary]. With weights of 1 the result is bitwise the unweighted sum.
    """
    weights = torch.ones_like(logits[0])
    for token, weight in token_weights.items():
        weights[token] = weight
    return torch.nn.functional.cross_entropy(logits, targets, weight=weights, reduction="sum")
