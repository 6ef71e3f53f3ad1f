import pytest

from tasks.media.video.frame_size import FrameSize, output_size, sizes_in_log

GRAPH = "[graph 0 input from stream 0:0 @ 0x55] [verbose] "


@pytest.mark.parametrize(
    ("width", "height", "pixel_aspect", "expected"),
    [
        (1280, 720, 1.0, (448, 252)),
        (720, 1280, 1.0, (252, 448)),
        (161, 121, 1.0, (162, 122)),
        (160, 120, 2.0, (320, 120)),
        (720, 576, 16 / 11, (448, 246)),
        (2, 1, 1.0, (2, 2)),
        (1000, 1, 1.0, (448, 2)),
    ],
)
def test_output_is_even_with_square_pixels_and_not_too_long(width, height, pixel_aspect, expected):
    size = FrameSize(width=width, height=height, pixel_aspect=pixel_aspect)
    assert output_size(size, 448) == expected


def test_sizes_are_read_from_the_log_once_each_after_rotation():
    lines = [
        "[info] Input #0, matroska,webm, from 'w:1 h:2.webm':",
        GRAPH + "w:320 h:240 pixfmt:yuv420p tb:1/1000 fr:25/1 sar:1/1",
        GRAPH + "w:640 h:360 pixfmt:yuv420p tb:1/1000 fr:25/1 sar:0/1",
        GRAPH + "w:320 h:240 pixfmt:yuv422p tb:1/1000 fr:25/1 sar:1/1",
        GRAPH + "w:720 h:576 pixfmt:yuv420p tb:1/1000 fr:25/1 sar:16/11",
    ]
    sizes = sizes_in_log(lines, is_turned=False)
    assert list(map(str, sizes)) == ["320x240", "640x360", "720x576"]
    assert sizes[2].pixel_aspect == pytest.approx(16 / 11)
    turned = sizes_in_log(lines, is_turned=True)
    assert list(map(str, turned)) == ["240x320", "360x640", "576x720"]
    assert turned[2].pixel_aspect == pytest.approx(11 / 16)
