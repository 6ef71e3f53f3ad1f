"""The report: one self-contained HTML file, and the verdicts as a CSV file beside it.

Neither contains transcripts; participants appear by id only.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from storage.datasets.consent import permission_of
from storage.issues import Issue, IssueKind
from storage.media_records import MediaFacts
from storage.records import (
    IssueRecord,
    RejectedRecord,
    VideoId,
    VideoRecord,
)
from storage.results import VerdictRecord
from tasks.evaluation import display as display
from tasks.evaluation.baselines import BASELINES
from tasks.evaluation.evaluation import Evaluation
from tasks.export.files import write_csv
from tasks.export.tables import verdict_table
from tasks.report import plots
from tasks.report.input_quality import InputQuality
from tasks.report.sections import (
    confusion_matrices,
    metric_tables,
    validation_curve,
    videos_by_split,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """The report's facts about the run: display names, each stage's variant, and issues.

    ``issues`` are the data set's, ``stage_issues`` those that stages found in videos they used.
    ``notices`` are shown before the metrics, ``quality`` after the videos.
    """

    data_name: str
    model_name: str
    variants: Mapping[str, str]
    issues: Sequence[Issue] = field(default=())
    stage_issues: Sequence[IssueRecord] = field(default=())
    notices: Sequence[str] = field(default=())
    quality: InputQuality = field(default_factory=InputQuality)


def media_issues(media: Iterable[MediaFacts]) -> list[IssueRecord]:
    """Return the warnings from decoding the videos as issues of stage segment."""
    return [
        IssueRecord(video_id=facts.video_id, stage="segment", kind=IssueKind.MEDIA, issue=warning)
        for facts in media
        for warning in facts.warnings
    ]


def write_verdicts(path: Path, verdicts: Iterable[VerdictRecord]) -> None:
    """Write the chosen rule's verdicts as CSV for internal use, with every video.

    Each row has that purpose and the participant's consents.
    """
    table = verdict_table(verdicts, "internal")
    write_csv(path, table.schema, [table])


def _issues_by_kind(videos: Sequence[VideoRecord]) -> list[tuple[VideoId, Issue]]:
    """Return the videos' issues, ordered by kind."""
    kinds = list(IssueKind)
    issues = [(video.video_id, issue) for video in videos for issue in video.issues]
    return sorted(issues, key=lambda pair: kinds.index(pair[1].kind))


def write_report(
    path: Path,
    evaluation: Evaluation,
    videos: Sequence[VideoRecord],
    rejected: Sequence[RejectedRecord],
    facts: RunFacts,
    settings: Mapping[str, Any],
) -> None:
    """Write the report as one HTML file without external resources."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(plots=plots, display=display, baselines=BASELINES)
    verdicts = [row for row in evaluation.verdicts if row.chosen]
    html = environment.get_template("report.html.j2").render(
        facts=facts,
        settings=settings,
        created_at=f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC",
        evaluation=evaluation,
        verdicts=verdicts,
        rejected=rejected,
        rule=next(row for row in evaluation.thresholds if row.chosen),
        metric_tables=metric_tables(evaluation),
        curve=validation_curve(evaluation, verdicts),
        confusion_matrices=confusion_matrices(verdicts),
        videos_by_split=videos_by_split(evaluation, verdicts, videos, rejected),
        publication=permission_of(videos, "publication"),
        video_issues=_issues_by_kind(videos),
    )
    path.write_text(html, encoding="utf-8")
