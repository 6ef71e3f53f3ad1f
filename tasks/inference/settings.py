"""Settings of the infer stage: what decides its predictions, and the resources it may use."""

import os
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tasks.inference.engine_settings import EngineResources
from tasks.model.gpu import has_gpu_driver
from tasks.processes.worker_pool import num_workers_for

STAGE = "infer"


class InferConfig(BaseModel):
    """What decides the predictions, besides the model and its input."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number type of the computation; auto is the one that the weights were saved in."""
    max_tokens: int | None = Field(default=None, ge=64)
    """A segment with more tokens is rejected; by default an upper bound on the longest segment."""
    seeds: Literal["best", "ensemble"] = "best"
    """Which of several seeds' models predict: the best on validation, or all of them, combined by
    their mean log-odds."""
    adapter: Literal["auto", "merge"] = "auto"
    """How an adapter is applied: auto serves it as LoRA if the engine can, else merges it with its
    base, once; merge always merges."""
    max_failed_fraction: float = Field(default=0.05, ge=0, le=1)
    """The run stops if more than this fraction of all segments, and more than ten, are rejected or
    predicted without a damaged video or audio."""
    min_answer_mass: float = Field(default=0.5, ge=0, le=1)
    """Predictions in which Yes and No together have less probability are counted in a warning."""


class InferResources(EngineResources):
    """What changes only the speed of inference."""

    num_engines: int | None = Field(default=None, ge=1, le=64)
    """Engines that run side by side; by default one for every `num_gpus` visible GPUs."""
    num_decoders: int | None = Field(default=None, ge=0, le=256)
    """Processes per engine that decode and prepare segments ahead of it; by default all cores of
    the engine but one on a GPU, half of them on CPUs, none for few segments. With 0 a thread of
    the engine's process does it."""
    commit_seconds: float = Field(default=10.0, ge=0)
    """Interval between commits; a killed run loses no more than this."""

    def for_one_engine(
        self, num_engines: int, num_samples: int, num_cores: int | None = None
    ) -> "InferResources":
        """Divide cores among engines, and one engine's among threads and processes.

        ``num_cores`` are all of this node by default.

        Measured on two cores: an engine of two threads beside one process is slower than an engine
        of one thread.
        """
        on_gpu = has_gpu_driver()
        num_cores = max(1, (num_cores or len(os.sched_getaffinity(0))) // num_engines)
        num_decoders = self.num_decoders
        if num_decoders is None:
            num_free = num_cores - 1 if on_gpu else num_cores // 2
            num_decoders = num_workers_for(num_samples // num_engines, num_free)
        num_threads = self.cpu_threads or max(1, num_cores - num_decoders)
        return self.model_copy(update={"num_decoders": num_decoders, "cpu_threads": num_threads})
