import io

from rich.console import Console

from storage.records import RejectedRecord
from tasks.evaluation.bootstrap import BootstrapSettings
from tasks.evaluation.display import format_fraction, format_interval
from tasks.evaluation.evaluation import EvaluationPlan, evaluate
from tasks.evaluation.thresholds import ThresholdPolicy
from tasks.report.table import metric_rows, result_table, verdict_rows

PLAN = EvaluationPlan(
    pooling_rules=("mean", "any"),
    top_k=2,
    policy=ThresholdPolicy(rule="plateau", score_name="macro_f1", tolerance=0.08),
    bootstrap=BootstrapSettings(draws=20, level=0.95, seed=0),
)


def render(world, rejected: tuple[RejectedRecord, ...] = (), width: int = 80) -> str:
    evaluation = evaluate(*world.write(), world.videos, PLAN)
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(
        result_table(evaluation.verdicts, evaluation.thresholds, evaluation.metrics, rejected)
    )
    return console.export_text()


def test_eighty_columns_fit_verdicts_metrics_intervals_and_baselines(split_world) -> None:
    text = render(split_world)
    for expected in ("Metrics on test: 12 labeled videos", "macro F1", "majority class",
                 "question only", "duration only", "plateau on 12 validation rows"):  # fmt: skip
        assert expected in text
    assert "…" not in text


def test_the_rows_of_a_split_add_up(split_world) -> None:
    split_world.add("holed.mp4", [0.9, None])
    split_world.add("gone.mp4", [])
    line = next(row for row in render(split_world).splitlines() if row.split()[:1] == ["test"])
    videos, positive, negative, without, missing = map(int, line.split()[1:])
    assert (videos, without, missing) == (14, 1, 1)
    assert positive + negative + without == videos


def test_rejections_are_listed_with_reasons_and_the_rest_is_counted(split_world) -> None:
    rejected = tuple(
        RejectedRecord(item_id=f"[red]{n}.mp4", stage="segment", reason="not a video")
        for n in range(20)
    )
    text = render(split_world, rejected)
    assert "Rejected: 20" in text
    assert "[red]0.mp4" in text
    assert "8 more, see the report" in text


def test_without_labels_a_note_replaces_the_metrics(world) -> None:
    world.add("a.mp4", [0.9], split=None)
    text = render(world)
    assert "No labels, so there are no metrics." in text
    assert "no split" in text


def test_metric_rows_cover_every_split_level_and_method(split_world) -> None:
    evaluation = evaluate(*split_world.write(), split_world.videos, PLAN)
    rows = metric_rows(evaluation.metrics)
    keys = [(row["split"], row["level"], row["method"]) for row in rows]
    assert len(keys) == len(set(keys)) == 3 * (5 + 4)  # with the three baselines each
    assert keys[0][:2] == ("test", "video")
    first = next(row for row in rows if row["method"] == "any (maximum)")
    metric = next(
        row for row in evaluation.metrics
        if (row.split, row.level, row.method, row.name) == ("test", "video", "any", "macro_f1")
    )  # fmt: skip
    assert first["rows"] == 12
    cell = f"{format_fraction(metric.value)} {format_interval(metric)}"
    assert first["macro F1"] == cell.rstrip()
    assert list(first) == ["split", "level", "method", "rows", "macro F1", "accuracy", "F1 A/H",
                           "F1 no A/H", "AP"]  # fmt: skip


def test_verdicts_are_counted_by_split_and_no_video_is_named(split_world) -> None:
    split_world.add("holed.mp4", [0.9, None], split=None)
    evaluation = evaluate(*split_world.write(), split_world.videos, PLAN)
    rows = verdict_rows(evaluation.verdicts)
    assert [row["split"] for row in rows] == ["test", "validation", "train", "no split"]
    assert rows[-1] == {"split": "no split", "videos": 1, "A/H": 1, "no A/H": 0, "no verdict": 0,
                        "segments without prediction": 1}  # fmt: skip
    assert all(row["A/H"] + row["no A/H"] + row["no verdict"] == row["videos"] for row in rows)
    assert ".mp4" not in str(rows)
