from pathlib import Path

import pytest

from tasks.aggregate import AggregateConfig
from tasks.evaluation.earlier_selection import EarlierSelection
from tasks.prediction.verdicts import assemble_videos, score_videos
from tests.builders import a_threshold
from tests.tasks.prediction.toys import BAD, GOOD, HALF, OUTPUTS

PLAN = AggregateConfig().plan()
CHOSEN = a_threshold("any", threshold=0.6)
EARLIER = EarlierSelection(report_path="aggregate/abc", thresholds=(CHOSEN,))


def test_without_an_earlier_selection_verdicts_equal_those_of_a_run_without_labels(
    tmp_path: Path,
) -> None:
    rule, verdicts = score_videos(OUTPUTS, PLAN, None, tmp_path)
    assert (rule.pooling_rule, rule.threshold, rule.top_k) == ("mean", 0.5, None)
    assert rule.chosen_on == "nothing"
    assert "validation has no labels" in rule.reason
    assert verdicts[GOOD].p_ah == pytest.approx(0.4)
    assert verdicts[GOOD].present is False
    assert verdicts[BAD].present is None
    assert (verdicts[HALF].num_predicted, verdicts[HALF].num_segments) == (1, 2)


def test_an_earlier_selection_determines_rule_and_threshold(tmp_path: Path) -> None:
    rule, verdicts = score_videos(OUTPUTS, PLAN, EARLIER, tmp_path)
    assert (rule.pooling_rule, rule.threshold, rule.chosen_on) == ("any", 0.6, "validation")
    assert rule.reason.startswith("plateau on 9 validation rows, chosen by an earlier run")
    assert verdicts[GOOD].p_ah == pytest.approx(0.6)
    assert verdicts[GOOD].present is True


def test_every_file_has_segments_or_a_reason_of_rejection(tmp_path: Path) -> None:
    _, verdicts = score_videos(OUTPUTS, PLAN, None, tmp_path)
    good, bad, half = assemble_videos(OUTPUTS, verdicts)
    assert [video.path for video in (good, bad, half)] == [GOOD, BAD, HALF]
    assert [segment.p_ah for segment in good.segments] == [0.2, 0.6]
    assert [segment.transcript for segment in good.segments] == ["words [0]", "words [1]"]
    assert good.segments[1].start_ms == good.segments[0].end_ms == 2_000
    assert (good.segments[0].has_video, good.segments[0].has_audio) == (True, False)
    assert (bad.rejected, bad.segments, bad.duration_ms) == ("not a video", (), None)
    assert half.segments[0].rejected == "no frame can be decoded"
    assert half.segments[0].p_ah is None
    assert good.warnings == ("the file has no audio",)
    assert half.warnings == ("a damaged part",)
