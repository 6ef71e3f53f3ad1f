"""Preparation of samples for the engine: decoding and rendering, never on the engine's thread."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from storage.errors import ItemFault, StoreError, TransientFault, WaverError
from storage.records import SampleRecord
from storage.store.store import store_of_process
from tasks.inference.requests import Renderer, Request, open_renderer
from tasks.inference.tensor_transfer import PackedResult, pack
from tasks.processes.worker_pool import WorkerPool
from tasks.prompting.decode import decode_audio, decode_frames
from tasks.prompting.model_input import InputConfig, OmniInput, make_input

Array = TypeVar("Array")
Result = TypeVar("Result")

PreparedInput = OmniInput | Request | ItemFault
PreparedInputs = Iterator[tuple[SampleRecord, PreparedInput]]
RequestPreparer = Callable[[Iterable[SampleRecord], Callable[[str], None]], PreparedInputs]

_AHEAD_PER_PROCESS = 4
_PRELOAD = (
    "av",
    "vllm.engine.arg_utils",
    "vllm.model_executor.models.qwen3_omni_moe_thinker",
    "vllm.renderers.hf",
    "tasks.inference.child",
    __name__,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeSample:
    """Decodes a sample's files into the model's input; can be pickled."""

    store_url: str
    config: InputConfig

    def __call__(self, sample: SampleRecord) -> OmniInput | ItemFault:
        """Decode one sample, without a damaged video or audio if the other one is good.

        Returns the fault if all of its media is damaged or the settings leave no input. Files that
        the settings switch off are not opened.

        Raises:
            StoreError: a file is missing, which is the store's fault and not the segment's.
        """
        config = self.config
        decode_video = partial(decode_frames, fps=config.fps)
        frames = self._decode(sample.video_path, decode_video) if config.video else None
        audio = self._decode(sample.audio_path, decode_audio) if config.audio else None
        if frames is None and audio is None and not config.shows_transcript:
            return ItemFault("the settings leave no input for this segment")
        for damaged, other in ((frames, audio), (audio, frames)):
            if isinstance(damaged, ItemFault) and (other is None or isinstance(other, ItemFault)):
                return damaged
        return _or_fault(
            lambda: make_input(
                config,
                frames=None if isinstance(frames, ItemFault) else frames,
                audio=None if isinstance(audio, ItemFault) else audio,
                transcript=sample.transcript,
                transcript_before=sample.transcript_before,
            )
        )

    def _decode(
        self, path: str | None, decode: Callable[[BinaryIO], Array]
    ) -> Array | ItemFault | None:
        if path is None:
            return None
        store = store_of_process(self.store_url)
        try:
            with store.open(path) as file:
                return _or_fault(lambda: decode(file))
        except FileNotFoundError as error:
            raise StoreError(
                f"A segment's file is missing from {store.url!r}: run all stages again, the "
                "segment stage recreates it."
            ) from error


def _or_fault(compute: Callable[[], Result]) -> Result | ItemFault:
    """Compute something from one segment, or return the segment's fault."""
    try:
        return compute()
    except ItemFault as fault:
        return fault
    except (WaverError, OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - one segment's fault; its text may quote the person
        return TransientFault(f"the segment cannot be decoded (unforeseen {type(error).__name__})")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareRequest:
    """Turns a sample into a request, in a worker process; ``config`` is the engine's."""

    decode: DecodeSample
    config: Any
    model_path: Path
    max_tokens: int

    def __call__(self, sample: SampleRecord) -> PackedResult:
        """Return the packed request, or the sample's fault."""
        inputs = self.decode(sample)
        if isinstance(inputs, ItemFault):
            return pack(inputs)
        try:
            return pack(_renderer(self).render(inputs))
        except ItemFault as fault:
            return pack(fault)


_renderers: list[Renderer] = []


def _renderer(prepare: PrepareRequest) -> Renderer:
    """Open this process's renderer on first use."""
    if not _renderers:
        _renderers.append(open_renderer(prepare.config, prepare.model_path, prepare.max_tokens))
    return _renderers[0]


@contextmanager
def open_preparer(
    decode: DecodeSample, config: Any, model_path: Path, *, max_tokens: int, num_processes: int
) -> Iterator[RequestPreparer]:
    """Open a preparer that works in ``num_processes`` processes, or in the consumer's thread if 0.

    The preparer takes samples, and a callback that gets a segment's id before the segment can crash
    this process. The worker processes import the libraries, and start on the samples, while the
    engine opens.
    """
    if not num_processes:
        yield partial(_decode_here, decode)
        return
    workers: WorkerPool[SampleRecord, PreparedInput] = WorkerPool(
        PrepareRequest(decode=decode, config=config, model_path=model_path, max_tokens=max_tokens),
        num_processes,
        preload=_PRELOAD,
        on_death=_death_fault,
    )
    workers.start()
    num_ahead = _AHEAD_PER_PROCESS * num_processes
    try:
        yield lambda samples, on_start: _noting(workers.iter_results(samples, num_ahead), on_start)
    finally:
        workers.close()


def _decode_here(
    decode: DecodeSample, samples: Iterable[SampleRecord], on_start: Callable[[str], None]
) -> PreparedInputs:
    for sample in samples:
        on_start(sample.segment_id)
        yield sample, decode(sample)


def _noting(inputs: PreparedInputs, on_start: Callable[[str], None]) -> PreparedInputs:
    for sample, prepared in inputs:
        on_start(sample.segment_id)
        yield sample, prepared


def _death_fault(_sample: SampleRecord) -> ItemFault:
    return TransientFault("a process died while it decoded and prepared this segment")
