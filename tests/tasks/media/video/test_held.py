import av
import numpy as np
import pytest

from tasks.media.plan import plan_segments
from tasks.media.video.command import HOLD_RATE, video_name
from tasks.media.video.held import num_repeats
from tasks.media.video.verify import read_times


@pytest.mark.parametrize("max_segment_ms", [700, 999, 5_000])
def test_repeats_last_until_the_end_of_the_segment_and_not_longer(max_segment_ms):
    for segment in plan_segments([0.0, 0.04], 30.0, max_segment_ms)[2:]:
        length_ms = segment.end_ms - segment.start_ms
        last_ms = (num_repeats(segment) - 1) * 1000 / HOLD_RATE
        assert last_ms < length_ms <= last_ms + 1000 / HOLD_RATE


def test_a_held_segment_repeats_the_last_frame_before_it(cut_once):
    video_cut = cut_once("still-for-seconds.mkv")
    images = []
    for segment in video_cut.result.plan[:3]:
        path = video_cut.folder / video_name(segment.index)
        with av.open(str(path)) as container:
            images.append([f.to_ndarray(format="gray") for f in container.decode(video=0)])
        if segment.is_held:
            expected = [n / HOLD_RATE for n in range(num_repeats(segment))]
            assert read_times(path) == pytest.approx(expected, abs=1e-4)
    assert [segment.is_held for segment in video_cut.result.plan[:4]] == [False, True, True, False]
    for image in images[1] + images[2]:
        assert np.abs(image - images[0][-1].astype(int)).mean() < 3
