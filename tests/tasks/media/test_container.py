import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import ItemFault
from tasks.media.container import Container, parse_container
from tasks.media.ffmpeg import input_url

REPORT: dict[str, Any] = {
    "streams": [
        {
            "index": 0, "codec_name": "h264", "codec_type": "video", "width": 1920, "height": 1080,
            "r_frame_rate": "30000/1001", "avg_frame_rate": "0/0", "start_time": "0.080000",
            "duration": "12.345678", "nb_frames": "370",
            "disposition": {"default": 1, "attached_pic": 0},
            "tags": {"DURATION": "00:00:12.425000000", "handler_name": "VideoHandler"},
            "side_data_list": [{"side_data_type": "Display Matrix", "rotation": -90}],
        },
        {
            "index": 1, "codec_name": "aac", "codec_type": "audio", "sample_rate": "48000",
            "start_time": "0.000000", "duration": "12.352000", "disposition": {"default": 1},
        },
        {"index": 2, "codec_tag_string": "[0][0][0][0]", "start_time": "N/A"},
    ],
    "format": {
        "format_name": "mov,mp4,m4a", "start_time": "0.000000", "duration": "12.425000",
    },
}  # fmt: skip
ODD_VALUES = [
    None, True, "", "N/A", "0/0", "1/0", "-1", "nan", "inf", "1e999", "00:08.000", "00:08", "\x00",
    "1:00:00,5", "99:99:99", "é\u202e", -1, 0, 1e300, float("nan"), 1 << 70, [], [[[]]], {}, [None],
]  # fmt: skip

