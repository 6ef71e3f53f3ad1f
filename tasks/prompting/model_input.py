"""The model's input for one segment, identical in training and inference.

``build_input`` decodes a segment's video and audio to arrays. ``to_model_batch`` (transformers) and
``to_vllm_request`` (vLLM) both start from these arrays, because a library that opens the file
itself samples other frames. Video and audio are separate items (``use_audio_in_video=False``).
Frame rate and size are passed in every call, since a processor class's defaults override the saved
values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from storage.records import AUDIO_SAMPLE_RATE
from tasks.prompting.decode import Audio, Frames, decode_audio, decode_frames
from tasks.prompting.prompt import AnswerFormat, prompt_names, quotes_transcript, render_chat

if TYPE_CHECKING:
    import torch

HOP_SAMPLES = 160  # one mel frame; on whole hops transformers and vLLM count the same audio tokens
MIN_AUDIO_SAMPLES = 1_600
FRAME_MULTIPLE = 2  # the vision tower merges frames in pairs


class InputConfig(BaseModel):
    """What the model gets of a segment, and in which prompt; part of a result's identity."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    prompt: str = "definition-transcript"
    """Name of a text file under tasks/prompting/prompts, without the suffix."""
    answer: AnswerFormat = "word"
    """Format of the answer: the plain word, or the paper's `<answer>Yes</answer>` (tag), whose
    opening tag is part of the prompt."""
    fps: float = Field(default=2.0, gt=0, le=30)
    """Frames per second of the video, evenly spaced."""
    min_pixels: int = Field(default=64 * 64, ge=32 * 32)
    """A frame with fewer pixels is scaled up to this many, keeping its aspect ratio."""
    max_pixels: int = Field(default=448 * 448, ge=32 * 32)
    """A frame with more pixels is scaled down to this many, keeping its aspect ratio."""
    video: bool = True
    """Whether the model gets the video."""
    audio: bool = True
    """Whether the model gets the audio."""
    transcript: bool = True
    """Whether the model gets the transcript, if the prompt quotes it or the speech before it."""

    @field_validator("prompt")
    @classmethod
    def _prompt_is_known(cls, name: str) -> str:
        if name not in prompt_names():
            raise ValueError(
                f"unknown prompt {name!r}: expected one of {', '.join(prompt_names())}"
            )
        return name

    @model_validator(mode="after")
    def _some_input_is_left(self) -> "InputConfig":
        if not (self.video or self.audio or self.shows_transcript):
            raise ValueError("video, audio and transcript are all switched off: switch one on")
        if self.min_pixels > self.max_pixels:
            raise ValueError(f"min_pixels {self.min_pixels} exceeds max_pixels {self.max_pixels}")
        return self

    @property
    def shows_transcript(self) -> bool:
        """Whether the prompt contains speech of the transcript."""
        return self.transcript and quotes_transcript(self.prompt)

    @property
    def size(self) -> dict[str, int]:
        """The pixel bounds of one frame, as Qwen's video processor names them."""
        return {"shortest_edge": self.min_pixels, "longest_edge": self.max_pixels}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OmniInput:
    """One segment's input; ``text`` is the chat up to the position of the answer token.

    ``frames`` is uint8 [T, H, W, 3] with T even, ``audio`` float32 [samples] at 16 kHz in whole
    hops of 160; either may be ``None``.
    """

    text: str
    frames: Frames | None
    audio: Audio | None
    fps: float
    size: dict[str, int]


def build_input(
    config: InputConfig,
    *,
    video: BinaryIO | None,
    audio: BinaryIO | None,
    transcript: str,
    transcript_before: str = "",
) -> OmniInput:
    """Decode the media that the settings include and the segment has, and build its input."""
    frames = decode_frames(video, config.fps) if config.video and video is not None else None
    samples = decode_audio(audio) if config.audio and audio is not None else None
    return make_input(
        config,
        frames=frames,
        audio=samples,
        transcript=transcript,
        transcript_before=transcript_before,
    )


def make_input(
    config: InputConfig,
    *,
    frames: Frames | None,
    audio: Audio | None,
    transcript: str,
    transcript_before: str = "",
) -> OmniInput:
    """Build the input from decoded media and transcript, without what the settings switch off."""
    model_frames = model_audio = None
    if config.video and frames is not None and len(frames):
        model_frames = even_frames(frames)
    if config.audio and audio is not None and audio.size:
        model_audio = whole_hops(audio)
    text = render_chat(
        config.prompt,
        video=model_frames is not None,
        audio=model_audio is not None,
        transcript=transcript if config.transcript else None,
        transcript_before=transcript_before,
        answer=config.answer,
    )
    return OmniInput(
        text=text, frames=model_frames, audio=model_audio, fps=config.fps, size=config.size
    )


