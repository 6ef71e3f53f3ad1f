from itertools import pairwise

import pytest

from storage.errors import FramesFault
from tasks.media.ffmpeg import run_ffmpeg
from tasks.media.plan import plan_segments
from tasks.media.probe import probe
from tasks.media.video.command import LIST_NAME, cut_command, part_name, video_name
from tasks.media.video.verify import check_held_frames, check_written_frames, read_times
from tasks.processes.tool import ToolLimits

LIMITS = ToolLimits(seconds=60, memory_mb=4096)
TIMES = tuple(n / 10 for n in range(100))


def check(plan, times, folder, max_segment_ms=5_000) -> None:
    check_written_frames(plan, times, folder, max_segment_ms=max_segment_ms, cause="bad")


def test_segments_that_were_not_written_are_a_fault_with_the_decoders_message(tmp_path):
    plan = plan_segments(TIMES, 10.0, 5_000)
    message = r"damaged: 0 of 100 frames could be decoded into 0 of 2 segments \(ffmpeg: bad\)"
    with pytest.raises(FramesFault, match=message):
        check(plan, TIMES, tmp_path)


@pytest.fixture(scope="module")
def written(video, tmp_path_factory):
    """A source of 50 frames per second, and its written segments of at most 2 s."""
    source = probe(video("fifty.mp4"), limits=LIMITS)
    folder = tmp_path_factory.mktemp("written")
    plan = plan_segments(source.frame_times, source.end_time, 2_000)
    first_frames = [segment.first_frame for segment in plan]
    run_ffmpeg(cut_command(source, first_frames, size=(64, 48), crf=30), folder, LIMITS)
    for segment in plan:
        (folder / part_name(segment.index)).rename(folder / video_name(segment.index))
    return source, plan, folder


def test_frames_that_were_written_at_their_times_pass(written):
    source, plan, folder = written
    check(plan, source.frame_times, folder)


@pytest.mark.parametrize("late", [0, 1, 90, 100, 264])
def test_a_frame_at_another_time_than_planned_is_a_fault(written, late):
    source, plan, folder = written
    times = [time + 0.003 * (n >= late > 0) for n, time in enumerate(source.frame_times)]
    if late == 0:
        check(plan, times, folder)
        return
    with pytest.raises(FramesFault, match="the clock of the video is not continuous"):
        check(plan, times, folder)


def test_a_part_that_starts_late_is_a_fault_though_times_within_it_are_right(written, tmp_path):
    source, plan, folder = written
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    rows = (tmp_path / LIST_NAME).read_text().splitlines()
    name, start, end = rows[1].split(",")
    rows[1] = f"{name},{float(start) + 2},{float(end) + 2}"
    (tmp_path / LIST_NAME).write_text("\n".join(rows) + "\n")
    with pytest.raises(FramesFault, match="not continuous"):
        check(plan, source.frame_times, tmp_path)


def test_a_written_segment_that_is_too_long_is_a_fault_even_if_planned(written):
    source, plan, folder = written
    with pytest.raises(FramesFault, match=r"written over 1\.\d+ s, longer than 1000 ms"):
        check(plan, source.frame_times, folder, max_segment_ms=1_000)


def test_a_held_segment_that_was_not_written_is_a_fault(tmp_path):
    plan = plan_segments([0.0, 0.04], 9.0, 5_000)
    with pytest.raises(FramesFault, match="stands still from 4500 ms on was not written"):
        check_held_frames(plan, tmp_path, 5_000)


def test_times_of_a_written_file_are_read_in_order(written):
    _, plan, folder = written
    times = read_times(folder / video_name(0))
    assert len(times) == plan[0].num_frames
    assert [b - a for a, b in pairwise(times)] == pytest.approx([0.02] * (len(times) - 1))


def test_file_that_is_not_a_segment_has_no_frames(video, tmp_path):
    assert read_times(video("audio-only.m4a")) == ()
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").touch()
    names = ["text.mp4", "empty.mp4", "missing.mp4"]
    assert [read_times(tmp_path / name) for name in names] == [(), (), ()]
