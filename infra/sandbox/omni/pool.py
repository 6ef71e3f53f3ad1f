"""Pieces converted once to the processor's tensors, and combined into rows for every step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from infra.sandbox.omni.build import FRAME_SIZE
from infra.sandbox.omni.material import FPS, FacePiece, VoicePiece, WordsPiece
from infra.sandbox.omni.questions import Question
from tasks.prompting.model_input import OmniInput, even_frames, to_model_row, whole_hops
from tasks.prompting.prompt import AUDIO_MARKER, VIDEO_MARKER, fill_in

Row = dict[str, torch.Tensor]

_KEPT = ("pixel_values_videos", "video_grid_thw", "video_second_per_grid", "input_features")


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaTensors:
    """The processor's output for one face or voice, in half precision, and its marker's tokens."""

    tensors: Row
    marker_ids: torch.Tensor  # [tokens], opening and closing marker included
    is_positive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The pieces that rows are combined from."""

    faces: Sequence[MediaTensors]
    voices: Sequence[MediaTensors]
    words: Sequence[WordsPiece]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledRow:
    """A row for the model, and its answer."""

    row: Row
    is_yes: bool


def face_tensors(processor: Any, piece: FacePiece) -> MediaTensors:
    """Run the processor on a face alone."""
    return _tensors(processor, VIDEO_MARKER, even_frames(piece.frames), None, piece.is_positive)


def voice_tensors(processor: Any, piece: VoicePiece) -> MediaTensors:
    """Run the processor on a voice alone."""
    return _tensors(processor, AUDIO_MARKER, None, whole_hops(piece.audio), piece.is_positive)


def _tensors(processor: Any, mark: str, frames: Any, audio: Any, is_positive: bool) -> MediaTensors:
    inputs = OmniInput(text=mark, frames=frames, audio=audio, fps=FPS, size=FRAME_SIZE)
    row = to_model_row(processor, inputs)
    # Half precision keeps a pool of thousands in memory; eight-bit pixels lose nothing by it.
    kept = {
        name: row[name].half() if name in ("pixel_values_videos", "input_features") else row[name]
        for name in _KEPT
        if name in row
    }
    return MediaTensors(tensors=kept, marker_ids=row["input_ids"], is_positive=is_positive)


class RowMaker:
    """Builds rows equal to the processor's without running it on the media again."""

    def __init__(self, tokenizer: Any, pool: Pool) -> None:
        self._tokenizer = tokenizer
        self._pool = pool
        self._text_ids: dict[str, torch.Tensor] = {}

    def make(self, question: Question, rng: np.random.Generator) -> LabeledRow:
        """Combine a random face, voice and words under a question."""
        face = self._pool.faces[int(rng.integers(len(self._pool.faces)))]
        voice = self._pool.voices[int(rng.integers(len(self._pool.voices)))]
        words = self._pool.words[int(rng.integers(len(self._pool.words)))]
        by_cue = {
            "face": face.is_positive,
            "voice": voice.is_positive,
            "words": words.is_positive,
        }
        is_yes = by_cue[question.cue] if question.cue else bool(rng.random() < 0.5)
        return LabeledRow(row=self.join(question, face, voice, words.text), is_yes=is_yes)

    def join(self, question: Question, face: MediaTensors, voice: MediaTensors, text: str) -> Row:
        """Return one row, equal to that of ``to_model_row`` for the same video, audio and words."""
        words = text if "{transcript}" in question.template else None
        chat = fill_in(question.template, video=True, audio=True, transcript=words)
        before, _, after = chat.partition(VIDEO_MARKER + AUDIO_MARKER)
        ids = [self._ids(before), face.marker_ids, voice.marker_ids, self._ids(after)]
        media = {name: value.float() for name, value in voice.tensors.items()}
        media |= {
            name: value.float() if value.is_floating_point() else value
            for name, value in face.tensors.items()
        }
        return {"input_ids": torch.cat(ids), **media}

    def _ids(self, text: str) -> torch.Tensor:
        if text not in self._text_ids:
            ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
            self._text_ids[text] = torch.tensor(ids)
        return self._text_ids[text]
