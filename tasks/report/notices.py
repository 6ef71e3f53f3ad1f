"""Notices that the report shows before any metric."""

from collections.abc import Sequence

from storage.records import SampleRecord
from tasks.evaluation.baselines import length_only_macro_f1
from tasks.evaluation.display import format_fraction
from tasks.labels.cut_points import LENGTHS_LEAK


def notices_of(boundaries: str, samples: Sequence[SampleRecord]) -> tuple[str, ...]:
    """Warn that annotated boundaries leak the label, with the metric of durations alone."""
    if boundaries == "fixed":
        return ()
    macro_f1 = length_only_macro_f1(samples)
    extent = (
        "The training segments lack a class, so the leak could not be measured."
        if macro_f1 is None
        else "Their durations alone predict the labels of the training segments at macro F1 "
        f"{format_fraction(macro_f1)}; the baseline “duration only” shows the same on each split."
    )
    return (f"{LENGTHS_LEAK} {extent}",)
