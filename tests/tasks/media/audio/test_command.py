from tasks.media.audio.command import (
    MONO_NAME,
    PACKETS_NAME,
    STEREO_NAME,
    audio_command,
    audio_name,
)
from tasks.media.probe import probe
from tasks.processes.tool import ToolLimits

LIMITS = ToolLimits(seconds=60)


def test_only_audio_is_decoded(video):
    command = audio_command(probe(video("song-with-cover.mp3"), limits=LIMITS))
    assert command[0] == "ffmpeg"
    assert {MONO_NAME, STEREO_NAME, PACKETS_NAME} <= set(command)
    assert not any(argument.endswith((".mp4", ".raw")) for argument in command)


def test_no_filter_keeps_a_state_that_a_change_of_format_would_reset(video):
    command = " ".join(audio_command(probe(video("song-with-cover.mp3"), limits=LIMITS)))
    assert not any(name in command for name in ("first_pts", "async", "setpts", "STARTPTS"))


def test_files_are_named_by_the_segments_index():
    assert audio_name(12_345) == "12345.wav"
