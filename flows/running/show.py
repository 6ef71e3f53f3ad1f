"""What the Prefect UI and the log show of a stage, and of a whole run."""

from collections.abc import Sequence

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.running.stage import StageReport
from flows.running.summary import run_summary, stage_summary
from storage.records import RejectedRecord
from tasks.log import LOGGER
from tasks.ui_artifacts import ArtifactContent, RunArtifacts

_MAX_ROWS = 1_000  # of an artifact's table; the store has all


def show_result(report: StageReport, rejected: Sequence[RejectedRecord]) -> None:
    """Log the stage's counts, and list what it rejected in the Prefect UI."""
    if rejected:
        first = f"The first {_MAX_ROWS} items" if len(rejected) > _MAX_ROWS else "Items"
        create_table_artifact(
            key=f"{report.stage}-rejected",
            table=[{"row": row.item_id, "reason": row.reason} for row in rejected[:_MAX_ROWS]],
            description=f"{first} that stage {report.stage} rejected, with the reason.",
        )
    LOGGER.info(
        "%s: %d cached, %d computed, %d rejected in %.1f s",
        report.stage, report.num_cached, report.num_computed, report.num_rejected, report.seconds,
    )  # fmt: skip


def show_stage(report: StageReport) -> None:
    """Show the summary of a finished stage in the Prefect UI."""
    create_markdown_artifact(
        stage_summary(report),
        key=f"{report.stage}-summary",
        description=f"What stage {report.stage} did: {report.unit} expected, cached, computed "
        "and rejected.",
    )


class RunSummary:
    """The summary of a whole run in the Prefect UI, from its first stage on."""

    def __init__(self, warnings: Sequence[str]) -> None:
        self._warnings = warnings
        self._artifacts = RunArtifacts("the run")

    def update(
        self, stages: Sequence[str], reports: Sequence[StageReport], failure: str | None = None
    ) -> None:
        """Show which of the run's ``stages`` are finished, and why one failed."""
        content = ArtifactContent(
            key="run-summary",
            data=run_summary(stages, reports, self._warnings, failure),
            description="What the stages of the run did, its results, and where the report is.",
        )
        self._artifacts.update([content])
