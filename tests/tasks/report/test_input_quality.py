from storage.issues import IssueKind
from storage.media_records import MediaFacts, VideoQuality
from tasks.report.input_quality import InputQuality, input_quality
from tests.builders import media_facts


def a_black_video(video_id: str, fraction: float, **fields: bool) -> MediaFacts:
    quality = VideoQuality(black_fraction=fraction, frozen_fraction=0.0)
    return media_facts(video_id, video_quality=quality, **fields)


def test_videos_without_a_problem_are_only_counted():
    assert input_quality([a_black_video("a", 0), media_facts("b")]) == InputQuality(num_videos=2)


def test_the_worst_videos_come_first_and_kinds_are_counted_by_video():
    media = [
        a_black_video("a", 0.2), a_black_video("b", 0.9), a_black_video("c", 0),
        a_black_video("d", 0.2, antiphase=True),
    ]  # fmt: skip
    quality = input_quality(media)
    assert [video.video_id for video in quality.worst] == ["d", "b", "a"]
    assert quality.counts == ((IssueKind.BLACK_VIDEO, 3), (IssueKind.ANTIPHASE_AUDIO, 1))
    assert (quality.num_videos, quality.num_poor) == (4, 3)
    assert [kind for kind, _ in quality.worst[0].problems] == [
        IssueKind.ANTIPHASE_AUDIO, IssueKind.BLACK_VIDEO,
    ]  # fmt: skip


def test_only_the_worst_of_many_are_listed():
    quality = input_quality(a_black_video(f"{n:03}", 0.5 + n / 1000) for n in range(100))
    assert (len(quality.worst), quality.num_poor) == (20, 100)
    assert quality.worst[0].video_id == "099"
