import re

import pytest

from tasks.media.probe import probe
from tasks.media.video.command import cut_command, video_name
from tasks.processes.tool import ToolLimits

LIMITS = ToolLimits(seconds=60)


def value(command: list[str], option: str) -> str:
    return command[command.index(option) + 1]


def test_one_call_writes_the_videos_of_all_segments(video):
    source = probe(video("cfr25.mp4"), limits=LIMITS)
    command = cut_command(source, [0, 100, 200], size=(160, 120), crf=30)
    assert command[0] == "ffmpeg"
    assert value(command, "-segment_frames") == "100,200"
    assert value(command, "-force_key_frames") == "expr:eq(n,100)+eq(n,200)"
    assert value(command, "-crf") == "30"


def test_files_are_named_by_the_segments_index():
    assert video_name(7) == "0007.mp4"


@pytest.mark.parametrize("count", [2, 17, 18, 500])
def test_key_frames_are_forced_at_first_frames_and_nowhere_else(video, count):
    starts = [0, *sorted({7 * k + k % 3 for k in range(1, count)})]
    source = probe(video("one-frame.mp4"), limits=LIMITS)
    command = cut_command(source, starts, size=(160, 120), crf=23)
    expression = value(command, "-force_key_frames").removeprefix("expr:")
    # ffmpeg's functions in Python, to evaluate the expression itself.
    is_forced = eval(
        "lambda n: " + re.sub(r"\bif\(", "when(", expression),
        {
            "eq": lambda a, b: a == b,
            "lt": lambda a, b: a < b,
            "when": lambda c, a, b: a if c else b,
        },
    )
    near = {start + by for start in starts for by in (-1, 0, 1)}
    assert [n for n in sorted(near) if is_forced(n)] == starts[1:]


def test_expression_is_not_nested_deeper_than_ffmpeg_parses(video):
    source = probe(video("one-frame.mp4"), limits=LIMITS)
    command = cut_command(source, list(range(0, 30_000, 10)), size=(160, 120), crf=23)
    depth = deepest = 0
    for letter in value(command, "-force_key_frames"):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        deepest = max(deepest, depth)
    assert deepest < 20
    assert max(map(len, command)) < 128 * 1024
