from dataclasses import replace

import pytest

from storage.records import SegmentId, VideoId
from storage.results import VerdictRecord
from tasks.export.tables import apply_threshold, manifest_table, segment_table, verdict_table
from tests.builders import a_prediction, a_sample

VERDICT = VerdictRecord(
    video_id=VideoId("a"), split="test", pooling_rule="mean", num_segments=2, num_predicted=1,
    p_ah=0.7, threshold=0.5, verdict=1, label=0, chosen=True, consent_publications=True,
)  # fmt: skip
SAMPLE = a_sample("a", transcript="private words", transcript_before="earlier words")
PREDICTION = a_prediction(SAMPLE.segment_id)


def test_only_verdicts_of_the_chosen_rule_are_exported():
    other = replace(VERDICT, pooling_rule="any", chosen=False)
    (row,) = verdict_table([other, VERDICT], "challenge").to_pylist()
    assert (row["pooling_rule"], row["p_ah"], row["verdict"]) == ("mean", 0.7, 1)
    assert (row["purpose"], row["consent_publications"]) == ("challenge", True)


def test_segments_keep_their_order_and_have_no_verdict_without_a_prediction():
    second = replace(SAMPLE, segment_id=SegmentId("a#0001"), index=1)
    rows = segment_table([second, SAMPLE], [PREDICTION], 0.5, "internal").to_pylist()
    assert [(row["index"], row["p_ah"], row["verdict"]) for row in rows] == [
        (1, None, None), (0, 0.5, 1),
    ]  # fmt: skip


def test_verdict_is_one_at_or_above_the_threshold():
    assert [apply_threshold(p, 0.5) for p in (0.49, 0.5, None)] == [0, 1, None]


@pytest.mark.parametrize("purpose", ["publication", "challenge"])
def test_transcripts_and_media_paths_are_internal(purpose):
    internal, external = manifest_table([SAMPLE], "internal"), manifest_table([SAMPLE], purpose)
    assert set(internal.column_names) - set(external.column_names) == {
        "transcript", "transcript_before", "video_path", "audio_path",
    }  # fmt: skip
    assert internal.to_pylist()[0]["transcript"] == "private words"
    assert external.column_names[-1] == "purpose"


def test_tables_without_rows_have_all_columns():
    assert segment_table([], [], 0.5, "internal").num_columns > 10
    assert manifest_table([], "internal").num_rows == verdict_table([], "internal").num_rows == 0
