"""The training loop: steps, measurements, checkpoints, from wherever the last run stopped.

The loss of a step is the mean cross-entropy of the answer token over the whole vocabulary, weighted
by what the class plan says that a sample of either label counts.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from storage.records import SampleRecord
from storage.results import TrainingStepRecord
from tasks.labels.plan import Plan, draws_equally, weights_of
from tasks.omni.training.checkpoints import Checkpoints, Progress, trained_weights
from tasks.omni.training.data import (
    RowReader,
    SampleOrder,
    by_length,
    collate,
    likely_length,
    pieces,
)
from tasks.omni.training.divergence import check_finite, check_trend
from tasks.omni.training.evaluate import Figures, evaluate, note_figures
from tasks.omni.training.model import OpenModel
from tasks.omni.training.pace import line_of, pace_of
from tasks.omni.training.ranks import Ranks
from tasks.omni.training.schedule import learning_rate_at
from tasks.omni.training.settings import FinetuneResources, TrainingSettings
from tasks.omni.training.tracking import Watch

_MAX_CHECKPOINT_SHARE = 0.05
_LINE_SECONDS = 5.0  # between progress lines; measured steps are always told

Batch = tuple[dict[str, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """All that a training works with, on each of its processes.

    ``say`` gets lines of progress, ``watch`` every step.
    """

    settings: TrainingSettings
    plan: Plan
    resources: FinetuneResources
    opened: OpenModel
    reader: RowReader
    train_samples: Sequence[SampleRecord]
    val_samples: Sequence[SampleRecord]
    checkpoints: Checkpoints
    ranks: Ranks
    say: Callable[[str], None]
    watch: Watch

    @property
    def num_steps(self) -> int:
        """How many steps the settings ask for."""
        if self.settings.steps is not None:
            return self.settings.steps
        wanted = self.settings.epochs * len(self.train_samples)
        return max(1, math.ceil(wanted / self.settings.batch_size))

    def answer_of(self, sample: SampleRecord) -> int:
        """Give the token that answers a sample right."""
        return self.opened.token_yes if sample.label == 1 else self.opened.token_no

    @property
    def token_weights(self) -> dict[int, float]:
        """The factor of a sample's loss, by the token that answers it."""
        tokens = (self.opened.token_no, self.opened.token_yes)
        return dict(zip(tokens, weights_of(self.plan), strict=True))

    def weight_of(self, sample: SampleRecord) -> float:
        """Give the factor of a sample's loss."""
        return weights_of(self.plan)[int(sample.label == 1)]

    def collate(self, rows: Any, samples: Sequence[SampleRecord], device: Any) -> Batch | None:
        """Lay samples' rows into a batch on the device; ``None`` if none could be read."""
        if all(row is None for row in rows):
            return None
        answers = [self.answer_of(sample) for sample in samples]
        batch, tokens = collate(rows, answers, self.opened.processor.tokenizer.pad_token_id)
        return {name: tensor.to(device) for name, tensor in batch.items()}, tokens.to(device)


def train(training: Training) -> Progress:
    """Train to the last step or an early stop, and leave the best weights in the model.

    Raises:
        StageError: training diverged.
    """
    return _Loop(training).run()


