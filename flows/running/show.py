"""What the Prefect UI and the log show of a stage."""

from prefect.artifacts import create_table_artifact

from flows.running.stage import StageReport
from storage.records import RejectedRecord
from tasks.log import LOGGER


def show_report(report: StageReport, rejected: list[RejectedRecord]) -> None:
    """Show the stage's counts, and what it rejected, in the Prefect UI and in the log."""
    create_table_artifact(
        key=f"{report.stage}-result",
        table=[
            {
                "expected": report.num_expected,
                "cached": report.num_cached,
                "computed": report.num_computed,
                "rejected": report.num_rejected,
                "seconds": round(report.seconds, 1),
                "variant": report.variant_id,
            }
        ],
        description=f"Items that stage {report.stage} found cached, computed and rejected.",
    )
    if rejected:
        create_table_artifact(
            key=f"{report.stage}-rejected",
            table=[{"row": row.item_id, "reason": row.reason} for row in rejected],
            description=f"Items that stage {report.stage} rejected, with the reason.",
        )
    LOGGER.info(
        "%s: %d cached, %d computed, %d rejected in %.1f s",
        report.stage, report.num_cached, report.num_computed, report.num_rejected, report.seconds,
    )  # fmt: skip
