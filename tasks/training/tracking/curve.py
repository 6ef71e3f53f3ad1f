"""A training's curve: from the child process to the parent through a file, and as Markdown."""

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from storage.results import TrainingStepRecord

_MAX_POINTS = 300
_MAX_TABLE_ROWS = 12
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 720.0, 260.0, 52.0, 24.0, 34.0
_COLOURS = {"loss": "#4a78b5", "validation loss": "#c4622d"}

Points = list[tuple[int, float]]


@dataclass(slots=True, kw_only=True)
class Curve:
    """The steps made so far of ``num_steps``."""

    num_steps: int = 0
    rows: list[TrainingStepRecord] = field(default_factory=list)

    @property
    def percent(self) -> float:
        """How much of the training is done, in [0, 100]."""
        return 100 * self.rows[-1].step / self.num_steps if self.rows else 0.0


def write_curve(curve: Curve, path: Path) -> None:
    """Write a curve so that no reader finds half of it; of many steps, some hundred."""
    rows = [asdict(row) for row in _thinned(curve.rows)]
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps({"num_steps": curve.num_steps, "rows": rows}), "utf-8")
    unfinished.replace(path)


def read_curve(path: Path) -> Curve | None:
    """Read a curve; ``None`` before there is one."""
    if not path.is_file():
        return None
    written = json.loads(path.read_bytes())
    rows = [TrainingStepRecord(**row) for row in written["rows"]]
    return Curve(num_steps=written["num_steps"], rows=rows)


def _thinned(rows: Sequence[TrainingStepRecord]) -> list[TrainingStepRecord]:
    """Keep every so many steps, every measured one, and the last."""
    stride = -(-len(rows) // _MAX_POINTS) or 1
    last = len(rows) - 1
    return [
        row
        for index, row in enumerate(rows)
        if index % stride == 0 or index == last or row.val_loss is not None
    ]


def as_markdown(curve: Curve) -> str:
    """Show a curve: where it stands, the loss drawn, the last measurements in a table."""
    if not curve.rows:
        return "No step yet."
    last = curve.rows[-1]
    image = base64.b64encode(draw(curve).encode()).decode()
    lines = [
        f"Step {last.step} of {curve.num_steps}, loss {last.loss:.4f}.",
        "",
        f"![loss by step](data:image/svg+xml;base64,{image})",
    ]
    measured = [row for row in curve.rows if row.val_loss is not None]
    if measured:
        lines += ["", "| step | loss | validation loss | macro F1 | average precision |",
                  "|---|---|---|---|---|"]  # fmt: skip
        lines += [_table_row(row) for row in measured[-_MAX_TABLE_ROWS:]]
    return "\n".join(lines)


def _table_row(row: TrainingStepRecord) -> str:
    figures = (row.loss, row.val_loss, row.val_macro_f1, row.val_average_precision)
    shown = ("–" if value is None else f"{value:.4f}" for value in figures)
    return f"| {row.step} | {' | '.join(shown)} |"


def draw(curve: Curve) -> str:
    """Draw training and validation loss by step as an SVG image that needs nothing around it."""
    rows = _thinned(curve.rows)
    series: dict[str, Points] = {
        "loss": [(row.step, row.loss) for row in rows],
        "validation loss": [(row.step, row.val_loss) for row in rows if row.val_loss is not None],
    }
    top = max(value for points in series.values() for _, value in points) or 1.0
    location = _placer(curve.num_steps, top)
    parts = [*_frame(curve.num_steps, top, location)]
    for index, (name, points) in enumerate(series.items()):
        parts += _line(points, _COLOURS[name], location)
        parts.append(_text(_LEFT + 140 * index, 14, name, _COLOURS[name]))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" '
        f'width="{_WIDTH:g}" height="{_HEIGHT:g}" font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>'
    )


def _placer(num_steps: int, top: float) -> Callable[[float, float], tuple[float, float]]:
    """Give what turns a step and a loss into a place on the image."""
    width, height = _WIDTH - _LEFT - 12, _HEIGHT - _TOP - _BOTTOM

    def location(step: float, loss: float) -> tuple[float, float]:
        return _LEFT + width * step / max(num_steps, 1), _TOP + height * (1 - loss / top)

    return location


def _frame(
    num_steps: int, top: float, location: Callable[[float, float], tuple[float, float]]
) -> Iterable[str]:
    for share in (0.0, 0.5, 1.0):
        left, y = location(0, share * top)
        right, _ = location(num_steps, 0)
        yield f'<path d="M{left:.1f} {y:.1f}H{right:.1f}" stroke="#d0d0d0" fill="none"/>'
        yield _text(left - 8, y + 4, f"{share * top:.3g}", "#555555", "end")
        x, bottom = location(share * num_steps, 0)
        yield _text(x, bottom + 18, f"{round(share * num_steps)}", "#555555", "middle")


def _line(
    points: Points, colour: str, location: Callable[[float, float], tuple[float, float]]
) -> Iterable[str]:
    corners = [location(step, value) for step, value in points]
    if len(corners) > 1:
        shown = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
        yield f'<polyline points="{shown}" stroke="{colour}" stroke-width="1.6" fill="none"/>'
    elif corners:
        yield f'<circle cx="{corners[0][0]:.1f}" cy="{corners[0][1]:.1f}" r="2.5" fill="{colour}"/>'


def _text(x: float, y: float, text: str, colour: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">{text}</text>'
