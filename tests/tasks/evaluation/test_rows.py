import numpy as np

from tasks.evaluation.rows import EvaluatedRow, ScoredRows


def row(split: str, label: int | None, participant: str | None = None) -> EvaluatedRow:
    return EvaluatedRow(
        row_id="a.mp4#0000",
        video_id="a.mp4",
        participant_id=participant,
        split=split,
        question=None,
        duration_ms=1_000,
        label=label,
    )


def test_a_row_without_participant_is_resampled_with_its_video() -> None:
    assert row("test", 1).cluster == "a.mp4"
    assert row("test", 1, participant="12").cluster == "12"


def test_spellings_of_a_participant_are_resampled_together() -> None:
    spellings = ("José", "JOSE\u0301", "jos\u200bé ")
    assert len({row("test", 1, participant=who).cluster for who in spellings}) == 1


def test_evaluated_rows_have_a_label_and_a_probability_from_every_method() -> None:
    rows = [row("test", 1), row("test", None), row("test", 0), row("test", 0), row("val", 0)]
    scores = {
        "mean": np.array([0.5, 0.5, np.nan, 0.5, 0.5]),
        "question": np.array([0.5, 0.5, 0.5, 0.1, 0.5]),
    }
    scored = ScoredRows(level="video", rows=rows, scores=scores)
    assert scored.evaluated_mask("test").tolist() == [True, False, False, True, False]
    assert scored.rows_at(scored.evaluated_mask("val")) == [rows[4]]
