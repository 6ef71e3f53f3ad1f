"""Render one planned video: synthesize speech, animate the face to it, encode both with ffmpeg."""

from __future__ import annotations

import subprocess
import tempfile
import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import ffmpeg
import numpy as np
import numpy.typing as npt

from infra.sandbox.espeak import SpokenWord, Utterance
from infra.sandbox.faces import HEIGHT, WIDTH, Frame, draw_frame, make_face
from infra.sandbox.plan import FRAME_MS, PlannedVideo, Statement
from infra.sandbox.sentences import Sentiment, draw_sentence
from infra.sandbox.speech import speak
from infra.sandbox.truth import VideoTruth
from storage.errors import ToolError
from storage.records import AUDIO_SAMPLE_RATE

Samples = npt.NDArray[np.float32]
Track = npt.NDArray[np.float64]  # one number per frame

_SHORTEST_PAUSE_MS = 160
_MOST_MISFITS = 5
_NEUTRAL_FRACTION = 0.25
_TURN_MS = 240
_BLINK_MS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Soundtrack:
    """A video's audio, 16 kHz mono within [-1, 1], and its sentences and words with times."""

    samples: Samples
    sentences: tuple[SpokenWord, ...]
    words: tuple[SpokenWord, ...]


def render_video(video: PlannedVideo, cue_strength: float, path: Path) -> VideoTruth:
    """Write the video's file (H.264 and AAC in MP4) and return its ground truth.

    Raises:
        ToolError: ffmpeg is missing or fails.
    """
    rng = np.random.default_rng(video.seed)
    audio = compose_audio(video, cue_strength, rng)
    frames = iter_frames(video, audio.samples, cue_strength, rng)
    with tempfile.TemporaryDirectory(prefix="waver-sandbox-") as folder:
        audio_path = Path(folder) / "audio.wav"
        _write_wav(audio.samples, audio_path)
        _encode(frames, audio_path, path)
    return VideoTruth(
        video_id=video.video_id,
        voice=video.participant.voice.name,
        statements=video.statements,
        sentences=audio.sentences,
        words=audio.words,
    )


def compose_audio(video: PlannedVideo, cue_strength: float, rng: np.random.Generator) -> Soundtrack:
    """Fill every statement with sentences in its voice stance; none crosses its end."""
    noise = rng.normal(
        0.0, 10 ** rng.uniform(-4.0, -3.0), video.duration_ms * AUDIO_SAMPLE_RATE // 1000
    )
    samples = noise.astype(np.float32)
    volume = rng.uniform(0.6, 1.0)
    sentences: list[SpokenWord] = []
    words: list[SpokenWord] = []
    for statement in video.statements:
        utterances = _fill_statement(statement, video, cue_strength, rng)
        for utterance, start_ms in _schedule(statement, utterances, rng):
            start = start_ms * AUDIO_SAMPLE_RATE // 1000
            samples[start : start + len(utterance.samples)] += volume * utterance.samples
            shifted = [_shift(word, start_ms) for word in utterance.words]
            sentences.append(_join(shifted))
            words += shifted
    return Soundtrack(
        samples=np.clip(samples, -1, 1), sentences=tuple(sentences), words=tuple(words)
    )


def iter_frames(
    video: PlannedVideo, samples: Samples, cue_strength: float, rng: np.random.Generator
) -> Iterator[Frame]:
    """Draw the video's frames, RGB [480, 640, 3]."""
    face = make_face(np.random.default_rng(video.participant.seed))
    lean = face_track(video)
    mouth = mouth_track(samples, video.num_frames)
    blink = blink_track(video.num_frames, rng)
    for index in range(video.num_frames):
        stance = 1 if lean[index] > 0 else -1
        strength = cue_strength * abs(lean[index])
        seconds = index * FRAME_MS / 1000
        yield draw_frame(face, stance, mouth[index], blink[index], seconds, strength, rng)


def face_track(video: PlannedVideo) -> Track:
    """Return the face stance in [-1, 1] at each frame: constant, with a quick turn at a change."""
    times: list[float] = [0]
    stances: list[float] = [video.statements[0].face_stance]
    for before, after in pairwise(video.statements):
        times += [after.start_ms - _TURN_MS / 2, after.start_ms + _TURN_MS / 2]
        stances += [before.face_stance, after.face_stance]
    return np.interp((np.arange(video.num_frames) + 0.5) * FRAME_MS, times, stances)


def mouth_track(samples: Samples, num_frames: int) -> Track:
    """Return the opening of the mouth at each frame, in [0, 1], from the loudness of the speech."""
    size = FRAME_MS * AUDIO_SAMPLE_RATE // 1000
    loudness = np.sqrt(np.square(samples[: num_frames * size].reshape(-1, size)).mean(axis=1))
    smooth = np.convolve(loudness, (0.25, 0.5, 0.25), mode="same")
    return np.clip(smooth / max(float(np.percentile(smooth, 95)), 1e-3), 0, 1)


