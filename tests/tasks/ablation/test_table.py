import pytest
from rich.console import Console

from tasks.ablation.comparison import AblationRecord
from tasks.ablation.table import ablation_table, artifact_rows
from tasks.evaluation.evaluation import SEGMENT_METHOD

METHODS = {"video": "top_k_mean", "segment": SEGMENT_METHOD}


def a_row(level: str, arm: str, name: str, value: float, difference: float) -> AblationRecord:
    """A metric with intervals of +-0.1, except of a difference to itself."""
    low, high = (None, None) if arm == "VAT" else (difference - 0.1, difference + 0.1)
    return AblationRecord(
        arm=arm, is_control=arm != "VAT", level=level, method=METHODS[level], threshold=0.5,
        name=name, value=value, low=value - 0.1, high=value + 0.1,
        num_rows=20 if level == "video" else 40, fraction_positive=0.5, difference=difference,
        difference_low=low, difference_high=high, num_paired=20,
    )  # fmt: skip


@pytest.fixture
def records() -> list[AblationRecord]:
    return [
        a_row(level, arm, name, value, value - 0.9)
        for level in ("video", "segment")
        for arm, value in (("VAT", 0.9), ("AT", 0.475))
        for name in ("macro_f1", "average_precision")
    ]


def test_the_tables_show_metrics_and_signed_differences_with_intervals(
    records: list[AblationRecord],
) -> None:
    console = Console(width=100)
    with console.capture() as captured:
        console.print(ablation_table(records))
    text = captured.get()
    assert "On videos: 20 labeled in test, .50 of them A/H" in text
    assert "On segments: 40 labeled in test, .50 of them A/H; model, unpooled" in text
    (line, *_) = [line for line in text.splitlines() if line.startswith(" AT")]
    assert ".475" in line
    assert "-.425" in line
    rows = artifact_rows(records)
    assert [(row["level"], row["arm"]) for row in rows] == [
        ("video", "VAT"), ("video", "AT"), ("segment", "VAT"), ("segment", "AT"),
    ]  # fmt: skip
    assert "-.53 to -.33" in str(rows[1]["macro F1: difference"])
