from storage.records import RejectedRecord
from tasks.evaluation.bootstrap import BootstrapSettings
from tasks.evaluation.evaluation import Evaluation, EvaluationPlan, evaluate
from tasks.evaluation.thresholds import ThresholdPolicy
from tasks.report.sections import (
    confusion_matrices,
    metric_tables,
    validation_curve,
    videos_by_split,
)

PLAN = EvaluationPlan(
    pooling_rules=("mean", "any"),
    top_k=2,
    policy=ThresholdPolicy(rule="plateau", score_name="macro_f1", tolerance=0.08),
    bootstrap=BootstrapSettings(draws=20, level=0.95, seed=0),
)


def run(world) -> Evaluation:
    return evaluate(*world.write(), world.videos, PLAN)


def test_metric_tables_start_with_test_and_contain_every_method(split_world) -> None:
    tables = metric_tables(run(split_world))
    assert [(table.split, table.level) for table in tables] == [
        (split, level) for split in ("test", "val", "train") for level in ("video", "segment")
    ]
    methods = [row.method for row, _ in tables[0].lines]
    assert methods == ["mean", "any", "constant", "question", "duration"]
    assert tables[0].num_rows == 12


def test_confusion_matrices_count_every_labeled_verdict_once(split_world) -> None:
    chosen = [row for row in run(split_world).verdicts if row.chosen]
    for split, counts in confusion_matrices(chosen).items():
        rows = [row for row in chosen if row.split == split]
        assert sum(counts.values()) == len(rows) == 12
        for (label, verdict), count in counts.items():
            assert count == sum((row.label, row.verdict) == (label, verdict) for row in rows)


def test_the_curve_is_empty_unless_a_threshold_was_chosen(split_world, world) -> None:
    evaluation = run(split_world)
    chosen = [row for row in evaluation.verdicts if row.chosen]
    assert validation_curve(evaluation, chosen).count("<circle") == 12
    world.videos = [video for video in world.videos if video.split == "test"]
    world.samples = [row for row in world.samples if row.split == "test"]
    without = run(world)
    assert validation_curve(without, [row for row in without.verdicts if row.chosen]) == ""


def test_rejections_are_listed_with_their_video(split_world) -> None:
    split_world.add("gone.mp4", [])
    evaluation = run(split_world)
    rejected = [
        RejectedRecord(item_id="gone.mp4", stage="segment", reason="empty file"),
        RejectedRecord(item_id="test/video 00.mp4#0001", stage="infer", reason="damaged"),
    ]
    chosen = [row for row in evaluation.verdicts if row.chosen]
    groups = videos_by_split(evaluation, chosen, split_world.videos, rejected)
    lines = {line.video.video_id: line for line in groups["test"]}
    assert lines["gone.mp4"].reasons == ("segment: empty file",)
    assert lines["test/video 00.mp4"].reasons == ("infer: damaged",)
    assert (lines["test/video 00.mp4"].folder, lines["test/video 00.mp4"].name) == (
        "test/", "video 00.mp4",
    )  # fmt: skip
    assert sum(map(len, groups.values())) == len(split_world.videos)
