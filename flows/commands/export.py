"""Exports: a finished run's rows written for a purpose, without those not consented to."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from flows.context.open import open_existing_store, open_run
from flows.context.request import ExportKind, RunRequest
from flows.context.run_context import Run
from storage.datasets.consent import Permission, Purpose, Row, permission_of
from storage.errors import ConfigError
from tasks.evaluation.evaluation import SEGMENT_METHOD
from tasks.export.files import write_export
from tasks.export.frames import FRAME_SCHEMA, FramedVideo, frame_table
from tasks.export.output_path import check_output_file
from tasks.export.tables import manifest_table, segment_table, verdict_table


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What an export holds, and how many videos stay out of it for want of consent."""

    purpose: Purpose
    num_rows: int
    num_videos: int
    num_not_consented: int
    num_unknown: int

    def lines(self) -> list[str]:
        """Say it, a line each."""
        return [
            f"{self.num_rows} rows of {self.num_videos} videos, for purpose {self.purpose!r}",
            left_out(self.num_not_consented, self.num_unknown),
        ]


def left_out(num_not_consented: int, num_unknown: int) -> str:
    """Say how many videos stay out of an export."""
    return (
        f"left out for want of consent: {num_not_consented} videos refused, {num_unknown} unknown"
    )


def write_rows(request: RunRequest, kind: ExportKind, purpose: Purpose, out: Path) -> ExportReport:
    """Write one kind of rows for a purpose; starts no server and makes no result.

    Raises:
        ConfigError: the file's suffix says no format, or nothing may be exported.
        DataError: there is no such store.
        StageError: a stage whose rows it needs is not finished.
    """
    check_output_file(out)
    open_existing_store(request.store)
    run = open_run(request)
    permission = permission_of(run.verdicts if kind == "verdicts" else run.samples, purpose)
    check_some(permission)
    schema, tables = _LAYOUTS[kind](run, permission)
    facts = {
        "kind": kind,
        "purpose": purpose,
        "videos_refused": str(len(permission.refused)),
        "videos_unknown": str(len(permission.unknown)),
    }
    return ExportReport(
        purpose=purpose,
        num_rows=write_export(out, schema, tables, facts),
        num_videos=len(permission.allowed),
        num_not_consented=len(permission.refused),
        num_unknown=len(permission.unknown),
    )


def check_some(permission: Permission) -> None:
    """Refuse an export that nobody agreed to.

    Raises:
        ConfigError: of no video it may hold a row.
    """
    if not permission.allowed:
        raise ConfigError(
            f"Nothing may be exported for purpose {permission.purpose!r}: of "
            f"{len(permission.refused)} videos the participants refused, of "
            f"{len(permission.unknown)} it is not known."
        )


_Tables = tuple[pa.Schema, Iterable[pa.Table]]


def _verdicts(run: Run, permission: Permission) -> _Tables:
    return _whole(verdict_table(permission.keep(run.verdicts), permission.purpose))


def _segments(run: Run, permission: Permission) -> _Tables:
    samples, predictions = permission.keep(run.samples), permission.keep(run.predictions)
    return _whole(segment_table(samples, predictions, _segment_threshold(run), permission.purpose))


def _manifest(run: Run, permission: Permission) -> _Tables:
    return _whole(manifest_table(permission.keep(run.samples), permission.purpose))


def _frames(run: Run, permission: Permission) -> _Tables:
    return FRAME_SCHEMA, _iter_frames(run, permission)


def _iter_frames(run: Run, permission: Permission) -> Iterator[pa.Table]:
    """Lay videos out one by one: together, their frames are millions."""
    samples, predictions = _by_video(run.samples), _by_video(run.predictions)
    times = {row.video_id: row for row in run.frame_times}
    threshold = _segment_threshold(run)
    for video in permission.keep(run.dataset.videos):
        framed = FramedVideo(
            video=video,
            times=times[video.video_id],
            samples=samples[video.video_id],
            predictions=predictions[video.video_id],
        )
        yield frame_table(framed, threshold, permission.purpose)


def _by_video(rows: Iterable[Row]) -> defaultdict[str, list[Row]]:
    grouped: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row.video_id].append(row)
    return grouped


def _segment_threshold(run: Run) -> float:
    return next(row.threshold for row in run.thresholds if row.method == SEGMENT_METHOD)


def _whole(table: pa.Table) -> _Tables:
    return table.schema, [table]


_LAYOUTS: Mapping[ExportKind, Callable[[Run, Permission], _Tables]] = {
    "verdicts": _verdicts,
    "segments": _segments,
    "frames": _frames,
    "manifest": _manifest,
}
