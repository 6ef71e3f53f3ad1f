from tasks.media.audio.command import audio_command, audio_name
from tasks.media.probe import probe
from tasks.processes.tool import ToolLimits

LIMITS = ToolLimits(seconds=60)


def test_only_audio_is_decoded(video):
    command = audio_command(probe(video("song-with-cover.mp3"), limits=LIMITS))
    assert command[0] == "ffmpeg"
    assert "audio.wav" in command
    assert not any(argument.endswith((".mp4", ".raw")) for argument in command)


def test_files_are_named_by_the_segments_index():
    assert audio_name(12_345) == "12345.wav"