json_values = st.recursive(
    st.sampled_from(ODD_VALUES) | st.text(max_size=20) | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def parse(report: Any) -> Container:
    return parse_container(json.dumps(report).encode())


def stream(**fields: Any) -> Any:
    return parse({"streams": [fields]}).streams[0]


def slots(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every (parent, key) of a JSON tree."""
    keys = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in list(keys):
        yield node, key
        yield from slots(node[key])


@pytest.fixture(scope="module")
def real_reports(video: Callable[[str], Path]) -> list[bytes]:
    """Return what ffprobe writes for a few files."""
    names = ("many-streams.mp4", "b-frames.mkv", "untyped-stream.ts", "rotated.mp4")
    command = ["ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json"]
    return [
        subprocess.run(
            [*command, input_url(video(name))], check=True, stdout=subprocess.PIPE, timeout=60
        ).stdout
        for name in names
    ]


def mutate(draw: st.DrawFn, report: Any) -> Any:
    """Replace, remove or rename a few values of a report, at any depth."""
    for _ in range(draw(st.integers(1, 6))):
        parent, key = draw(st.sampled_from(list(slots(report)) or [(report, "streams")]))
        action = draw(st.sampled_from(["replace", "replace", "remove", "upper"]))
        if action == "replace":
            parent[key] = draw(json_values)
        elif isinstance(parent, dict) and key in parent:
            value = parent.pop(key)
            if action == "upper":
                parent[key.upper()] = value
    return report


def check_usable(container: Container) -> None:
    """Every value that the pipeline reads has its type and a possible value."""
    assert all(isinstance(name, str) for name in container.format.names)
    for seconds in (container.format.duration, *(s.own_seconds for s in container.streams)):
        assert seconds is None or 0 <= seconds <= 1e7
    for each in container.streams:
        assert each.num_pixels >= 0
        assert sorted(each.displayed_size) == sorted((each.width or 0, each.height or 0))
        assert each.r_frame_rate is None or 0 < each.r_frame_rate < 1e7
        assert each.nb_frames is None or each.nb_frames >= 0
        assert each.start_time is None or abs(each.start_time) <= 1e11
        assert {each.is_default, each.is_cover_art} <= {True, False}
    kinds = [each.codec_type for each in container.streams]
    assert len(container.streams_of("video")) == kinds.count("video")


@settings(max_examples=200)
@given(st.data())
def test_any_mutation_of_a_real_report_is_parsed_to_possible_values(real_reports, data):
    report = json.loads(data.draw(st.sampled_from(real_reports)))
    check_usable(parse(mutate(data.draw, report)))


@given(json_values)
def test_any_json_is_parsed_or_is_a_fault(report):
    with contextlib.suppress(ItemFault):
        check_usable(parse(report))


@given(st.data())
def test_any_damaged_bytes_are_parsed_or_are_a_fault(real_reports, data):
    output = bytearray(data.draw(st.sampled_from(real_reports)))
    for _ in range(data.draw(st.integers(1, 4))):
        output[data.draw(st.integers(0, len(output) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ItemFault):
        check_usable(parse_container(bytes(output)))


def test_real_reports_are_read_completely(real_reports):
    for output in real_reports:
        container = parse_container(output)
        num_streams = output.count(b'"index"')
        assert len(container.streams) == num_streams
        assert container.streams_of("video")[0].num_pixels > 0
        assert all(s.own_seconds or not s.codec_type for s in container.streams)


@pytest.mark.parametrize("output", [b"[" * 100_000, b'{"streams": [', b"\xff\xfe", b"9" * 9_000])
def test_output_that_is_not_json_is_a_fault(output):
    with pytest.raises(ItemFault, match="cannot be parsed"):
        parse_container(output)


def test_no_output_is_a_container_without_streams():
    container = parse_container(b"")
    assert (container.streams, container.format.names) == ((), frozenset())


def test_a_usual_report_is_read_as_it_is():
    container = parse(REPORT)
    video, audio, unknown = container.streams
    assert container.format.names == {"mov", "mp4", "m4a"}
    assert (video.width, video.height, video.displayed_size) == (1920, 1080, (1080, 1920))
    assert (video.own_seconds, audio.own_seconds, unknown.own_seconds) == (12.345678, 12.352, None)
    assert (video.nb_frames, video.start_time) == (370, 0.08)
    assert video.r_frame_rate == pytest.approx(29.97, abs=0.001)
    assert (video.is_default, video.is_cover_art, unknown.is_default) == (True, False, False)


def test_a_stream_without_a_type_keeps_the_numbers_of_the_others():
    streams = [{"index": 0}, "?", {"codec_type": "audio"}, None, {"codec_type": "audio"}]
    container = parse({"streams": streams})
    assert len(container.streams) == 5
    assert len(container.streams_of("audio")) == 2
    assert container.streams_of("video") == []


@pytest.mark.parametrize(
    ("tag", "seconds"),
    [
        ("00:00:12.345000000", 12.345), ("00:08.000", 8), ("00:08", 8), ("8.5", 8.5),
        ("1:00:00,5", 3600.5), (" 01:02:03 ", 3723), ("100:00:00", 360_000),
        ("", None), ("N/A", None), ("a:b:c", None), ("00:99", None), ("99:00:00.5.5", None),
        ("-00:00:08", None), ("nan", None), (8, None), (["00:08"], None), ("999999:00:00", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["DURATION", "duration", "Duration"])
def test_a_tagged_length_is_read_in_all_forms_that_programs_write(name, tag, seconds):
    assert stream(tags={name: tag}).own_seconds == seconds


def test_a_tagged_length_is_when_the_stream_ends():
    tags = {"DURATION": "00:00:10.000"}
    assert stream(tags=tags, start_time="4").own_seconds == 6
    assert stream(tags=tags, start_time="40").own_seconds is None
    assert stream(tags=tags, start_time="40", duration="6").own_seconds == 6


@pytest.mark.parametrize("value", ["N/A", "", "-3", -3, "nan", float("inf"), 1e300, True, [3], {}])
def test_an_impossible_length_is_unknown(value):
    assert stream(duration=value).own_seconds is None


@pytest.mark.parametrize("value", ["0/0", "1/0", "0/1", "25/x", "-25/1", "1e9", 25, None, "1/2/3"])
def test_an_impossible_rate_is_unknown(value):
    assert stream(r_frame_rate=value).r_frame_rate is None


@pytest.mark.parametrize("value", [None, 0, -4, "wide", 1e9, "1920.5"])
def test_a_stream_without_a_possible_size_has_no_pixels(value):
    assert stream(width=value, height=4).num_pixels == 0
