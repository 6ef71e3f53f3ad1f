from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from tasks.evaluation.bootstrap import BootstrapSettings
from tasks.evaluation.evaluation import Evaluation, EvaluationPlan, evaluate
from tasks.evaluation.thresholds import ThresholdPolicy

PLAN = EvaluationPlan(
    pooling_rules=("top_k_mean", "mean", "noisy_or", "any"),
    top_k=2,
    policy=ThresholdPolicy(rule="plateau", score_name="macro_f1", tolerance=0.08),
    bootstrap=BootstrapSettings(draws=50, level=0.95, seed=0),
)


def run(world, plan: EvaluationPlan = PLAN) -> Evaluation:
    return evaluate(*world.write(), world.videos, plan)


def flip_labels(world, split: str) -> None:
    """Flip every label of one split."""
    world.videos = [
        replace(video, label=1 - video.label) if video.split == split else video
        for video in world.videos
    ]
    world.samples = [
        replace(row, video_label=1 - row.video_label, label=1 - row.label)
        if row.split == split
        else row
        for row in world.samples
    ]


def test_flipping_test_labels_changes_no_verdict_and_no_threshold(split_world) -> None:
    before = run(split_world)
    flip_labels(split_world, "test")
    after = run(split_world)
    assert after.thresholds == before.thresholds
    assert [row.verdict for row in after.verdicts] == [row.verdict for row in before.verdicts]
    assert [row.chosen for row in after.verdicts] == [row.chosen for row in before.verdicts]
    assert after.metrics != before.metrics


def test_flipping_validation_labels_changes_thresholds(split_world) -> None:
    before = run(split_world)
    flip_labels(split_world, "val")
    assert run(split_world).thresholds != before.thresholds


def test_metrics_are_those_of_the_verdicts_on_each_split(split_world) -> None:
    evaluation = run(split_world)
    metrics = {
        (row.method, row.split, row.name): row for row in evaluation.metrics if row.level == "video"
    }
    for rule in PLAN.pooling_rules:
        rows = [v for v in evaluation.verdicts if v.pooling_rule == rule and v.split == "test"]
        labels, verdicts = [row.label for row in rows], [row.verdict for row in rows]
        assert metrics[rule, "test", "macro_f1"].value == pytest.approx(
            f1_score(labels, verdicts, average="macro", zero_division=0)
        )
        assert metrics[rule, "test", "average_precision"].value == pytest.approx(
            average_precision_score(labels, [row.p_ah for row in rows])
        )
        assert metrics[rule, "test", "macro_f1"].num_rows == 12


def test_rules_and_baselines_are_measured_at_both_levels(split_world) -> None:
    evaluation = run(split_world)
    baselines = {"constant", "question", "duration"}
    for split in ("train", "val", "test"):
        for level, methods in (
            ("video", {*PLAN.pooling_rules, *baselines}),
            ("segment", {"segment", *baselines}),
        ):
            found = {m.method for m in evaluation.metrics if (m.level, m.split) == (level, split)}
            assert found == methods


def test_one_rule_is_chosen_and_its_verdicts_are_marked(split_world) -> None:
    evaluation = run(split_world)
    (rule,) = (row.method for row in evaluation.thresholds if row.chosen)
    assert {row.pooling_rule for row in evaluation.verdicts if row.chosen} == {rule}
    assert len([row for row in evaluation.verdicts if row.chosen]) == len(split_world.videos)


def test_the_verdict_is_the_probability_against_the_threshold(split_world) -> None:
    for row in run(split_world).verdicts:
        assert row.verdict == int(row.p_ah >= row.threshold)


def test_two_evaluations_are_equal(split_world) -> None:
    assert run(split_world) == run(split_world)


def test_without_labels_the_rule_is_the_mean_at_one_half_without_metrics(world) -> None:
    world.add("low.mp4", [0.1, 0.3], split=None)
    world.add("high.mp4", [0.9, 0.7], split=None)
    evaluation = run(world)
    (rule,) = (row for row in evaluation.thresholds if row.chosen)
    assert (rule.method, rule.threshold, rule.threshold_rule) == ("mean", 0.5, "fixed")
    assert rule.chosen_on == ()
    assert evaluation.metrics == ()
    verdicts = {row.video_id: row.verdict for row in evaluation.verdicts if row.chosen}
    assert verdicts == {"low.mp4": 0, "high.mp4": 1}


def test_without_validation_labels_metrics_are_at_the_untuned_threshold(world) -> None:
    world.add("a.mp4", [0.9, 0.8], label=1, participant="1")
    world.add("b.mp4", [0.9, 0.3], label=0, participant="2")
    evaluation = run(world)
    (rule,) = (row for row in evaluation.thresholds if row.chosen)
    assert (rule.method, rule.threshold, rule.score) == ("mean", 0.5, None)
    accuracy = [m for m in evaluation.metrics if (m.method, m.name) == ("mean", "accuracy")]
    assert [(m.split, m.value) for m in accuracy] == [("test", 0.5)]


def test_videos_and_segments_without_prediction_are_counted_not_dropped(split_world) -> None:
    split_world.add("holed.mp4", [None, 0.9], label=1, labels=[1, 1], participant="300")
    split_world.add("silent.mp4", [None, None], label=1, labels=[1, 1], participant="301")
    split_world.add("rejected.mp4", [], label=0, participant="302")
    evaluation = run(split_world)
    rows = {row.video_id: row for row in evaluation.verdicts if row.chosen}
    assert (rows["holed.mp4"].num_segments, rows["holed.mp4"].num_predicted) == (2, 1)
    assert rows["holed.mp4"].verdict is not None
    for name, num_segments in (("silent.mp4", 2), ("rejected.mp4", 0)):
        row = rows[name]
        assert (row.p_ah, row.verdict, row.num_segments) == (None, None, num_segments)
    num_rows = {m.num_rows for m in evaluation.metrics if (m.level, m.split) == ("video", "test")}
    assert num_rows == {13}


def test_weak_labels_are_in_no_segment_metric(split_world) -> None:
    before = run(split_world)
    split_world.samples = [
        replace(row, label=1, label_source="video") if row.video_id.startswith("test") else row
        for row in split_world.samples
    ]
    after = run(split_world)
    assert {m.split for m in after.metrics if m.level == "segment"} == {"train", "val"}
    assert [m for m in after.metrics if m.level == "video"] == [
        m for m in before.metrics if m.level == "video"
    ]


def test_metrics_of_a_split_with_one_class_are_undefined(split_world) -> None:
    split_world.videos = [replace(v, label=1) for v in split_world.videos]
    split_world.samples = [replace(row, video_label=1) for row in split_world.samples]
    evaluation = run(split_world)
    values = {
        m.name: (m.value, m.low)
        for m in evaluation.metrics
        if (m.level, m.split, m.method) == ("video", "test", "mean")
    }
    assert values["macro_f1"] == values["average_precision"] == (None, None)
    assert values["accuracy"][0] is not None
    assert not any(np.isnan(value) for value, _ in values.values() if value is not None)


def test_a_data_set_with_every_video_rejected_has_no_verdict_and_no_metric(world) -> None:
    world.add("a.mp4", [], label=1)
    evaluation = run(world)
    assert {row.verdict for row in evaluation.verdicts} == {None}
    assert evaluation.metrics == ()
