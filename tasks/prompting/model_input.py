"""The model's input for one segment, built once and given alike to training and to inference.

``build_input`` decodes a segment's picture and sound to arrays. ``to_model_batch`` (transformers)
and ``to_vllm_request`` (vLLM) both start from those arrays, because a library that opens the file
itself samples other frames. Picture and sound go in as separate items
(``use_audio_in_video=False``); frame rate and size are passed in every call, since the values
saved with a processor are overridden by its class's defaults.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from storage.records import AUDIO_SAMPLE_RATE
from tasks.prompting.decode import Audio, Frames, decode_audio, decode_frames
from tasks.prompting.prompt import AnswerFormat, prompt_names, render_chat, uses_words

if TYPE_CHECKING:
    import torch

HOP_SAMPLES = 160  # one mel frame: whole hops make transformers and vLLM count sound tokens alike
MIN_AUDIO_SAMPLES = 1_600
FRAME_MULTIPLE = 2  # the vision tower merges frames in pairs


class InputConfig(BaseModel):
    """What the model is shown and asked; part of a result's identity."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    prompt: str = "definition-words"
    """Name of a text file under tasks/prompting/prompts, without its ending."""
    answer: AnswerFormat = "word"
    """The answer's form: the plain word, or the paper's `<answer>Yes</answer>` (tag), of which the
    opening stands in the prompt."""
    fps: float = Field(default=2.0, gt=0, le=30)
    """Frames a second taken from the picture, evenly spaced."""
    min_pixels: int = Field(default=64 * 64, ge=32 * 32)
    """A frame with fewer pixels is scaled up to this many, its shape kept."""
    max_pixels: int = Field(default=448 * 448, ge=32 * 32)
    """A frame with more pixels is scaled down to this many, its shape kept."""
    video: bool = True
    """Whether the model sees the picture."""
    audio: bool = True
    """Whether the model hears the sound."""
    transcript: bool = True
    """Whether the model reads the words, where the prompt quotes them or those before them."""

    @field_validator("prompt")
    @classmethod
    def _prompt_is_known(cls, name: str) -> str:
        if name not in prompt_names():
            raise ValueError(
                f"unknown prompt {name!r}: expected one of {', '.join(prompt_names())}"
            )
        return name

    @model_validator(mode="after")
    def _something_is_shown(self) -> "InputConfig":
        if not (self.video or self.audio or self.shows_words):
            raise ValueError("picture, sound and words are all switched off: switch one on")
        if self.min_pixels > self.max_pixels:
            raise ValueError(f"min_pixels {self.min_pixels} exceeds max_pixels {self.max_pixels}")
        return self

    @property
    def shows_words(self) -> bool:
        """True if a segment's words stand in the prompt."""
        return self.transcript and uses_words(self.prompt)

    @property
    def size(self) -> dict[str, int]:
        """The pixel bounds of one frame, under the names that Qwen's video processor reads."""
        return {"shortest_edge": self.min_pixels, "longest_edge": self.max_pixels}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OmniInput:
    """One segment as the model gets it; ``text`` is the chat up to the position of the answer.

    ``frames`` is uint8 [T, H, W, 3] with T even, ``sound`` float32 [samples] at 16 kHz in whole
    hops of 160; either may be missing.
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
    before: str = "",
) -> OmniInput:
    """Decode what the settings ask for; a segment without picture or sound keeps the rest."""
    frames = decode_frames(video, config.fps) if config.video and video is not None else None
    samples = decode_audio(audio) if config.audio and audio is not None else None
    return make_input(config, frames=frames, audio=samples, transcript=transcript, before=before)


def make_input(
    config: InputConfig,
    *,
    frames: Frames | None,
    audio: Audio | None,
    transcript: str,
    before: str = "",
) -> OmniInput:
    """Lay decoded arrays and words into the prompt, leaving out what the settings switch off."""
    shown = even_frames(frames) if config.video and frames is not None and len(frames) else None
    heard = whole_hops(audio) if config.audio and audio is not None and audio.size else None
    text = render_chat(
        config.prompt,
        video=shown is not None,
        audio=heard is not None,
        transcript=transcript if config.transcript else None,
        before=before,
        answer=config.answer,
    )
    return OmniInput(text=text, frames=shown, audio=heard, fps=config.fps, size=config.size)


def even_frames(frames: Frames) -> Frames:
    """Repeat the last frame of an odd number of frames."""
    missing = -len(frames) % FRAME_MULTIPLE
    return np.concatenate([frames, frames[-1:]]) if missing else frames


def whole_hops(audio: Audio) -> Audio:
    """Drop the last, incomplete hop; a sound under 100 ms is filled up with silence."""
    if audio.size < MIN_AUDIO_SAMPLES:
        return np.pad(audio, (0, MIN_AUDIO_SAMPLES - audio.size))
    return audio[: audio.size // HOP_SAMPLES * HOP_SAMPLES]


def to_model_row(processor: Any, inputs: OmniInput) -> "dict[str, torch.Tensor]":
    """One segment's tensors from the processor, unpadded: the same that vLLM computes for it.

    ``input_ids`` [tokens]; with a picture ``pixel_values_videos`` [patches, values],
    ``video_grid_thw`` [1, 3], ``video_second_per_grid`` [1]; with sound ``input_features``
    [mels, hops].
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
    """The tokens [tokens] that the processor makes of a text whose media are that long."""
    for mark, length in ((processor.video_token, num_video), (processor.audio_token, num_audio)):
        text = text.replace(mark, mark * length)
    return processor.tokenizer(text, return_tensors="pt")["input_ids"][0]


def processor_options(inputs: OmniInput) -> dict[str, Any]:
    """What both sides pass to the processor in every call."""
    return {
        "fps": inputs.fps,
        "size": inputs.size,
        "do_sample_frames": False,
        "use_audio_in_video": False,
    }


def collate_rows(
    rows: "Sequence[dict[str, torch.Tensor]]", pad_token_id: int
) -> "dict[str, torch.Tensor]":
    """Rows as one batch, padded on the left: the answer's position is the last one of every row.

    Rows without picture or sound may stand beside rows with them.
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
    if heard := [row["input_features"].T for row in rows if "input_features" in row]:
        hops = [torch.ones(len(mel), dtype=torch.long) for mel in heard]
        batch["input_features"] = pad_sequence(heard, batch_first=True).transpose(1, 2).contiguous()
        batch["feature_attention_mask"] = pad_sequence(hops, batch_first=True)
    return batch


def to_model_batch(processor: Any, inputs: Sequence[OmniInput]) -> "dict[str, torch.Tensor]":
    """A batch for the thinker's forward in transformers."""
    rows = [to_model_row(processor, one) for one in inputs]
    return collate_rows(rows, processor.tokenizer.pad_token_id)


def to_vllm_request(inputs: OmniInput) -> dict[str, Any]:
    """One request for ``vllm.LLM.generate``, holding the same arrays."""
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
    """What keeps vLLM from sampling frames a second time."""
    return {
        "fps": fps,
        "duration": num_frames / fps,
        "total_num_frames": num_frames,
        "frames_indices": list(range(num_frames)),
        "video_backend": "pyav",
        "do_sample_frames": False,
    }
