from dataclasses import replace

import pytest

from storage.records import SegmentId, VideoId
from storage.results import VerdictRecord
from tasks.export.tables import manifest_table, segment_table, verdict_on, verdict_table
from tests.builders import a_prediction, a_sample

VERDICT = VerdictRecord(
    video_id=VideoId("a"), split="test", pooling_rule="mean", num_segments=2, num_predicted=1,
    p_ah=0.7, threshold=0.5, verdict=1, label=0, chosen=True, consent_publications=True,
)  # fmt: skip
SAMPLE = a_sample("a", transcript="unspeakable", transcript_before="unheard")
PREDICTION = a_prediction(SAMPLE.segment_id)


def test_verdicts_are_those_of_the_chosen_rule_alone():
    other = replace(VERDICT, pooling_rule="any", chosen=False)
    (row,) = verdict_table([other, VERDICT], "challenge").to_pylist()
    assert (row["pooling_rule"], row["p_ah"], row["verdict"]) == ("mean", 0.7, 1)
    assert (row["purpose"], row["consent_publications"]) == ("challenge", True)


def test_segments_keep_their_order_and_those_without_an_answer_have_no_verdict():
    second = replace(SAMPLE, segment_id=SegmentId("a#0001"), index=1)
    rows = segment_table([second, SAMPLE], [PREDICTION], 0.5, "internal").to_pylist()
    assert [(row["index"], row["p_ah"], row["verdict"]) for row in rows] == [
        (1, None, None), (0, 0.5, 1),
    ]  # fmt: skip


def test_a_verdict_is_one_from_the_threshold_on():
    assert [verdict_on(p, 0.5) for p in (0.49, 0.5, None)] == [0, 1, None]


@pytest.mark.parametrize("purpose", ["publication", "challenge"])
def test_neither_words_nor_places_of_media_leave_the_house(purpose):
    inside, outside = manifest_table([SAMPLE], "internal"), manifest_table([SAMPLE], purpose)
    assert set(inside.column_names) - set(outside.column_names) == {
        "transcript", "transcript_before", "video_path", "audio_path",
    }  # fmt: skip
    assert inside.to_pylist()[0]["transcript"] == "unspeakable"
    assert outside.column_names[-1] == "purpose"


def test_tables_without_rows_have_all_their_columns():
    assert segment_table([], [], 0.5, "internal").num_columns > 10
    assert manifest_table([], "internal").num_rows == verdict_table([], "internal").num_rows == 0
