"""Settings of the infer stage: what decides its predictions, and the resources it may use."""

import os
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tasks.inference.engine_settings import EngineResources
from tasks.model.gpu import has_gpu_driver
from tasks.processes.worker_pool import num_workers_for

STAGE = "infer"


class InferConfig(BaseModel):
    """What decides the content of predictions, beside the model and its input."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number type of the computation; auto is the one that the weights were saved in."""
    max_tokens: int | None = Field(default=None, ge=64)
    """A segment that makes more tokens is rejected; by default the longest one's bound."""
    seeds: Literal["best", "ensemble"] = "best"
    """Of models trained with several seeds: ask the best on validation, or all of them, whose mean
    log-odds then count."""
    adapter: Literal["auto", "merge"] = "auto"
    """An adapter is served by the engine as LoRA where it can be, else merged with its base, once;
    or always merged."""
    max_failed_fraction: float = Field(default=0.05, ge=0, le=1)
    """The run stops if more than this share of all segments, and more than ten, are rejected or
    were asked about without a picture or sound that is damaged."""
    min_answer_mass: float = Field(default=0.5, ge=0, le=1)
    """Answers in which Yes and No hold less of the probability than this are counted in a
    warning."""


class InferResources(EngineResources):
    """What changes only how fast predictions are made."""

    num_nodes: int = Field(default=1, ge=1, le=32)
    """Machines whose workers share the segments, by the deployment infer-share; with 1 this machine
    answers all of them."""
    num_engines: int | None = Field(default=None, ge=1, le=64)
    """Engines at work side by side; by default one for every `num_gpus` GPUs that are there."""
    num_decoders: int | None = Field(default=None, ge=0, le=256)
    """Processes of each engine that decode and prepare segments ahead of it; by default one a core
    of its share, less one for the engine, or half of them where it computes on cores too; none for
    few segments. With 0 a thread of the engine's process does it."""
    commit_seconds: float = Field(default=10.0, ge=0)
    """Results are committed this often; a kill loses no more than this."""

    def of_one(self, num_engines: int, num_samples: int) -> "InferResources":
        """Deal the machine's cores to one of its engines: to its threads and its processes.

        An engine of two threads beside one process is slower, on two cores, than one of one thread.
        """
        on_gpu = has_gpu_driver()
        cores = max(1, len(os.sched_getaffinity(0)) // num_engines)
        num_decoders = self.num_decoders
        if num_decoders is None:
            free = cores - 1 if on_gpu else cores // 2
            num_decoders = num_workers_for(num_samples // num_engines, free)
        threads = self.cpu_threads or max(1, cores - num_decoders)
        return self.model_copy(update={"num_decoders": num_decoders, "cpu_threads": threads})
