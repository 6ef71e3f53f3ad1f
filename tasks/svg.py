"""Elements of small SVG images, as markup that can be inlined in HTML."""

from collections.abc import Iterable

from markupsafe import Markup, escape


def element(name: str, *content: str, **attributes: object) -> Markup:
    """Return an element with escaped attributes and text; nested elements are kept as they are.

    An underscore in an attribute's name stands for a hyphen, and one at its end is dropped
    (``class_``, ``stroke_width``). Floats are rounded to a tenth of a pixel.
    """
    rendered = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_format(value)}"'
        for key, value in attributes.items()
    )
    if not content:
        return Markup(f"<{name}{rendered}/>")
    return Markup(f"<{name}{rendered}>{''.join(map(escape, content))}</{name}>")


def image(width: float, height: float, *content: str, **attributes: object) -> Markup:
    """Return an image of this size in pixels."""
    box = {"viewBox": f"0 0 {width:g} {height:g}", "width": f"{width:g}", "height": f"{height:g}"}
    return element("svg", *content, **attributes, **box)


def line(x1: float, y1: float, x2: float, y2: float, **attributes: object) -> Markup:
    """Return a straight line between two points."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, **attributes)


def polyline(points: Iterable[tuple[float, float]], **attributes: object) -> Markup:
    """Return a line through these points."""
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return element("polyline", points=corners, fill="none", **attributes)


def _format(value: object) -> Markup:
    return escape(f"{value:.1f}" if isinstance(value, float) else value)