def blink_track(num_frames: int, rng: np.random.Generator) -> Track:
    """Return the closing of the eyes at each frame, in [0, 1]: a blink every 2 to 5 seconds."""
    times = np.arange(num_frames) * float(FRAME_MS)
    shut = np.zeros(num_frames)
    at = float(rng.uniform(500, 3000))
    while at < num_frames * FRAME_MS:
        shut = np.maximum(shut, 1 - np.abs(times - at) / (_BLINK_MS / 2))
        at += float(rng.uniform(2000, 5000))
    return np.clip(shut * 1.5, 0, 1)


def _fill_statement(
    statement: Statement, video: PlannedVideo, cue_strength: float, rng: np.random.Generator
) -> list[Utterance]:
    """Draw sentences until several in a row would not fit with their pause."""
    left_ms = statement.end_ms - statement.start_ms - _SHORTEST_PAUSE_MS
    sentiment: Sentiment = "positive" if statement.words_stance > 0 else "negative"
    voice = video.participant.voice
    utterances: list[Utterance] = []
    misfits = 0
    while misfits < _MOST_MISFITS:
        sentence = draw_sentence(rng, "neutral" if rng.random() < _NEUTRAL_FRACTION else sentiment)
        utterance = speak(sentence.text, voice, statement.voice_stance, rng, cue_strength)
        needed_ms = utterance.duration_ms + 1 + _SHORTEST_PAUSE_MS
        if needed_ms > left_ms:
            misfits += 1
            continue
        left_ms -= needed_ms
        utterances.append(utterance)
    return utterances


def _schedule(
    statement: Statement, utterances: list[Utterance], rng: np.random.Generator
) -> Iterator[tuple[Utterance, int]]:
    """Spread what is left of the statement over the pauses before, between and after."""
    num_pauses = len(utterances) + 1
    spoken_ms = sum(utterance.duration_ms + 1 for utterance in utterances)
    spare_ms = statement.end_ms - statement.start_ms - spoken_ms - num_pauses * _SHORTEST_PAUSE_MS
    pauses_ms = _SHORTEST_PAUSE_MS + spare_ms * rng.dirichlet(np.full(num_pauses, 3.0))
    at_ms = float(statement.start_ms)
    for utterance, pause_ms in zip(utterances, pauses_ms[:-1], strict=True):
        at_ms += pause_ms
        yield utterance, int(at_ms)
        at_ms += utterance.duration_ms + 1


def _shift(word: SpokenWord, by_ms: int) -> SpokenWord:
    return SpokenWord(text=word.text, start_ms=word.start_ms + by_ms, end_ms=word.end_ms + by_ms)


def _join(words: list[SpokenWord]) -> SpokenWord:
    text = " ".join(word.text for word in words)
    return SpokenWord(text=text, start_ms=words[0].start_ms, end_ms=words[-1].end_ms)


def _write_wav(samples: Samples, path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(AUDIO_SAMPLE_RATE)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def _encode_command(audio_path: Path, path: Path) -> list[str]:
    """Return a deterministic encoder command: one thread, no dates, no encoder names."""
    pipe = {"format": "rawvideo", "pix_fmt": "yuv420p", "framerate": 1000 // FRAME_MS}
    video = ffmpeg.input("pipe:", **pipe, video_size=(WIDTH, HEIGHT), threads=1).video
    audio = ffmpeg.input(str(audio_path)).audio
    codecs = {"vcodec": "libx264", "preset": "ultrafast", "crf": 28, "pix_fmt": "yuv420p"}
    codecs |= {"acodec": "aac", "audio_bitrate": "96k", "ar": 44100, "ac": 2}
    exact = {"threads": 1, "flags": "+bitexact", "fflags": "+bitexact", "map_metadata": -1}
    output = ffmpeg.output(
        video, audio, str(path), format="mp4", **codecs, **exact, movflags="+faststart"
    )
    command: list[str] = output.global_args("-hide_banner", "-loglevel", "error").compile(
        overwrite_output=True
    )
    return command


def _encode(frames: Iterable[Frame], audio_path: Path, path: Path) -> None:
    with tempfile.TemporaryFile() as stderr:
        try:
            process = subprocess.Popen(
                _encode_command(audio_path, path), stdin=subprocess.PIPE, stderr=stderr
            )
        except FileNotFoundError as error:
            raise ToolError(
                "The program 'ffmpeg' was not found: install it (`apt-get install ffmpeg`)."
            ) from error
        with process:
            _feed(process, frames)
        stderr.seek(0)
        if process.returncode != 0:
            message = stderr.read().decode(errors="replace").strip()
            raise ToolError(f"ffmpeg could not write {path.name!r}: {message or 'no reason given'}")


def _feed(process: subprocess.Popen[bytes], frames: Iterable[Frame]) -> None:
    assert process.stdin is not None
    try:
        for frame in frames:
            process.stdin.write(cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).data)
        process.stdin.close()
    except BrokenPipeError:
        return  # ffmpeg's exit status and output state the reason
    except BaseException:
        process.kill()
        raise
