"""Gradient accumulation and the optimizer step over all processes."""

from typing import Any

import torch
from torch.distributed.tensor import DTensor

from tasks.training.checkpoints.checkpoint_format import CheckpointFormat
from tasks.training.distributed.fsdp import clip_gradients, is_sharded
from tasks.training.distributed.ranks import Ranks
from tasks.training.settings import FinetuneResources, TrainingSettings


class OptimizerStep:
    """One process's model, or its shard, and its optimizer under accelerate.

    Gradients are accumulated over any number of losses per process.
    """

    def __init__(
        self,
        trained: Any,
        settings: TrainingSettings,
        resources: FinetuneResources,
        ranks: Ranks,
    ) -> None:
        from accelerate import Accelerator

        self._settings = settings
        self._ranks = ranks
        self._accelerator = Accelerator(
            mixed_precision="bf16" if settings.precision == "bfloat16" else "no",
            cpu=resources.device == "cpu",
        )
        self._trained = [p for p in trained.parameters() if p.requires_grad]
        self._replicated = [p for p in self._trained if not isinstance(p, DTensor)]
        optimizer = torch.optim.AdamW(
            self._trained,
            lr=settings.learning_rate,
            betas=settings.adam_betas,
            weight_decay=settings.weight_decay,
        )
        # Evaluation mode avoids DDP, which would reduce gradients a second time.
        self.model = self._accelerator.prepare_model(trained, evaluation_mode=True)
        self.optimizer = self._accelerator.prepare_optimizer(optimizer)
        self._is_sharded = is_sharded(resources, ranks)
        self.checkpoint_format = CheckpointFormat(
            self.model, self.optimizer, is_sharded=self._is_sharded
        )

    def backward(self, loss: torch.Tensor) -> None:
        """Accumulate a loss's gradients."""
        self._accelerator.backward(loss)

    def step(self, learning_rate: float) -> float:
        """Update the weights with the gradients of all processes; returns the gradient norm."""
        self._ranks.sum_gradients(self._replicated)
        if self._is_sharded:
            norm = clip_gradients(self._trained, self._settings.max_grad_norm)
        else:
            norm = self._accelerator.clip_grad_norm_(self._trained, self._settings.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(norm)
