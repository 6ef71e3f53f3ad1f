import pytest

from storage.issues import IssueKind
from storage.media_records import AudioQuality, VideoQuality
from tasks.media.quality import quality_problems, video_problems
from tests.builders import media_facts

GOOD_VIDEO = VideoQuality(black_fraction=0.02, frozen_fraction=0.05)
GOOD_AUDIO = AudioQuality(
    decoded_fraction=1.0, silence_fraction=0.4, rms_dbfs=-28.0, clipped_fraction=0.0005
)


def found(**fields) -> dict[IssueKind, float]:
    facts = media_facts(**({"video_quality": GOOD_VIDEO, "audio_quality": GOOD_AUDIO} | fields))
    return {problem.kind: problem.fraction for problem in quality_problems(facts)}


def an_audio(**fields: float) -> AudioQuality:
    return AudioQuality(
        **{name: getattr(GOOD_AUDIO, name) for name in AudioQuality.__dataclass_fields__} | fields
    )


def test_usable_or_unmeasured_input_has_no_problem():
    assert found() == {}
    assert found(video_quality=None, audio_quality=None) == {}


@pytest.mark.parametrize(
    ("black", "frozen", "kinds"),
    [
        (0.1, 0, {IssueKind.BLACK_VIDEO: 0.1}),
        (0, 0.3, {IssueKind.FROZEN_VIDEO: 0.3}),
        (1, 1, {IssueKind.BLACK_VIDEO: 1}),  # not frozen as well
        (0.2, 0.5, {IssueKind.BLACK_VIDEO: 0.2, IssueKind.FROZEN_VIDEO: 0.5}),
        (0.09, 0.09, {}),
    ],
)
def test_a_tenth_of_a_video_that_is_black_or_frozen_is_a_problem(black, frozen, kinds):
    quality = VideoQuality(black_fraction=black, frozen_fraction=frozen)
    assert found(video_quality=quality) == kinds
    messages = [problem.message for problem in video_problems(quality)]
    assert all(message.endswith("of its duration") for message in messages)


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ({"rms_dbfs": -80}, {IssueKind.SILENT_AUDIO: 1}),
        ({"silence_fraction": 0.97}, {IssueKind.SILENT_AUDIO: 0.97}),
        ({"clipped_fraction": 0.2}, {IssueKind.CLIPPED_AUDIO: 0.2}),
        ({"decoded_fraction": 0.25}, {IssueKind.MISSING_AUDIO: 0.75}),
        ({"decoded_fraction": 0, "rms_dbfs": -120}, {IssueKind.MISSING_AUDIO: 1}),
    ],
)
def test_audio_that_is_silent_missing_or_clipped_is_a_problem(fields, kinds):
    assert found(audio_quality=an_audio(**fields)) == kinds


def test_channels_that_are_dead_or_cancel_each_other_are_a_problem():
    assert found(dead_channel=True) == {IssueKind.DEAD_CHANNEL: 1}
    assert found(antiphase=True) == {IssueKind.ANTIPHASE_AUDIO: 1}


@pytest.mark.parametrize(
    ("silent", "level", "fraction"), [(0.49, -20, None), (0.5, -20, 0.5), (0.85, -55, 0.85)]
)
def test_audio_of_which_half_is_digital_silence_is_a_problem(silent, level, fraction):
    audio = an_audio(silence_fraction=silent, rms_dbfs=level)
    expected = {} if fraction is None else {IssueKind.SILENT_AUDIO: fraction}
    assert found(audio_quality=audio) == expected


def test_a_silent_track_is_one_problem():
    audio = an_audio(silence_fraction=1.0, rms_dbfs=-120.0)
    assert found(audio_quality=audio) == {IssueKind.SILENT_AUDIO: 1.0}
