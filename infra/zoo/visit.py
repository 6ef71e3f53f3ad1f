"""One visit to the zoo: every input goes through the segment stage, and its outcome is verified."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from infra.zoo.inputs import DAMAGED, GOOD, POOR, Cut, Damaged, Poor, Rejected
from infra.zoo.shelf import Shelf
from infra.zoo.truth import WrittenSegment, faults_of, faults_of_times
from storage.datasets.dataset import digest_or_unreadable
from storage.media_records import MediaFacts, SegmentRecord
from storage.records import RejectedRecord
from storage.store.store import Store
from storage.store.variant import ItemOutput
from tasks.media.quality import quality_problems
from tasks.segment import (
    SegmentConfig,
    SegmentResources,
    SourceVideo,
    segment_videos,
    variant_of,
)

INPUTS: Mapping[str, Cut | Damaged | Poor | Rejected] = {**GOOD, **POOR, **DAMAGED}
Row = TypeVar("Row")
_CONFIG = SegmentConfig()
_RESOURCES = SegmentResources(child_memory_mb=512)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one input, and its deviations from the expected outcome."""

    name: str
    description: str
    faults: tuple[str, ...]


def visit(names: Sequence[str], folder: Path) -> Iterator[Outcome]:
    """Generate inputs in an empty ``folder``, cut each with the stage's function, and verify it."""
    inputs, cut = folder / "inputs", folder / "segments"
    for path in (inputs, cut):
        path.mkdir(parents=True, exist_ok=True)
    shelf = Shelf(inputs)
    variant = variant_of(Store(str(folder / "store")), _CONFIG)
    for name in names:
        path = shelf(name)
        source = SourceVideo(path=path, source_digest=digest_or_unreadable(path))
        (output,) = segment_videos([name], {name: source}, _CONFIG, variant, cut, _RESOURCES)
        yield Outcome(name=name, description=_describe(output), faults=tuple(_faults(path, output)))


def _rows(output: ItemOutput, row_type: type[Row]) -> list[Row]:
    return [row for row in output.rows if isinstance(row, row_type)]


def _describe(output: ItemOutput) -> str:
    """Return what was cut and the warnings, or the reason of a rejection."""
    rejected = _rows(output, RejectedRecord)
    if rejected:
        return f"rejected: {rejected[0].reason}"
    facts = _rows(output, MediaFacts)[0]
    segments = _rows(output, SegmentRecord)
    samples = sum(segment.num_samples for segment in segments)
    counts = f"segments {len(segments)}, frames {facts.num_frames}, samples {samples}"
    return "; ".join([counts, *(f"warning: {warning}" for warning in facts.warnings)])


def _faults(path: Path, output: ItemOutput) -> Iterator[str]:
    expected, outcome = INPUTS[path.name], _describe(output)
    if isinstance(expected, Rejected):
        if not outcome.startswith("rejected: ") or expected.reason not in outcome:
            yield f"it must be rejected with {expected.reason!r}"
        return
    if outcome.startswith("rejected: "):
        yield "it must not be rejected"
        return
    facts = _rows(output, MediaFacts)[0]
    if isinstance(expected, Poor):
        found = tuple(problem.kind for problem in quality_problems(facts))
        if (found, facts.num_frames) != (expected.problems, expected.num_frames):
            yield f"expected {expected}, got {found} in {facts.num_frames} frames"
        if bool(facts.warnings) != expected.is_warned:
            yield f"unexpected warnings {facts.warnings!r}"
        yield from faults_of_times(_written(output))
        return
    warnings = facts.warnings
    if (expected.warning or "") not in "; ".join(warnings) or bool(warnings) != bool(
        expected.warning
    ):
        yield f"expected the warning {expected.warning!r}, got {warnings!r}"
    if isinstance(expected, Cut):
        yield from faults_of(path, _written(output), expected)


def _written(output: ItemOutput) -> list[WrittenSegment]:
    return [
        WrittenSegment(
            start_ms=row.start_ms,
            end_ms=row.end_ms,
            num_frames=row.num_frames,
            num_samples=row.num_samples,
            video_path=output.files[row.video_path] if row.video_path else None,
            audio_path=output.files[row.audio_path] if row.audio_path else None,
        )
        for row in _rows(output, SegmentRecord)
    ]
