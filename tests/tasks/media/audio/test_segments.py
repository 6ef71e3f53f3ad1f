from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.media.audio.segments import plan_audio_only, plan_tail, write_segments
from tasks.media.audio.timeline import covered_by
from tasks.media.audio.wav import read_audio
from tasks.media.plan import plan_segments
from tests.tasks.media.audio.conftest import build_decoded_audio

S = 16_000
VIDEO = tuple(plan_segments([k / 10 for k in range(60)], 6.0, 5_000))


def times(plan):
    return [(segment.index, segment.start_ms, segment.end_ms) for segment in plan]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([(0, 6 * S)], []),
        ([(0, 6 * S + S // 2)], []),
        ([(0, 18 * S)], [(2, 6_000, 10_000), (3, 10_000, 14_000), (4, 14_000, 18_000)]),
        ([(0, 3 * S), (15 * S, 18 * S)], [(2, 15_000, 18_000)]),
        ([(0, 6 * S), (6 * S + 4_000, 9 * S)], [(2, 6_000, 9_000)]),
        (
            [(0, 9 * S), (12 * S, 14 * S), (20 * S, 20 * S + 900)],
            [(2, 6_000, 9_000), (3, 12_000, 14_000)],
        ),
        ([(20_000 * S, 20_009 * S)], []),
    ],
)  # fmt: skip
def test_audio_after_the_last_frame_is_split_like_audio_without_video(
    decoded_audio, spans, expected
):
    tail = plan_tail(VIDEO, decoded_audio(*spans), 5_000)
    assert times(tail) == expected
    assert {(s.num_frames, s.first_frame) for s in tail} <= {(0, 60)}


def test_ten_minutes_of_audio_after_the_last_frame_are_kept(decoded_audio):
    tail = plan_tail(VIDEO, decoded_audio((0, 700 * S), levels_of=[]), 5_000)
    assert (tail[0].start_ms, tail[-1].end_ms, len(tail)) == (6_000, 606_000, 120)


@given(
    st.lists(st.integers(1, 9 * S), min_size=2, max_size=12),
    st.integers(500, 6_000),
    st.lists(st.integers(0, 40_000), max_size=3),
)
def test_audio_only_segments_are_sorted_disjoint_short_and_cover_what_decoded(
    lengths, max_segment_ms, points
):
    bounds = np.cumsum(lengths).tolist()
    spans = list(zip(bounds[::2], bounds[1::2], strict=False))
    audio = build_decoded_audio(*spans)
    plan = plan_audio_only(audio, max_segment_ms, points)
    assert [segment.index for segment in plan] == list(range(len(plan)))
    for segment in plan:
        assert 0 < segment.end_ms - segment.start_ms <= max_segment_ms
        assert abs(segment.first_sample - 16 * segment.start_ms) == 0
        assert 0 <= 16 * segment.end_ms - segment.end_sample < 16
    for before, after in pairwise(plan):
        assert before.end_sample <= after.first_sample
    planned = [(segment.first_sample, segment.end_sample) for segment in plan]
    assert all(covered_by(planned, a, b) == b - a for a, b in audio.present)


def test_segment_of_which_most_audio_is_missing_has_none(decoded_audio, tmp_path):
    audio = decoded_audio((0, 4 * S), (5 * S, 6 * S))
    written = write_segments(VIDEO, audio, tmp_path)
    assert [its.is_written for its in written] == [True, True]
    audio = decoded_audio((0, 4 * S))
    written = write_segments(VIDEO, audio, tmp_path)
    assert [its.is_written for its in written] == [True, False]
    assert [round(its.quality.decoded_fraction, 3) for its in written] == [1, 0.333]


def test_gaps_in_a_written_segment_are_silent(decoded_audio, tmp_path):
    audio = decoded_audio((0, S), (2 * S, 6 * S))
    write_segments(VIDEO, audio, tmp_path)
    first = read_audio(tmp_path / "0000.wav")
    assert not first[S : 2 * S].any()
    assert np.array_equal(first[2 * S :], audio.timeline.read(2 * S, 3 * S))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0000.wav", "0001.wav"]
