"""Exports: a finished run's rows for a purpose, without videos that lack consent to it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from flows.commands.options import ExportKind
from flows.context.context import Context, open_context, open_existing_store
from flows.context.request import RunRequest
from flows.context.results import Report, open_report
from flows.context.rows import ManifestRows, read_frame_times, read_manifest
from storage.datasets.consent import Consented, Permission, Purpose, Row, permission_of
from storage.errors import ConfigError
from storage.results import ThresholdRecord, VerdictRecord
from tasks.evaluation.evaluation import SEGMENT_METHOD
from tasks.export.files import write_export
from tasks.export.frames import FRAME_SCHEMA, FramedVideo, frame_table
from tasks.export.output_path import check_output_file
from tasks.export.tables import manifest_table, segment_table, verdict_table


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """Numbers of exported rows and videos, and of videos left out without consent."""

    purpose: Purpose
    num_rows: int
    num_videos: int
    num_declined: int
    num_unknown: int

    def lines(self) -> list[str]:
        """Format the report for the terminal."""
        return [
            f"{self.num_rows} rows of {self.num_videos} videos, for purpose {self.purpose!r}",
            left_out(self.num_declined, self.num_unknown),
        ]


def left_out(num_declined: int, num_unknown: int) -> str:
    """Return the line about videos left out of an export."""
    return f"left out without consent: {num_declined} videos declined, {num_unknown} unknown"


def write_rows(request: RunRequest, kind: ExportKind, purpose: Purpose, out: Path) -> ExportReport:
    """Write one kind of rows for a purpose; starts no server and computes no result.

    Raises:
        ConfigError: ``out`` cannot be used, or no participant consented to the purpose.
        DataError: the store does not exist.
        StageError: a stage that the export needs is not finished.
    """
    check_output_file(out)
    open_existing_store(request.store)
    permission, schema, tables = _tables(open_context(request), kind, purpose)
    facts = {
        "kind": kind,
        "purpose": purpose,
        "videos_declined": str(len(permission.declined)),
        "videos_unknown": str(len(permission.unknown)),
    }
    return ExportReport(
        purpose=purpose,
        num_rows=write_export(out, schema, tables, facts),
        num_videos=len(permission.allowed),
        num_declined=len(permission.declined),
        num_unknown=len(permission.unknown),
    )


def check_some(permission: Permission) -> None:
    """Raise if no video may be exported.

    Raises:
        ConfigError: no participant consented to the purpose.
    """
    if not permission.allowed:
        raise ConfigError(
            f"No video may be exported for purpose {permission.purpose!r}: the participants of "
            f"{len(permission.declined)} videos declined, and consent to {len(permission.unknown)} "
            "is unknown."
        )


_Tables = tuple[pa.Schema, Iterable[pa.Table]]


def _tables(
    context: Context, kind: ExportKind, purpose: Purpose
) -> tuple[Permission, pa.Schema, Iterable[pa.Table]]:
    if kind == "manifest":
        manifest = read_manifest(context)
        permission = _permission(manifest.samples, purpose)
        return permission, *_manifest(manifest, permission)
    report = open_report(context)
    verdicts = report.read(VerdictRecord)
    if kind == "verdicts":
        permission = _permission(verdicts, purpose)
        return permission, *_whole(verdict_table(permission.keep(verdicts), purpose))
    permission = _permission(report.inference.manifest.samples, purpose)
    if kind == "segments":
        return permission, *_segments(report, permission)
    return permission, FRAME_SCHEMA, _iter_frames(context, report, permission)


def _permission(rows: Iterable[Consented], purpose: Purpose) -> Permission:
    permission = permission_of(rows, purpose)
    check_some(permission)
    return permission


def _segments(report: Report, permission: Permission) -> _Tables:
    samples = permission.keep(report.inference.manifest.samples)
    predictions = permission.keep(report.inference.predictions)
    threshold = _segment_threshold(report)
    return _whole(segment_table(samples, predictions, threshold, permission.purpose))


def _manifest(manifest: ManifestRows, permission: Permission) -> _Tables:
    return _whole(manifest_table(permission.keep(manifest.samples), permission.purpose))


def _iter_frames(context: Context, report: Report, permission: Permission) -> Iterator[pa.Table]:
    """Yield one table per video: together, the videos' frames are millions of rows."""
    samples = _by_video(report.inference.manifest.samples)
    predictions = _by_video(report.inference.predictions)
    times = {row.video_id: row for row in read_frame_times(context)}
    threshold = _segment_threshold(report)
    for video in permission.keep(context.dataset.videos):
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


def _segment_threshold(report: Report) -> float:
    rows = report.read(ThresholdRecord)
    return next(row.threshold for row in rows if row.method == SEGMENT_METHOD)


def _whole(table: pa.Table) -> _Tables:
    return table.schema, [table]
