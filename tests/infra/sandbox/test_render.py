import json
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from infra.sandbox.plan import FRAME_MS, PlannedVideo, Statement, WorldSettings, plan_world
from infra.sandbox.render import (
    blink_track,
    compose_audio,
    face_track,
    mouth_track,
    render_video,
)
from infra.sandbox.speech import TRAIN_VOICES
from storage.errors import ToolError
from storage.records import AUDIO_SAMPLE_RATE

VIDEOS = plan_world(WorldSettings()).videos
SHORTEST = min(VIDEOS, key=lambda video: video.duration_ms)
VOICE = next(voice for voice in TRAIN_VOICES if voice.name == "en+f1")


def _two_statements(stances: tuple[int, int], length_ms: int = 2000) -> PlannedVideo:
    middle_ms = length_ms // 2 + 3
    bounds = ((0, middle_ms), (middle_ms, length_ms))
    statements = tuple(
        Statement(start_ms=a, end_ms=b, face_stance=s, voice_stance=s, words_stance=1)
        for (a, b), s in zip(bounds, stances, strict=True)
    )
    return PlannedVideo(
        path="v.mp4",
        participant=replace(SHORTEST.participant, voice=VOICE),
        question=1,
        seed=0,
        statements=statements,
    )


@pytest.mark.parametrize("video", VIDEOS[:3], ids=lambda video: str(video.duration_ms))
def test_sentences_stay_within_their_statement_and_never_overlap(video):
    audio = compose_audio(video, 1.0, np.random.default_rng(video.seed))
    assert len(audio.samples) == video.duration_ms * AUDIO_SAMPLE_RATE // 1000
    assert np.abs(audio.samples).max() <= 1
    bounds = [(s.start_ms, s.end_ms) for s in video.statements]
    for sentence in audio.sentences:
        assert any(a <= sentence.start_ms < sentence.end_ms <= b for a, b in bounds)
    assert all(a.end_ms <= b.start_ms for a, b in pairwise(audio.sentences))
    assert all(a.start_ms < b.start_ms for a, b in pairwise(audio.words))
    spoken_ms = sum(s.end_ms - s.start_ms for s in audio.sentences)
    assert spoken_ms > 0.5 * video.duration_ms


def test_speech_is_loud_where_the_truth_has_words():
    audio = compose_audio(SHORTEST, 1.0, np.random.default_rng(SHORTEST.seed))
    per_ms = AUDIO_SAMPLE_RATE // 1000
    speaking = np.zeros(SHORTEST.duration_ms, bool)
    for sentence in audio.sentences:
        speaking[sentence.start_ms : sentence.end_ms] = True
    loudness = np.abs(audio.samples.reshape(-1, per_ms)).mean(axis=1)
    assert loudness[speaking].mean() > 20 * loudness[~speaking].mean()


def test_the_face_turns_at_the_boundary_and_is_steady_elsewhere():
    track = face_track(_two_statements((1, -1)))
    at_ms = (np.arange(len(track)) + 0.5) * FRAME_MS
    assert (track[at_ms < 1003 - 120] == 1).all()
    assert (track[at_ms > 1003 + 120] == -1).all()
    assert (np.sign(track) == np.where(at_ms < 1003, 1, -1)).all()


def test_the_face_does_not_move_where_the_stance_stays():
    assert (face_track(_two_statements((-1, -1))) == -1).all()


def test_the_mouth_opens_with_the_loudness():
    quiet, loud = np.full(8000, 0.001), np.full(8000, 0.5)
    track = mouth_track(np.concatenate([quiet, loud]).astype(np.float32), 25)
    assert track.shape == (25,)
    assert track[:10].max() < 0.1
    assert track[15:24].min() > 0.7


def test_a_silent_video_keeps_its_mouth_shut():
    assert mouth_track(np.zeros(16_000, np.float32), 25).max() == 0


def test_eyes_blink_now_and_then_and_are_mostly_open():
    track = blink_track(25 * 60, np.random.default_rng(0))
    shut = track >= 1
    blinks = np.flatnonzero(shut[1:] & ~shut[:-1])
    assert 12 <= len(blinks) <= 30
    assert (track == 0).mean() > 0.9


@pytest.mark.slow
def test_a_rendered_video_has_the_planned_frames_and_audio_and_is_reproducible(tmp_path):
    video = _two_statements((1, -1), length_ms=4000)
    truth = render_video(video, 1.0, tmp_path / "a.mp4")
    assert truth.statements == video.statements
    assert truth.voice == VOICE.name
    command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(tmp_path / "a.mp4")]
    streams = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["streams"]
    video_stream, audio_stream = streams
    assert tuple(video_stream[key] for key in ("codec_name", "width", "height")) == (
        "h264",
        640,
        480,
    )
    assert video_stream["r_frame_rate"] == "25/1"
    assert int(video_stream["nb_frames"]) == video.num_frames
    assert tuple(audio_stream[key] for key in ("codec_name", "sample_rate", "channels")) == (
        "aac",
        "44100",
        2,
    )
    assert float(audio_stream["duration"]) * 1000 == pytest.approx(video.duration_ms, abs=50)
    again = render_video(video, 1.0, tmp_path / "b.mp4")
    assert again == truth
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_failing_ffmpeg_is_reported_with_its_own_words(tmp_path):
    with pytest.raises(ToolError, match="No such file"):
        render_video(_two_statements((1, 1)), 1.0, tmp_path / "no-such-folder" / "a.mp4")


def test_a_missing_ffmpeg_is_reported_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="apt-get install ffmpeg"):
        render_video(_two_statements((1, 1)), 1.0, Path(tmp_path / "a.mp4"))
