"""What a reader of the report has to know before any figure."""

from collections.abc import Sequence

from storage.records import SampleRecord
from tasks.evaluation.baselines import length_only_macro_f1
from tasks.evaluation.display import format_fraction
from tasks.labels.cut_points import LENGTHS_LEAK


def notices_of(boundaries: str, samples: Sequence[SampleRecord]) -> tuple[str, ...]:
    """Tell of cuts that leak the label, and how much of it lies in the lengths they make."""
    if boundaries == "fixed":
        return ()
    macro_f1 = length_only_macro_f1(samples)
    message = (
        "Training rows lack one class, so it was not measured how much lengths tell."
        if macro_f1 is None
        else "From their lengths alone, the labels of the training segments can be told at macro "
        f"F1 {format_fraction(macro_f1)}; “duration only” below is what lengths tell on each split."
    )
    return (f"{LENGTHS_LEAK} {message}",)