def even_frames(frames: Frames) -> Frames:
    """Repeat the last of an odd number of frames."""
    missing = -len(frames) % FRAME_MULTIPLE
    return np.concatenate([frames, frames[-1:]]) if missing else frames


def whole_hops(audio: Audio) -> Audio:
    """Drop the incomplete last hop; pad audio under 100 ms with silence."""
    if audio.size < MIN_AUDIO_SAMPLES:
        return np.pad(audio, (0, MIN_AUDIO_SAMPLES - audio.size))
    return audio[: audio.size // HOP_SAMPLES * HOP_SAMPLES]


def to_model_row(processor: Any, inputs: OmniInput) -> "dict[str, torch.Tensor]":
    """Process one segment to unpadded tensors, equal to those that vLLM computes for it.

    ``input_ids`` [tokens]; with video ``pixel_values_videos`` [patches, values], ``video_grid_thw``
    [1, 3], ``video_second_per_grid`` [1]; with audio ``input_features`` [mels, hops].
    """
    import torch

    media: dict[str, Any] = {}
    if inputs.frames is not None:
        media["videos"] = [torch.from_numpy(inputs.frames).permute(0, 3, 1, 2)]
    if inputs.audio is not None:
        media["audio"] = [inputs.audio]
    batch = processor(text=[inputs.text], return_tensors="pt", **media, **processor_options(inputs))
    row = {"input_ids": batch["input_ids"][0]}
    if inputs.frames is not None:
        row |= {name: batch[name] for name in ("pixel_values_videos", "video_grid_thw")}
        row["video_second_per_grid"] = torch.as_tensor(batch["video_second_per_grid"])
    if inputs.audio is not None:
        row["input_features"] = batch["input_features"][0]
    return row


def token_ids(processor: Any, text: str, *, num_video: int, num_audio: int) -> "torch.Tensor":
    """Tokenize a text whose media have so many tokens; returns ids [tokens]."""
    for pad, length in ((processor.video_token, num_video), (processor.audio_token, num_audio)):
        text = text.replace(pad, pad * length)
    return processor.tokenizer(text, return_tensors="pt")["input_ids"][0]


def processor_options(inputs: OmniInput) -> dict[str, Any]:
    """Return the processor options that transformers and vLLM get in every call."""
    return {
        "fps": inputs.fps,
        "size": inputs.size,
        "do_sample_frames": False,
        "use_audio_in_video": False,
    }


def collate_rows(
    rows: "Sequence[dict[str, torch.Tensor]]", pad_token_id: int
) -> "dict[str, torch.Tensor]":
    """Collate rows to a batch, left-padded: the last position of every row predicts the answer.

    Rows with and without video or audio may be mixed.
    """
    import torch
    from torch.nn.utils.rnn import pad_sequence

    ids = [row["input_ids"] for row in rows]
    ones = [torch.ones_like(row_ids) for row_ids in ids]
    batch = {
        "input_ids": pad_sequence(ids, True, pad_token_id, "left"),
        "attention_mask": pad_sequence(ones, True, 0, "left"),
    }
    for name in ("pixel_values_videos", "video_grid_thw", "video_second_per_grid"):
        if parts := [row[name] for row in rows if name in row]:
            batch[name] = torch.cat(parts)
    if mels := [row["input_features"].T for row in rows if "input_features" in row]:
        hops = [torch.ones(len(mel), dtype=torch.long) for mel in mels]
        batch["input_features"] = pad_sequence(mels, batch_first=True).transpose(1, 2).contiguous()
        batch["feature_attention_mask"] = pad_sequence(hops, batch_first=True)
    return batch


def to_model_batch(processor: Any, inputs: Sequence[OmniInput]) -> "dict[str, torch.Tensor]":
    """Process segments to a batch for the thinker's forward in transformers."""
    rows = [to_model_row(processor, one) for one in inputs]
    return collate_rows(rows, processor.tokenizer.pad_token_id)


def to_vllm_request(inputs: OmniInput) -> dict[str, Any]:
    """Build a request for ``vllm.LLM.generate`` from the same arrays."""
    media: dict[str, Any] = {}
    if inputs.frames is not None:
        media["video"] = [(inputs.frames, _video_metadata(len(inputs.frames), inputs.fps))]
    if inputs.audio is not None:
        media["audio"] = [(inputs.audio, AUDIO_SAMPLE_RATE)]
    request: dict[str, Any] = {"prompt": inputs.text}
    if media:
        request["multi_modal_data"] = media
        request["mm_processor_kwargs"] = processor_options(inputs)
    return request


def _video_metadata(num_frames: int, fps: float) -> dict[str, Any]:
    """Return video metadata that keeps vLLM from sampling frames again."""
    return {
        "fps": fps,
        "duration": num_frames / fps,
        "total_num_frames": num_frames,
        "frames_indices": list(range(num_frames)),
        "video_backend": "pyav",
        "do_sample_frames": False,
    }
