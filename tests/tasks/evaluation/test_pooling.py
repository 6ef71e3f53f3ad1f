import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import StageError
from tasks.evaluation.pooling import open_segments

Pool = Callable[..., dict[str, list[float | None]]]
probabilities = st.floats(0, 1)
video_lists = st.lists(probabilities, min_size=1, max_size=9)
videos = st.lists(video_lists, min_size=1, max_size=6)
EXACT = 1e-12
MODEST = settings(deadline=None, max_examples=25)


def test_each_rule_on_an_example(pool: Pool) -> None:
    pooled = pool([[0.5, 0.1, 0.8]], top_k=2)
    assert pooled["any"] == [0.8]
    assert pooled["mean"] == pytest.approx([1.4 / 3])
    assert pooled["top_k_mean"] == pytest.approx([0.65])
    assert pooled["noisy_or"] == pytest.approx([1 - 0.5 * 0.9 * 0.2])


@MODEST
@given(videos=videos, top_k=st.integers(1, 12))
def test_pooled_values_are_probabilities_not_below_the_lowest_segment(
    pool: Pool, videos: list[list[float]], top_k: int
) -> None:
    for pooled in pool(videos, top_k).values():
        for video, p_ah in zip(videos, pooled, strict=True):
            assert min(video) - EXACT <= p_ah <= 1 + EXACT


@MODEST
@given(video=video_lists, data=st.data())
def test_raising_one_segment_never_lowers_the_video(
    pool: Pool, video: list[float], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(video) - 1))
    raised = [*video]
    raised[index] = data.draw(st.floats(video[index], 1))
    for before, after in pool([video, raised]).values():
        assert after >= before - EXACT


@MODEST
@given(video=video_lists, data=st.data())
def test_pooling_is_bitwise_independent_of_the_order_of_segments(
    pool: Pool, video: list[float], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(video))
    for first, second in pool([video, shuffled]).values():
        assert first == second


@MODEST
@given(videos=videos)
def test_pooled_values_are_ordered_by_rule(pool: Pool, videos: list[list[float]]) -> None:
    pooled = pool(videos, top_k=2)
    values = (pooled[rule] for rule in ("mean", "top_k_mean", "any", "noisy_or"))
    for mean, top, highest, noisy in zip(*values, strict=True):
        assert mean <= top + EXACT
        assert top <= highest + EXACT
        assert highest <= noisy + EXACT


@MODEST
@given(videos=videos)
def test_the_top_one_is_the_maximum_and_the_top_of_many_is_the_mean(
    pool: Pool, videos: list[list[float]]
) -> None:
    one, many = pool(videos, top_k=1), pool(videos, top_k=9)
    assert one["top_k_mean"] == one["any"]
    assert many["top_k_mean"] == pytest.approx(many["mean"], abs=EXACT)


@MODEST
@given(video=video_lists)
def test_noisy_or_agrees_with_the_direct_product(pool: Pool, video: list[float]) -> None:
    (pooled,) = pool([video])["noisy_or"]
    assert pooled == pytest.approx(1 - math.prod(1 - p for p in video), abs=EXACT)


def test_noisy_or_keeps_probabilities_too_small_for_one_minus_p(pool: Pool) -> None:
    assert pool([[1e-20, 2e-20, 0.0]])["noisy_or"] == pytest.approx([3e-20], rel=1e-9, abs=0)


def test_noisy_or_of_many_certain_segments_is_one(pool: Pool) -> None:
    pooled = pool([[1.0] * 50, [1.0, 0.0], [0.9999999] * 500])["noisy_or"]
    assert pooled == pytest.approx([1, 1, 1], abs=EXACT)


def test_missing_predictions_are_ignored_and_a_video_without_any_has_no_value(pool: Pool) -> None:
    for whole, holed, empty in pool([[0.2, 0.6], [None, 0.2, None, 0.6], [None]]).values():
        assert holed == whole
        assert empty is None


def test_a_video_has_counts_of_segments_and_predictions(world) -> None:
    world.add("a.mp4", [0.1, None, 0.3], split=None, label=1, participant="7", question=3)
    with open_segments(*world.write()) as segments:
        (video,) = segments.videos()
        rows = segments.segments()
    assert (video.num_segments, video.num_predicted, video.duration_ms) == (3, 2, 12_000)
    assert (video.split, video.label, video.cluster, video.question) == ("unsplit", 1, "7", 3)
    assert [row.p_ah for row in rows] == [0.1, None, 0.3]
    assert [row.start_ms for row in rows] == [0, 4_000, 8_000]


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_prediction_outside_0_and_1_raises_without_naming_a_video(world, value: float) -> None:
    world.add("a.mp4", [0.5, value])
    with (
        pytest.raises(StageError, match=r"1 of 2 predictions are not probabilities") as caught,
        open_segments(*world.write()),
    ):
        pass
    assert repr(value) in str(caught.value)
    assert "a.mp4" not in str(caught.value)


def test_no_database_file_is_written_beside_the_parquet_files(world) -> None:
    world.add("a.mp4", [0.5])
    with open_segments(*world.write()) as segments:
        segments.pool("mean", 2)
    assert {path.suffix for path in world.folder.iterdir()} == {".parquet"}
