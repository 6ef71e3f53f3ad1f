"""Faces, voices and words for pretraining, generated separately and paired at random.

Each piece resembles the model's input for a segment: frames that were encoded as H.264, windows cut
at random from a soundtrack, words that start and end anywhere. In some pieces the stance changes
near an edge; the longer part determines the answer.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from infra.sandbox.faces import draw_frame, make_face
from infra.sandbox.plan import PlannedParticipant, PlannedVideo, Statement
from infra.sandbox.render import compose_audio
from infra.sandbox.sentences import draw_sentence
from infra.sandbox.speech import Stance, Voice
from storage.records import AUDIO_SAMPLE_RATE, ParticipantId
from tasks.prompting.decode import Audio, Frames, decode_frames

FPS = 2.0
KEPT_SIZE = (448, 336)  # width and height of 640 x 480 after the segment stage
SHORTEST_MS, LONGEST_MS = 2_500, 5_000
CHANGE_FRACTION = 0.2  # pieces in which the stance changes
EARLIEST_CHANGE, LATEST_CHANGE = 0.08, 0.35  # of the length, from either edge
STATEMENT_MS = 7_000
WINDOWS_PER_SOUNDTRACK = 4
WEAK_FRACTION, WEAKEST = 0.25, 0.5  # some pieces show their stance more weakly


@dataclass(frozen=True, slots=True, kw_only=True)
class FacePiece:
    """Frames [T, 336, 448, 3] of one face and whether it looks positive."""

    frames: Frames
    is_positive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VoicePiece:
    """Samples at 16 kHz of one voice and whether it is positive."""

    audio: Audio
    is_positive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WordsPiece:
    """Words and whether their meaning is positive."""

    text: str
    is_positive: bool


def draw_faces(
    num_pieces: int, num_people: int, rng: np.random.Generator, *, all_strong: bool
) -> Iterator[FacePiece]:
    """Draw faces of ``num_people`` people, as many positive as negative."""
    people_seeds = rng.integers(2**32, size=num_people)
    for index, stance in enumerate(_balanced(num_pieces, rng)):
        person_seed = int(people_seeds[index % num_people])
        yield _draw_face(person_seed, stance, rng, _strength(rng, all_strong))


def _draw_face(
    person_seed: int, stance: int, rng: np.random.Generator, strength: float
) -> FacePiece:
    face = make_face(np.random.default_rng(person_seed))
    num_frames = round(rng.uniform(SHORTEST_MS, LONGEST_MS) / 1000 * FPS)
    lean = _leaning(stance, num_frames, rng)
    start_s = rng.uniform(0, 20)
    frames = [
        draw_frame(
            face,
            int(side),
            float(rng.uniform(0, 1)),
            float(rng.random() < 0.06),
            start_s + index / FPS,
            strength,
            rng,
        )
        for index, side in enumerate(lean)
    ]
    return FacePiece(frames=through_h264(frames), is_positive=stance > 0)


def _leaning(stance: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Return the stance at each of ``length`` positions; sometimes it changes near an edge."""
    lean = np.full(length, stance)
    if rng.random() < CHANGE_FRACTION:
        width = int(length * rng.uniform(EARLIEST_CHANGE, LATEST_CHANGE))
        if rng.random() < 0.5:
            lean[:width] = -stance
        else:
            lean[length - width :] = -stance
    return lean


def through_h264(frames: Sequence[Frames]) -> Frames:
    """Scale frames as the segment stage does, and encode and decode them once."""
    import av

    stream_bytes = io.BytesIO()
    with av.open(stream_bytes, mode="w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=round(FPS))
        stream.width, stream.height = KEPT_SIZE
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        stream.options = {"crf": "23", "preset": "ultrafast", "bf": "0"}
        for frame in frames:
            small = cv2.resize(frame, KEPT_SIZE, interpolation=cv2.INTER_AREA)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(small, format="rgb24")))
        container.mux(stream.encode())
    stream_bytes.seek(0)
    return decode_frames(stream_bytes, FPS)


def draw_voices(
    num_pieces: int, voices: Sequence[Voice], rng: np.random.Generator, *, all_strong: bool
) -> Iterator[VoicePiece]:
    """Synthesize soundtracks of two stances and cut windows from them."""
    for index in range(num_pieces // WINDOWS_PER_SOUNDTRACK):
        video = _two_statements(voices[index % len(voices)], rng)
        audio = compose_audio(video, _strength(rng, all_strong), rng)
        for stance in _balanced(WINDOWS_PER_SOUNDTRACK, rng):
            yield _cut_window(video, audio.samples, stance, rng)


def _two_statements(voice: Voice, rng: np.random.Generator) -> PlannedVideo:
    """Plan a video whose voice stance changes in the middle."""
    first = _lot(rng)
    second: Stance = -1 if first == 1 else 1
    participant = PlannedParticipant(
        participant_id=ParticipantId("sandbox"),
        split="train",
        seed=0,
        voice=voice,
    )
    statements = tuple(
        Statement(
            start_ms=index * STATEMENT_MS,
            end_ms=(index + 1) * STATEMENT_MS,
            face_stance=1,
            voice_stance=stance,
            words_stance=_lot(rng),
        )
        for index, stance in enumerate((first, second))
    )
    return PlannedVideo(
        path="sandbox", participant=participant, question=1, seed=0, statements=statements
    )


def _cut_window(
    video: PlannedVideo, samples: Audio, stance: int, rng: np.random.Generator
) -> VoicePiece:
    """Cut within the statement of this stance, sometimes a little way into the other one."""
    index = 0 if video.statements[0].voice_stance == stance else 1
    length_ms = rng.uniform(SHORTEST_MS, LONGEST_MS)
    over_ms = 0.0
    if rng.random() < CHANGE_FRACTION:
        over_ms = length_ms * rng.uniform(EARLIEST_CHANGE, LATEST_CHANGE)
        start_ms = STATEMENT_MS - (length_ms - over_ms if index == 0 else over_ms)
    else:
        start_ms = index * STATEMENT_MS + rng.uniform(0, STATEMENT_MS - length_ms)
    start = int(start_ms * AUDIO_SAMPLE_RATE / 1000)
    window = samples[start : start + int(length_ms * AUDIO_SAMPLE_RATE / 1000)]
    return VoicePiece(audio=window, is_positive=stance > 0)


def draw_words(num_pieces: int, rng: np.random.Generator) -> list[WordsPiece]:
    """Draw the words of a segment: one complete polar sentence, others cut or neutral."""
    return [_draw_words(stance, rng) for stance in _balanced(num_pieces, rng)]


def _draw_words(stance: int, rng: np.random.Generator) -> WordsPiece:
    words = draw_sentence(rng, "positive" if stance > 0 else "negative").text.split()
    if rng.random() < 0.4:
        before = draw_sentence(rng, "neutral").text.split()
        words = before[int(rng.integers(len(before))) :] + words
    if rng.random() < 0.4:
        after = draw_sentence(rng, "neutral").text.split()
        words = words + after[: int(rng.integers(len(after)))]
    return WordsPiece(text=" ".join(words), is_positive=stance > 0)


def _strength(rng: np.random.Generator, all_strong: bool) -> float:
    return 1.0 if all_strong or rng.random() > WEAK_FRACTION else float(rng.uniform(WEAKEST, 1))


def _lot(rng: np.random.Generator) -> Stance:
    return 1 if rng.random() < 0.5 else -1


def _balanced(count: int, rng: np.random.Generator) -> list[int]:
    signs = np.where(np.arange(count) % 2, 1, -1)
    return [int(sign) for sign in rng.permutation(signs)]
