"""Samples on the video's clock: decoded chunks in order of time, gaps left open."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from storage.records import AUDIO_SAMPLE_RATE

Samples = npt.NDArray[np.int16]
Spans = list[tuple[int, int]]  # [start, end) in samples, disjoint and sorted
NO_SAMPLES: Samples = np.zeros(0, np.int16)

# Containers round timestamps, and live recordings jitter: as ffmpeg's aresample, treat chunks as
# continuous until they are this far from where their timestamps put them.
MAX_JITTER = AUDIO_SAMPLE_RATE // 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Decoded samples and the position of the first one, in samples from the first frame."""

    start: int
    samples: Samples

    @property
    def end(self) -> int:
        """Position after the last sample."""
        return self.start + len(self.samples)


@dataclass(frozen=True, slots=True)
class Timeline:
    """Chunks of samples in order of time that neither touch nor overlap."""

    chunks: tuple[Chunk, ...]

    @property
    def end(self) -> int:
        """Position after the last sample; 0 without samples."""
        return max(0, self.chunks[-1].end) if self.chunks else 0

    def spans(self) -> Spans:
        """Return the positions of each chunk's first sample and of the end of its last one."""
        return [(chunk.start, chunk.end) for chunk in self.chunks]

    def decoded(self, start: int, end: int) -> Samples:
        """Return the samples that exist in ``[start, end)``, without gaps."""
        parts = [
            chunk.samples[max(0, start - chunk.start) : end - chunk.start]
            for chunk in self.chunks
            if chunk.start < end and chunk.end > start
        ]
        return np.concatenate(parts) if parts else NO_SAMPLES

    def read(self, start: int, end: int) -> Samples:
        """Return the samples ``[start, end)``, with silence where there are none."""
        samples = np.zeros(max(0, end - start), np.int16)
        first = bisect_right(self.chunks, start, key=lambda chunk: chunk.end)
        for chunk in self.chunks[first:]:
            if chunk.start >= end:
                break
            part = chunk.samples[max(0, start - chunk.start) : end - chunk.start]
            at = max(0, chunk.start - start)
            samples[at : at + len(part)] = part
        return samples


def join_chunks(chunks: Iterable[Chunk]) -> Timeline:
    """Put decoded chunks on one timeline, in the order of decoding.

    A chunk that starts within a tenth of a second of where the previous one ended continues it.
    A later one leaves a gap; of an earlier one, the samples whose time has passed are dropped.
    """
    joined: list[Chunk] = []
    start, parts, end = 0, list[Samples](), 0
    for chunk in _repaired(chunks):
        late = chunk.start - end
        if not parts or late > MAX_JITTER:
            if parts:
                joined.append(Chunk(start=start, samples=np.concatenate(parts)))
            start, parts, end = chunk.start, [], chunk.start
        passed = -late if parts and late < -MAX_JITTER else 0
        samples = chunk.samples[passed:]
        parts.append(samples)
        end += len(samples)
    if end > start:
        joined.append(Chunk(start=start, samples=np.concatenate(parts)))
    return Timeline(tuple(chunk for chunk in joined if len(chunk.samples)))


def _repaired(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Move chunks with timestamps in the future to the end of the previous chunk.

    A decoder may stamp a single frame wrongly, such as the first one at a new sampling rate. ffmpeg
    then raises all timestamps behind it, so that they increase by one until they are later again.
    """
    end: int | None = None
    is_behind = False
    for chunk, following in _with_following(chunks):
        is_followed_by_raised = following is not None and following.start - chunk.start == 1
        is_jump = end is not None and chunk.start - end > MAX_JITTER
        if end is not None and (is_behind or (is_jump and is_followed_by_raised)):
            is_behind = is_followed_by_raised
            yield Chunk(start=end, samples=chunk.samples)
            end += len(chunk.samples)
        else:
            yield chunk
            end = chunk.end


def _with_following(chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, Chunk | None]]:
    """Yield each chunk with the one after it."""
    iterator = iter(chunks)
    chunk = next(iterator, None)
    while chunk is not None:
        following = next(iterator, None)
        yield chunk, following
        chunk = following


def union_of(spans: Iterable[tuple[int, int]], max_gap: int = 0) -> Spans:
    """Merge spans ``[start, end)`` that overlap or are at most ``max_gap`` apart."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1] + max_gap:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged


def gaps_of(spans: Sequence[tuple[int, int]]) -> Spans:
    """Return the spans between disjoint, sorted ``spans``."""
    return [(end, start) for (_, end), (start, _) in pairwise(spans)]


def covered_by(spans: Iterable[tuple[int, int]], start: int, end: int) -> int:
    """Count the positions in ``[start, end)`` that disjoint ``spans`` cover."""
    return sum(max(0, min(end, b) - max(start, a)) for a, b in spans)
