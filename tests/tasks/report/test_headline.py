from tasks.evaluation.evaluation import evaluate
from tasks.report.headline import headline
from tests.tasks.report.test_table import PLAN


def test_the_headline_has_verdicts_and_metrics_with_intervals_and_the_rule(split_world) -> None:
    found = evaluate(*split_world.write(), split_world.videos, PLAN)
    table, rule = headline(found.verdicts, found.thresholds, found.metrics)
    lines = table.splitlines()
    assert lines[0] == (
        "| split | videos | A/H | no A/H | no verdict | segments without prediction | macro F1 "
        "| average precision |"
    )
    cells = {line.split(" | ")[0].removeprefix("| "): line.split(" | ") for line in lines[2:]}
    chosen = next(row for row in found.thresholds if row.chosen)
    of_test = {
        row.name: row
        for row in found.metrics
        if (row.split, row.level, row.method) == ("test", "video", chosen.method)
    }
    verdicts = [row.verdict for row in found.verdicts if row.chosen and row.split == "test"]
    assert cells["test"][1:4] == [
        str(len(verdicts)), str(verdicts.count(1)), str(verdicts.count(0)),
    ]  # fmt: skip
    macro_f1 = of_test["macro_f1"]
    assert macro_f1.low is not None
    assert cells["test"][6].startswith(f"{macro_f1.value:.3f}".lstrip("0"))
    assert f"({macro_f1.low:.2f}".replace("0.", ".") in cells["test"][6]
    assert f"threshold {chosen.threshold:.3f}".replace("0.", ".") in rule
    assert chosen.reason in rule


def test_unlabeled_videos_have_no_columns_of_metrics(split_world) -> None:
    found = evaluate(*split_world.write(), split_world.videos, PLAN)
    table, _ = headline(found.verdicts, found.thresholds, [])
    assert table.splitlines()[0].endswith("| segments without prediction |")
