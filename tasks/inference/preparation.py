"""Samples on their way to the engine: decoded and prepared beside it, never on its thread."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from storage.errors import ItemFault, StoreError, WaverError
from storage.records import SampleRecord
from storage.store.store import Store
from tasks.inference.requests import Renderer, Request, open_renderer
from tasks.inference.tensor_transfer import Packed, packed
from tasks.processes.worker_pool import WorkerPool
from tasks.prompting.decode import decode_audio, decode_frames
from tasks.prompting.model_input import InputConfig, OmniInput, make_input

Array = TypeVar("Array")
Made = TypeVar("Made")

Question = OmniInput | Request | ItemFault
Asked = Iterator[tuple[SampleRecord, Question]]
Questions = Callable[[Iterable[SampleRecord], Callable[[str], None]], Asked]

_AHEAD = 4  # segments of each process
_PRELOAD = (
    "av",
    "vllm.engine.arg_utils",
    "vllm.model_executor.models.qwen3_omni_moe_thinker",
    "vllm.renderers.hf",
    "tasks.inference.child",
    __name__,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """Makes a sample's arrays and text from its files; may be sent to another process."""

    store_url: str
    config: InputConfig

    def __call__(self, sample: SampleRecord) -> OmniInput | ItemFault:
        """Decode one sample; a damaged picture or sound is left out where the other one is good.

        With nothing but damaged media, or nothing to show, the sample becomes its fault. What the
        settings switch off is not opened.

        Raises:
            StoreError: a file is gone, which is the store's trouble and not the segment's.
        """
        config = self.config
        show = partial(decode_frames, fps=config.fps)
        frames = self._decoded(sample.video_path, show) if config.video else None
        audio = self._decoded(sample.audio_path, decode_audio) if config.audio else None
        if frames is None and audio is None and not config.shows_words:
            return ItemFault("the settings show nothing of this segment")
        for damaged, other in ((frames, audio), (audio, frames)):
            if isinstance(damaged, ItemFault) and (other is None or isinstance(other, ItemFault)):
                return damaged
        return _unless_unforeseen(
            lambda: make_input(
                config,
                frames=None if isinstance(frames, ItemFault) else frames,
                audio=None if isinstance(audio, ItemFault) else audio,
                transcript=sample.transcript,
                before=sample.transcript_before,
            )
        )

    def _decoded(
        self, path: str | None, decode: Callable[[BinaryIO], Array]
    ) -> Array | ItemFault | None:
        if path is None:
            return None
        store = _store(self.store_url)
        try:
            with store.open(path) as file:
                return _unless_unforeseen(lambda: decode(file))
        except FileNotFoundError as error:
            raise StoreError(
                f"A segment's file is gone from {store.url!r}: run all stages again, "
                "of which segment makes it anew."
            ) from error


def _unless_unforeseen(make: Callable[[], Made]) -> Made | ItemFault:
    """Make something of one segment, or give what is wrong with it."""
    try:
        return make()
    except ItemFault as fault:
        return fault
    except (WaverError, OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - one segment's: its text may quote the person
        return ItemFault(f"the segment cannot be decoded (unforeseen {type(error).__name__})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparing:
    """Makes a sample's request, in a process of its own; ``config`` is the engine's."""

    decode: Decoding
    config: Any
    model_path: Path
    max_tokens: int

    def __call__(self, sample: SampleRecord) -> Packed:
        """Give the request, or what is wrong with the sample, or the error that ends the run."""
        question = self.decode(sample)
        if isinstance(question, ItemFault):
            return packed(question)
        try:
            return packed(_renderer(self).request_of(question))
        except ItemFault as fault:
            return packed(fault)


_renderers: list[Renderer] = []


def _renderer(preparing: Preparing) -> Renderer:
    """Open this process's renderer when it is first needed."""
    if not _renderers:
        _renderers.append(
            open_renderer(preparing.config, preparing.model_path, preparing.max_tokens)
        )
    return _renderers[0]


@cache
def _store(url: str) -> Store:
    return Store(url)


@contextmanager
def open_questions(
    decode: Decoding, config: Any, model_path: Path, *, max_tokens: int, num_processes: int
) -> Iterator[Questions]:
    """Open what makes questions of samples: in processes of its own, or where it is drawn.

    It takes samples, and what to call with a segment's id before that segment can do harm to this
    very process. The processes import the libraries, and begin with the samples, while the engine
    opens.
    """
    if not num_processes:
        yield partial(_decoded_here, decode)
        return
    make = Preparing(decode=decode, config=config, model_path=model_path, max_tokens=max_tokens)
    workers: WorkerPool[SampleRecord, Question] = WorkerPool(
        make, num_processes, preload=_PRELOAD, on_death=_death
    )
    workers.start()
    num_ahead = _AHEAD * num_processes
    try:
        yield lambda samples, note: _noted(workers.iter_results(samples, num_ahead), note)
    finally:
        workers.close()


def _decoded_here(
    decode: Decoding, samples: Iterable[SampleRecord], note: Callable[[str], None]
) -> Asked:
    for sample in samples:
        note(sample.segment_id)
        yield sample, decode(sample)


def _noted(asked: Asked, note: Callable[[str], None]) -> Asked:
    for sample, question in asked:
        note(sample.segment_id)
        yield sample, question


def _death(_sample: SampleRecord) -> ItemFault:
    return ItemFault("a process died while it decoded and prepared this segment")
