import base64
import re
import xml.etree.ElementTree as ElementTree

import pytest

from storage.results import TrainingStepRecord
from tasks.training.tracking.curve import Curve, as_markdown, draw, read_curve, write_curve
from tests.builders import a_training_step


def row(step: int, loss: float = 1.0, **evaluated: float) -> TrainingStepRecord:
    return a_training_step(step, loss=loss, **evaluated)


CURVE = Curve(
    num_steps=10,
    rows=[row(1, 3.0), row(2, 2.0, val_loss=2.5, val_macro_f1=0.5), row(3, 1.0), row(4, 0.5)],
)


def test_a_curve_round_trips_through_its_file_and_is_none_before(tmp_path):
    path = tmp_path / "curve.json"
    assert read_curve(path) is None
    write_curve(CURVE, path)
    assert read_curve(path) == CURVE
    assert [each.name for each in tmp_path.iterdir()] == ["curve.json"]


def test_a_long_curve_is_thinned_but_keeps_evaluated_steps_and_the_last(tmp_path):
    rows = [row(s, val_loss=1.0) if s % 999 == 0 else row(s) for s in range(1, 5001)]
    write_curve(Curve(num_steps=5000, rows=rows), tmp_path / "curve.json")
    kept = [each.step for each in read_curve(tmp_path / "curve.json").rows]
    assert 100 < len(kept) < 400
    assert {1, 999, 1998, 2997, 3996, 4995, 5000} <= set(kept)


def test_the_percentage_is_that_of_the_last_step():
    assert CURVE.percent == pytest.approx(40)
    assert Curve(num_steps=10).percent == 0


def test_the_markdown_contains_the_plot_and_the_evaluations():
    text = as_markdown(CURVE)
    assert text.startswith("Step 4 of 10, loss 0.5000.")
    assert "| 2 | 2.0000 | 2.5000 | 0.5000 | – |" in text
    assert "| 3 |" not in text
    (image,) = re.findall(r"data:image/svg\+xml;base64,([^)]*)\)", text)
    assert base64.b64decode(image).decode() == draw(CURVE)
    assert as_markdown(Curve()) == "No step yet."


def test_the_plot_draws_losses_by_step_and_height():
    root = ElementTree.fromstring(draw(CURVE))
    (line,) = [part for part in root if part.tag.endswith("polyline")]
    corners = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    xs, ys = zip(*corners, strict=True)
    assert list(xs) == sorted(xs)
    assert list(ys) == sorted(ys)  # the loss falls: down is a greater y
    assert ys[0] == pytest.approx(24)  # the highest loss touches the top
    (dot,) = [part for part in root if part.tag.endswith("circle")]  # a single evaluation
    assert float(dot.attrib["cx"]) == pytest.approx(xs[1])
