"""A training's loss curve, as a file from the child process to the parent and as Markdown."""

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from markupsafe import Markup

from storage.results import TrainingStepRecord
from storage.store.atomic import atomic_file
from tasks import svg

_MAX_POINTS = 300
_MAX_TABLE_ROWS = 12
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 720.0, 260.0, 52.0, 24.0, 34.0
_COLORS = {"loss": "#4a78b5", "validation loss": "#c4622d"}

Points = list[tuple[int, float]]
ToPixels = Callable[[float, float], tuple[float, float]]


@dataclass(slots=True, kw_only=True)
class Curve:
    """The finished steps out of ``num_steps``."""

    num_steps: int = 0
    rows: list[TrainingStepRecord] = field(default_factory=list)

    @property
    def percent(self) -> float:
        """The progress of the training, in [0, 100]."""
        return 100 * self.rows[-1].step / self.num_steps if self.rows else 0.0


def write_curve(curve: Curve, path: Path) -> None:
    """Write a curve atomically, reduced to a few hundred steps."""
    rows = [asdict(row) for row in _thinned(curve.rows)]
    with atomic_file(path, flush=False) as temporary:
        temporary.write_text(json.dumps({"num_steps": curve.num_steps, "rows": rows}), "utf-8")


def read_curve(path: Path) -> Curve | None:
    """Read a curve; ``None`` if the file does not exist yet."""
    if not path.is_file():
        return None
    written = json.loads(path.read_bytes())
    rows = [TrainingStepRecord(**row) for row in written["rows"]]
    return Curve(num_steps=written["num_steps"], rows=rows)


def _thinned(rows: Sequence[TrainingStepRecord]) -> list[TrainingStepRecord]:
    """Keep steps at regular intervals, all evaluated ones, and the last."""
    stride = -(-len(rows) // _MAX_POINTS) or 1
    last = len(rows) - 1
    return [
        row
        for index, row in enumerate(rows)
        if index % stride == 0 or index == last or row.val_loss is not None
    ]


def as_markdown(curve: Curve) -> str:
    """Format a curve: the last step, a plot of the loss, and a table of the last evaluations."""
    if not curve.rows:
        return "No step yet."
    last = curve.rows[-1]
    image = base64.b64encode(draw(curve).encode()).decode()
    lines = [
        f"Step {last.step} of {curve.num_steps}, loss {last.loss:.4f}.",
        "",
        f"![loss by step](data:image/svg+xml;base64,{image})",
    ]
    evaluated = [row for row in curve.rows if row.val_loss is not None]
    if evaluated:
        lines += ["", "| step | loss | validation loss | macro F1 | average precision |",
                  "|---|---|---|---|---|"]  # fmt: skip
        lines += [_table_row(row) for row in evaluated[-_MAX_TABLE_ROWS:]]
    return "\n".join(lines)


def _table_row(row: TrainingStepRecord) -> str:
    metrics = (row.loss, row.val_loss, row.val_macro_f1, row.val_average_precision)
    cells = ("–" if value is None else f"{value:.4f}" for value in metrics)
    return f"| {row.step} | {' | '.join(cells)} |"


def draw(curve: Curve) -> str:
    """Draw training and validation loss by step as a self-contained SVG image."""
    rows = _thinned(curve.rows)
    series: dict[str, Points] = {
        "loss": [(row.step, row.loss) for row in rows],
        "validation loss": [(row.step, row.val_loss) for row in rows if row.val_loss is not None],
    }
    top = max(value for points in series.values() for _, value in points) or 1.0
    to_pixels = _scale(curve.num_steps, top)
    parts = [*_axes(curve.num_steps, top, to_pixels)]
    for index, (name, points) in enumerate(series.items()):
        parts += [_line(points, _COLORS[name], to_pixels)] if points else []
        parts.append(_text(_LEFT + 140 * index, 14, name, _COLORS[name]))
    background = svg.element("rect", width="100%", height="100%", fill="#ffffff")
    return svg.image(
        _WIDTH, _HEIGHT, background, *parts, xmlns="http://www.w3.org/2000/svg",
        font_family="sans-serif", font_size=12,
    )  # fmt: skip


def _scale(num_steps: int, top: float) -> ToPixels:
    """Return the function that maps a step and a loss to a point of the image."""
    width, height = _WIDTH - _LEFT - 12, _HEIGHT - _TOP - _BOTTOM

    def to_pixels(step: float, loss: float) -> tuple[float, float]:
        return _LEFT + width * step / max(num_steps, 1), _TOP + height * (1 - loss / top)

    return to_pixels


def _axes(num_steps: int, top: float, to_pixels: ToPixels) -> Iterator[Markup]:
    for fraction in (0.0, 0.5, 1.0):
        left, y = to_pixels(0, fraction * top)
        right, _ = to_pixels(num_steps, 0)
        yield svg.line(left, y, right, y, stroke="#d0d0d0")
        yield _text(left - 8, y + 4, f"{fraction * top:.3g}", "#555555", "end")
        x, bottom = to_pixels(fraction * num_steps, 0)
        yield _text(x, bottom + 18, f"{round(fraction * num_steps)}", "#555555", "middle")


def _line(points: Points, color: str, to_pixels: ToPixels) -> Markup:
    """Draw a series as a line, or a single point as a dot."""
    corners = [to_pixels(step, value) for step, value in points]
    if len(corners) > 1:
        return svg.polyline(corners, stroke=color, stroke_width=1.6)
    ((x, y),) = corners
    return svg.element("circle", cx=x, cy=y, r=2.5, fill=color)


def _text(x: float, y: float, text: str, color: str, anchor: str = "start") -> Markup:
    return svg.element("text", text, x=x, y=y, fill=color, text_anchor=anchor)
