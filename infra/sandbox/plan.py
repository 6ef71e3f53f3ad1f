"""Plan a sandbox data set: who speaks with which stances and when, before anything is rendered.

A/H is present where the face stance and the voice stance of a statement disagree. Videos are
planned in mirrored groups of four (two labels times two signs of the stances) with the same
lengths, positions of their disagreements and, crosswise, their questions. So each stance alone,
the length, the question and the order of recording carry no information about the label: within
complete groups the balance of stances and questions is exact, whatever the seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import cycle, pairwise

import numpy as np

from infra.sandbox.speech import HELD_OUT_VOICES, TRAIN_VOICES, Stance, Voice
from storage.errors import ConfigError
from storage.records import (
    Interval,
    ParticipantId,
    Split,
    VideoId,
)

FRAME_MS = 40
NUM_QUESTIONS = 7
_FIRST_PARTICIPANT = 90001
# Statements in a group's videos, and whether the face turns at the first change (None: either).
# Of two statements the voice turns in one label where it does not in the other: balance the two.
_SHAPES: tuple[tuple[int, bool | None], ...] = ((1, None), (2, True), (2, False), (3, None))
_SINGLE_STATEMENT_MS = (8400, 9600)
_STATEMENT_MS = (6000, 9400)
_JITTER = 0.04


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldSettings:
    """Settings that determine a data set's content; raises ConfigError for a value out of range."""

    num_participants: int = 30
    """At least 3, one for each split."""
    videos_per_participant: int = 2
    """1 to 7; each answers a different question."""
    seed: int = 7
    """Equal settings and seeds generate equal data sets."""
    cue_strength: float = 1.0
    """In (0, 1]; below 1 faces and voices show their stance more weakly."""

    def __post_init__(self) -> None:
        if self.num_participants < 3:
            raise ConfigError(
                f"A world needs at least 3 participants, one for each split; got "
                f"{self.num_participants!r}."
            )
        if not 1 <= self.videos_per_participant <= NUM_QUESTIONS:
            raise ConfigError(
                f"A participant answers 1 to {NUM_QUESTIONS} questions, one per video; got "
                f"{self.videos_per_participant!r} videos for each."
            )
        if self.seed < 0:
            raise ConfigError(f"The seed must not be negative; got {self.seed!r}.")
        if not 0 < self.cue_strength <= 1:
            raise ConfigError(
                f"The cue strength must be above 0 and at most 1; got {self.cue_strength!r}."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A stretch of a video in which face, voice and words each keep one stance, +1 or -1."""

    start_ms: int
    end_ms: int
    face_stance: Stance
    voice_stance: Stance
    words_stance: Stance

    @property
    def is_ah(self) -> bool:
        """Whether face and voice disagree."""
        return self.face_stance != self.voice_stance


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedVideo:
    """One video to render; `path` is relative to the data root.

    `seed` determines everything else: sentences, pauses, blinks, noise.
    """

    path: str
    participant: PlannedParticipant
    question: int
    seed: int
    statements: tuple[Statement, ...]

    @property
    def video_id(self) -> VideoId:
        """The path, by which the BAH layout names a video."""
        return VideoId(self.path)

    @property
    def duration_ms(self) -> int:
        """A whole number of frames."""
        return self.statements[-1].end_ms

    @property
    def num_frames(self) -> int:
        """Frames of 40 ms."""
        return self.duration_ms // FRAME_MS

    @property
    def label(self) -> int:
        """1 where any statement's face and voice disagree."""
        return int(any(s.is_ah for s in self.statements))

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """The A/H intervals; neighboring statements of disagreement are one interval."""
        merged: list[Interval] = []
        for statement in self.statements:
            if not statement.is_ah:
                continue
            start_ms = statement.start_ms
            if merged and merged[-1].end_ms == start_ms:
                start_ms = merged.pop().start_ms
            merged.append(Interval(start_ms=start_ms, end_ms=statement.end_ms))
        return tuple(merged)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedParticipant:
    """One person; `seed` fixes the face and the invented personal details.

    Voices of val and test are held out: nothing in the sandbox is trained on them.
    """

    participant_id: ParticipantId
    split: Split
    seed: int
    voice: Voice


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldPlan:
    """A complete plan of a data set, before anything is rendered."""

    settings: WorldSettings
    participants: tuple[PlannedParticipant, ...]
    videos: tuple[PlannedVideo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Common plan of four mirrored videos; one entry per statement."""

    durations_ms: tuple[float, ...]
    face: tuple[Stance, ...]
    disagrees: tuple[bool, ...]
    words: dict[int, tuple[Stance, ...]]  # by label


def plan_world(settings: WorldSettings) -> WorldPlan:
    """Plan the data set of these settings; deterministic."""
    rng = np.random.default_rng(settings.seed)
    participants = _plan_participants(settings, rng)
    videos: list[PlannedVideo] = []
    for split in ("train", "val", "test"):
        members = [p for p in participants if p.split == split]
        videos += _plan_split(members, settings.videos_per_participant, rng)
    videos.sort(key=lambda video: video.path)
    return WorldPlan(settings=settings, participants=participants, videos=tuple(videos))


def count_split(num_participants: int) -> dict[Split, int]:
    """Count participants per split, in even numbers if possible, which completes the groups."""
    if num_participants < 6:
        return {"train": num_participants - 2, "val": 1, "test": 1}
    val = 2 * max(1, round(num_participants / 10))
    test = 2 * max(1, round(num_participants / 6))
    return {"train": num_participants - val - test, "val": val, "test": test}


def _plan_participants(
    settings: WorldSettings, rng: np.random.Generator
) -> tuple[PlannedParticipant, ...]:
    ids = iter(_FIRST_PARTICIPANT + rng.permutation(settings.num_participants))
    train_voices = cycle(rng.permutation(len(TRAIN_VOICES)).tolist())
    held_out_voices = cycle(rng.permutation(len(HELD_OUT_VOICES)).tolist())
    return tuple(
        PlannedParticipant(
            participant_id=ParticipantId(str(next(ids))),
            split=split,
            seed=_draw_seed(rng),
            voice=TRAIN_VOICES[next(train_voices)]
            if split == "train"
            else HELD_OUT_VOICES[next(held_out_voices)],
        )
        for split, size in count_split(settings.num_participants).items()
        for _ in range(size)
    )


def _draw_seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**32))


def _plan_split(
    members: list[PlannedParticipant], num_videos: int, rng: np.random.Generator
) -> Iterator[PlannedVideo]:
    shapes = cycle([_SHAPES[i] for i in rng.permutation(len(_SHAPES)).tolist()])
    for start in range(0, len(members), 2):
        questions = (1 + rng.permutation(NUM_QUESTIONS)).tolist()
        for slot in range(0, num_videos, 2):
            num_statements, turns = next(shapes)
            group = _draw_group(num_statements, turns, rng)
            pair = questions[slot : min(slot + 2, num_videos)]
            yield from _mirror(group, members[start : start + 2], pair, rng)


def _mirror(
    group: _Group, pair: list[PlannedParticipant], questions: list[int], rng: np.random.Generator
) -> Iterator[PlannedVideo]:
    """Assign the group's videos to two participants and two questions, labels crosswise."""
    first_label, first_sign = rng.integers(2, size=2).tolist()
    for row, participant in enumerate(pair):
        for column, question in enumerate(questions):
            label = first_label ^ row ^ column
            keep = bool(first_sign ^ column)
            yield PlannedVideo(
                path=_draw_path(participant, question, rng),
                participant=participant,
                question=question,
                seed=_draw_seed(rng),
                statements=_statements_of(group, label, keep, rng),
            )


def _draw_group(num_statements: int, turns: bool | None, rng: np.random.Generator) -> _Group:
    low, high = _SINGLE_STATEMENT_MS if num_statements == 1 else _STATEMENT_MS
    num_disagreeing = 1 if num_statements < 3 else int(rng.integers(1, 3))
    disagreeing = set(rng.permutation(num_statements)[:num_disagreeing].tolist())
    face = _draw_signs(num_statements, rng)
    if turns is not None:
        face = (face[0], _signed(face[0], not turns), *face[2:])
    return _Group(
        durations_ms=tuple(float(d) for d in rng.uniform(low, high, num_statements)),
        face=face,
        disagrees=tuple(i in disagreeing for i in range(num_statements)),
        words={label: _draw_signs(num_statements, rng) for label in (0, 1)},
    )


def _draw_signs(count: int, rng: np.random.Generator) -> tuple[Stance, ...]:
    return tuple(1 if positive else -1 for positive in rng.integers(2, size=count))


def _signed(stance: Stance, keep: bool) -> Stance:
    if keep:
        return stance
    return -1 if stance == 1 else 1


def _statements_of(
    group: _Group, label: int, keep: bool, rng: np.random.Generator
) -> tuple[Statement, ...]:
    jitter = rng.uniform(1 - _JITTER, 1 + _JITTER, len(group.durations_ms))
    edges = [0, *(int(e) for e in np.cumsum(np.array(group.durations_ms) * jitter))]
    edges[-1] = math.ceil(edges[-1] / FRAME_MS) * FRAME_MS
    return tuple(
        Statement(
            start_ms=start_ms,
            end_ms=end_ms,
            face_stance=_signed(face, keep),
            voice_stance=_signed(face, keep != (label == 1 and disagrees)),
            words_stance=_signed(words, keep),
        )
        for (start_ms, end_ms), face, disagrees, words in zip(
            pairwise(edges), group.face, group.disagrees, group.words[label], strict=True
        )
    )


def _draw_path(participant: PlannedParticipant, question: int, rng: np.random.Generator) -> str:
    """Name a video as the releases do: some with a space before the time, some with a host name."""
    seconds = int(rng.integers(300)) * 86_400 + int(rng.integers(9 * 3600, 17 * 3600))
    at = datetime(2024, 1, 8) + timedelta(seconds=seconds)
    separator = " " if rng.random() < 0.2 else "_"
    host = ""
    if rng.random() < 0.15:
        letters = rng.choice(list("ABCDEFGHJKLMNPQRSTUVWXYZ23456789"), 7)
        host = f"-DESKTOP-{''.join(letters)}"
    person = participant.participant_id
    stamp = f"{at:%Y-%m-%d}{separator}{at:%H-%M-%S}"
    return f"Videos/{person}/Visite_1/{person}_Question_{question}_{stamp}_Video{host}.mp4"
