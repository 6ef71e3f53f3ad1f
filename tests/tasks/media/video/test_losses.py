from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import ItemFault
from tasks.media.video.damage import Damage
from tasks.media.video.losses import check_decoding, count_lost
from tasks.processes.tool import ToolLimits

LIMITS = ToolLimits(seconds=60, memory_mb=512)
TIMES = [n / 25 for n in range(200)]
INTACT = Damage(num_frames=100, num_damaged=0, cause="", out_of_memory=False)


@given(st.sets(st.integers(1, 198), max_size=60))
def test_listed_frames_that_do_not_decode_are_lost(numbers):
    decoded = [time for n, time in enumerate(TIMES) if n not in numbers]
    assert count_lost(TIMES, decoded) == len(numbers)


@pytest.mark.parametrize(("first", "end"), [(0, 200), (12, 200), (0, 150), (40, 160)])
def test_frames_lost_at_the_start_or_end_are_counted(first, end):
    assert count_lost(TIMES, TIMES[first:end]) == 200 - (end - first)


def fields_of(times: list[float], second_after: float) -> list[float]:
    """List two packets for each frame, the second one so many seconds after the first."""
    return sorted([*times, *(time + second_after for time in times)])


@pytest.mark.parametrize("start", [0, 0.005, 1.405333])
@pytest.mark.parametrize("rate", [25, 30_000 / 1001, 50])
@pytest.mark.parametrize("second_after", [0.5, 1])
@pytest.mark.parametrize("num_frames", [3, 13, 150])
def test_two_packets_per_frame_are_no_loss(start, rate, second_after, num_frames):
    frames = [start + n / rate for n in range(num_frames)]
    assert count_lost(fields_of(frames, second_after / rate), frames) == 0


@pytest.mark.parametrize("second_after", [0.02, 0.04])
@pytest.mark.parametrize(("lost_from", "lost_to"), [(0, 4), (50, 60), (199, 200), (180, 200)])
def test_lost_frames_of_two_packets_count_once(second_after, lost_from, lost_to):
    decoded = TIMES[:lost_from] + TIMES[lost_to:]
    assert count_lost(fields_of(TIMES, second_after), decoded) == lost_to - lost_from


@given(st.sets(st.integers(0, 199), min_size=1), st.sets(st.integers(1, 198), max_size=60))
def test_lost_frames_count_once_where_some_frames_are_two_packets(of_fields, numbers):
    listed = sorted([*TIMES, *(TIMES[n] + 0.02 for n in of_fields)])
    decoded = [time for n, time in enumerate(TIMES) if n not in numbers]
    assert count_lost(listed, TIMES) == 0
    assert abs(count_lost(listed, decoded) - len(numbers)) <= 0.25 * len(numbers)


def test_packets_that_are_not_displayed_are_no_loss():
    hidden = [time - 0.001 for time in TIMES[10::16]]
    assert count_lost(sorted(TIMES + hidden), TIMES) == 0


def test_frames_on_a_clock_that_ffmpeg_continued_are_no_loss():
    jumped = TIMES[:100] + [time + 9_000 for time in TIMES[100:]]
    assert count_lost(jumped, TIMES) == 0
    restarted = sorted(TIMES[:100] * 2)
    assert count_lost(restarted, TIMES) == 0


def test_damaged_and_lost_frames_count_together():
    assert check_decoding(0, INTACT, 0.9, LIMITS) == []
    some = replace(INTACT, num_damaged=4, cause="bad")
    assert check_decoding(0, some, 0.9, LIMITS) == ["4 of 100 frames are damaged (ffmpeg: bad)"]
    assert check_decoding(6, replace(some, num_frames=94), 0.9, LIMITS) == [
        "10 of 100 frames are damaged, 6 of them do not decode (ffmpeg: bad)"
    ]
    with pytest.raises(ItemFault, match="damaged: 11 of 100 frames are damaged, 7 of them"):
        check_decoding(7, replace(some, num_frames=93), 0.9, LIMITS)
    with pytest.raises(ItemFault, match="the 512 MiB allowed"):
        check_decoding(20, replace(some, num_frames=80, out_of_memory=True), 0.9, LIMITS)
