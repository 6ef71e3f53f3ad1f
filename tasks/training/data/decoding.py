"""From a sample's files to the model's row, in processes beside the one that trains (`workers`)."""

import os
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from typing import Any

import torch

from storage.errors import ItemFault
from storage.records import SampleRecord
from storage.store.store import Store
from tasks.processes.worker_pool import initialize_worker, run_item
from tasks.prompting.model_input import InputConfig, build_input, to_model_row

Row = dict[str, torch.Tensor]
Arrays = dict[str, Any]

_SAMPLES_PER_DECODER = 256  # a process takes as long to start as 150 take to be decoded
_MAX_DECODERS = 16
_NUM_READERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRows:
    """Makes a sample's row from its picture, sound and words; may be sent to another process."""

    store_url: str
    processor: Any
    config: InputConfig

    def __call__(self, sample: SampleRecord) -> Row | ItemFault:
        """Give the row, or what is wrong with the sample's media."""
        try:
            return self._open(sample)
        except ItemFault as fault:
            return fault
        except FileNotFoundError:  # whose text would name a participant
            return ItemFault("one of its files is gone")

    def _open(self, sample: SampleRecord) -> Row:
        store = _store(self.store_url)
        with ExitStack() as files:
            video = sample.video_path and files.enter_context(store.open(sample.video_path))
            audio = sample.audio_path and files.enter_context(store.open(sample.audio_path))
            inputs = build_input(
                self.config,
                video=video or None,
                audio=audio or None,
                transcript=sample.transcript,
                transcript_before=sample.transcript_before,
            )
        return to_model_row(self.processor, inputs)


@cache
def _store(url: str) -> Store:
    return Store(url)


def num_decoders_for(expected: int | None, num_samples: int) -> int:
    """Say how many processes decode: as many as wanted, or what machine and samples make good.

    One core of each training process is left to it; few samples are decoded sooner without.
    """
    if expected is not None:
        return expected
    num_trainings = int(os.environ.get("LOCAL_WORLD_SIZE") or 1)
    free = len(os.sched_getaffinity(0)) // num_trainings - 1
    return max(0, min(free, _MAX_DECODERS, num_samples // _SAMPLES_PER_DECODER))


def reading_threads() -> Executor:
    """Give threads of this process, enough for what is stored ready for use."""
    return ThreadPoolExecutor(_NUM_READERS, thread_name_prefix="rows")


def decoding_processes(make: MediaRows, num_processes: int) -> Executor:
    """Give processes that run `decode`, started when they are first needed."""
    context = get_context("forkserver")
    parts = vars(make.processor).values()
    context.set_forkserver_preload(["av", __name__, *{type(part).__module__ for part in parts}])
    return ProcessPoolExecutor(
        num_processes, mp_context=context, initializer=initialize_worker, initargs=(make,)
    )


def decode(sample: SampleRecord) -> Arrays | ItemFault:
    """In a worker: make a row, as arrays, since a tensor would hold a file open in its receiver."""
    made = run_item(sample)
    if isinstance(made, ItemFault):
        return made
    return {name: tensor.numpy() for name, tensor in made.items()}
