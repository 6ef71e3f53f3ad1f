"""Display names and number formats of the report and the terminal tables."""

from storage.results import MetricRecord

REPORT_SPLITS = ("test", "val", "train", "unsplit")
SPLIT_NAMES = {"test": "test", "val": "validation", "train": "train", "unsplit": "no split"}
METHOD_NAMES = {
    "any": "any (maximum)",
    "mean": "mean",
    "top_k_mean": "top-k mean",
    "noisy_or": "noisy-or",
    "segment": "model, unpooled",
    "constant": "majority class",
    "question": "question only",
    "duration": "duration only",
}
METRIC_NAMES = {
    "macro_f1": "macro F1",
    "accuracy": "accuracy",
    "weighted_f1": "weighted F1",
    "f1_present": "F1 of A/H",
    "f1_absent": "F1 of no A/H",
    "average_precision": "average precision",
}
VERDICT_NAMES = {1: "A/H", 0: "no A/H", None: "no verdict"}
UNDEFINED = "–"


def format_fraction(value: float | None, digits: int = 3) -> str:
    """Format a number in [0, 1] without its leading zero, or a dash if it is undefined."""
    if value is None:
        return UNDEFINED
    text = f"{value:.{digits}f}"
    return text[1:] if text.startswith("0.") else text


def format_interval(metric: MetricRecord | None) -> str:
    """Format a metric's interval as `.71–.92`, or as an empty string if it has none."""
    if metric is None or metric.low is None or metric.high is None:
        return ""
    return f"{format_fraction(metric.low, 2)}–{format_fraction(metric.high, 2)}"


def format_seconds(time_ms: int) -> str:
    """Format a time of a video in seconds."""
    return f"{time_ms / 1000:.1f} s"
