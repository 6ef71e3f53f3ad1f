"""Decode a sample's media into a model input row, in worker processes of the training process."""

import os
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import torch

from storage.errors import ItemFault
from storage.records import SampleRecord
from storage.store.store import store_of_process
from tasks.processes.worker_pool import initialize_worker, run_item
from tasks.prompting.model_input import InputConfig, build_input, to_model_row

Row = dict[str, torch.Tensor]
Arrays = dict[str, Any]

_SAMPLES_PER_DECODER = 256  # starting a process takes as long as decoding 150 samples
_MAX_DECODERS = 16
_NUM_READERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRowMaker:
    """Makes a sample's row from its video, audio and transcript; can be pickled."""

    store_url: str
    processor: Any
    config: InputConfig

    def __call__(self, sample: SampleRecord) -> Row | ItemFault:
        """Return the row, or the fault of the sample's media."""
        try:
            return self._open(sample)
        except ItemFault as fault:
            return fault
        except FileNotFoundError:  # its message would name a participant
            return ItemFault("one of its files is missing")

    def _open(self, sample: SampleRecord) -> Row:
        store = store_of_process(self.store_url)
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


def num_decoders_for(requested: int | None, num_samples: int) -> int:
    """Return the requested number of decoding processes, or a default by cores and samples.

    The default leaves one core to each training process, and is 0 for few samples, which are
    decoded faster in a thread.
    """
    if requested is not None:
        return requested
    num_training_processes = int(os.environ.get("LOCAL_WORLD_SIZE") or 1)
    free = len(os.sched_getaffinity(0)) // num_training_processes - 1
    return max(0, min(free, _MAX_DECODERS, num_samples // _SAMPLES_PER_DECODER))


def reading_threads() -> Executor:
    """Return a thread pool, which is enough for reading stored features."""
    return ThreadPoolExecutor(_NUM_READERS, thread_name_prefix="rows")


def decoding_processes(make: MediaRowMaker, num_processes: int) -> Executor:
    """Return a process pool for `decode`; its processes start on first use."""
    context = get_context("forkserver")
    components = vars(make.processor).values()
    context.set_forkserver_preload(
        ["av", __name__, *{type(part).__module__ for part in components}]
    )
    return ProcessPoolExecutor(
        num_processes, mp_context=context, initializer=initialize_worker, initargs=(make,)
    )


def decode(sample: SampleRecord) -> Arrays | ItemFault:
    """Make a row in a worker, as arrays: a tensor would keep a file open in the receiver."""
    row = run_item(sample)
    if isinstance(row, ItemFault):
        return row
    return {name: tensor.numpy() for name, tensor in row.items()}