class _Loop:
    """One process's training under accelerate."""

    def __init__(self, training: Training) -> None:
        from accelerate import Accelerator

        settings = training.settings
        self._training = training
        self._settings = settings
        self._ranks = training.ranks
        self._accelerator = Accelerator(
            mixed_precision="bf16" if settings.precision == "bfloat16" else "no",
            cpu=training.resources.device == "cpu",
        )
        model = training.opened.trained
        self._trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            self._trained,
            lr=settings.learning_rate,
            betas=settings.adam_betas,
            weight_decay=settings.weight_decay,
        )
        # The ranks sum gradients themselves: accelerate shall add nothing that does.
        self._model = self._accelerator.prepare_model(model, evaluation_mode=True)
        self._optimizer = self._accelerator.prepare_optimizer(optimizer)
        with self._accelerator.main_process_first():  # it clears away what is damaged
            restored = training.checkpoints.load_last(self._model, self._optimizer)
        self._progress = restored or Progress()
        self._ranks.agree_on(self._progress.step, "the last checkpoint")
        self._checkpoint_due = time.monotonic() + training.resources.checkpoint_seconds
        self._line_due = 0.0

    def run(self) -> Progress:
        progress, last = self._progress, self._training.num_steps
        if progress.step:
            self._training.say(f"continues after step {progress.step} of {last}")
        self._training.watch.begin(progress.log, last)
        self._model.train()
        waited_from = time.perf_counter()
        for samples, rows in self._batches(progress.step + 1, last):
            if progress.stopped_early:
                break
            begun = time.perf_counter()
            loss, grad_norm = self._take_step(samples, rows)
            seconds = time.perf_counter() - begun
            self._note_step(loss, grad_norm, rows, seconds, begun - waited_from)
            waited_from = time.perf_counter()
        self._training.watch.end()
        if self._ranks.is_first:
            self._training.checkpoints.load_best(progress, self._model)
        return progress

    def _batches(self, first: int, last: int) -> Iterator[tuple[list[SampleRecord], list[Any]]]:
        """Give this process's samples of each step with their rows, which are read ahead."""
        samples = self._training.train_samples
        order = SampleOrder(
            [int(sample.label == 1) for sample in samples],
            batch_size=self._settings.batch_size,
            seed=self._settings.seed,
            balanced=draws_equally(self._training.plan),
        )
        batches = [
            self._ranks.share([samples[i] for i in order.batch(step)])
            for step in range(first, last + 1)
        ]
        return zip(batches, self._training.reader.iter_batches(batches), strict=True)

    def _take_step(self, samples: list[SampleRecord], rows: list[Any]) -> tuple[float, float]:
        """Update the weights by one batch; gives the loss and the gradients' norm of all ranks."""
        rate = learning_rate_at(self._progress.step + 1, self._training.num_steps, self._settings)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        whole = self._ranks.sum(
            sum(
                self._training.weight_of(sample)
                for sample, row in zip(samples, rows, strict=True)
                if row is not None
            )
        )
        loss = 0.0
        for piece in pieces(by_length(rows, samples), self._micro_batch_size):
            loss += self._add_gradients(*zip(*piece, strict=True), whole=whole)
        loss = self._ranks.sum(loss)
        self._ranks.sum_gradients(self._trained)
        grad_norm = float(
            self._accelerator.clip_grad_norm_(self._trained, self._settings.max_grad_norm)
        )
        check_finite(self._progress.step + 1, loss=loss, grad_norm=grad_norm, rate=rate)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return loss, grad_norm

    def _add_gradients(self, rows: Any, samples: Any, *, whole: float) -> float:
        """Add a micro-batch's share of the step's gradients; gives its share of the loss.

        ``whole`` is the weight of all samples of the step, on all ranks.
        """
        made = self._training.collate(rows, samples, self._accelerator.device)
        if made is None:
            return 0.0
        batch, answers = made
        logits = self._model(**batch, use_cache=False).logits[:, -1].float()  # [batch, vocabulary]
        loss = weighted_loss(logits, answers, self._training.token_weights) / whole
        self._accelerator.backward(loss)
        return float(loss.detach())

    @property
    def _micro_batch_size(self) -> int:
        return self._training.resources.micro_batch_size

    def _note_step(
        self, loss: float, grad_norm: float, rows: list[Any], seconds: float, wait_seconds: float
    ) -> None:
        progress = self._progress
        progress.step += 1
        figures = self._measure() if self._is_measured(progress.step) else None
        progress.log.append(
            TrainingStepRecord(
                step=progress.step,
                loss=loss,
                grad_norm=grad_norm,
                learning_rate=float(self._optimizer.param_groups[0]["lr"]),
                num_samples=self._settings.batch_size,
                seconds=seconds,
                **pace_of(rows, self._micro_batch_size, wait_seconds, self._ranks),
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
        elif figures and note_figures(progress, figures, self._settings) and self._ranks.is_first:
            self._training.checkpoints.save_best(progress.step, trained_weights(self._model))
        is_due = time.monotonic() >= self._checkpoint_due or progress.stopped_early
        if is_due and self._ranks.is_first:
            self._save_last()

    def _is_measured(self, step: int) -> bool:
        due = step % self._settings.eval_steps == 0 or step == self._training.num_steps
        return self._settings.validation and due

    def _measure(self) -> Figures:
        opened = self._training.opened
        samples = sorted(self._ranks.share(self._training.val_samples), key=likely_length)
        groups = list(pieces(samples, self._micro_batch_size))
        batches = (
            self._training.collate(rows, group, self._accelerator.device)
            for group, rows in zip(groups, self._training.reader.iter_batches(groups), strict=True)
        )
        return evaluate(
            self._model,
            (batch for batch in batches if batch is not None),
            token_yes=opened.token_yes,
            token_no=opened.token_no,
            ranks=self._ranks,
        )

    def _save_last(self) -> None:
        begun = time.monotonic()
        self._training.checkpoints.save_last(
            self._progress, trained_weights(self._model), self._optimizer
        )
        wanted = self._training.resources.checkpoint_seconds
        bearable = (time.monotonic() - begun) / _MAX_CHECKPOINT_SHARE
        self._checkpoint_due = time.monotonic() + (max(wanted, bearable) if wanted else 0.0)


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
