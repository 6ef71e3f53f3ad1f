from xml.etree import ElementTree

from tasks.svg import element, image, line, polyline


def test_attributes_are_named_as_in_svg_and_floats_rounded() -> None:
    rendered = element("rect", class_="bar", stroke_width=1.25, x=3)
    assert rendered == '<rect class="bar" stroke-width="1.2" x="3"/>'
    assert line(0, 1.0, 2, 3.04) == '<line x1="0" y1="1.0" x2="2" y2="3.0"/>'


def test_text_and_attributes_are_escaped_and_nested_elements_kept() -> None:
    title = element("title", "a <b> & c")
    rendered = element("g", title, aria_label='"x"')
    assert rendered == '<g aria-label="&#34;x&#34;"><title>a &lt;b&gt; &amp; c</title></g>'


def test_an_image_is_well_formed_and_has_its_size() -> None:
    root = ElementTree.fromstring(image(96.0, 14.5, polyline([(0, 0), (1, 2)], stroke="red")))
    assert (root.get("viewBox"), root.get("width"), root.get("height")) == (
        "0 0 96 14.5", "96", "14.5",
    )  # fmt: skip
    assert root[0].get("points") == "0.0,0.0 1.0,2.0"
