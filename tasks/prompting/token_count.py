"""A segment's number of tokens, from its transcript and its files' timestamps and frame sizes.

No frame is decoded. The counts equal those of the engine's own renderer.
"""

from pathlib import Path
from typing import Any

from storage.errors import ItemFault
from storage.records import SampleRecord
from storage.store.store import Store
from tasks.model.model_folder import read_model_config
from tasks.prompting.decode import decode_audio, measure_frames
from tasks.prompting.model_input import (
    FRAME_MULTIPLE,
    HOP_SAMPLES,
    MIN_AUDIO_SAMPLES,
    InputConfig,
)
from tasks.prompting.prompt import render_chat

_HOPS_PER_SECOND, _TOKENS_PER_SECOND = 100, 13


class TokenCounter:
    """Counts the tokens of a store's segments for one model and its input settings."""

    def __init__(self, store: Store, config: InputConfig, model_path: Path) -> None:
        from transformers import AutoTokenizer

        self._store, self._config = store, config
        self._tokenizer: Any = AutoTokenizer.from_pretrained(model_path, trust_remote_code=False)
        self._token_side = token_side_of(read_model_config(model_path))

    def count(self, sample: SampleRecord) -> int:
        """Count one segment's tokens; a damaged or missing file has none."""
        num_video, num_audio = self._num_video(sample), self._num_audio(sample)
        chat = render_chat(
            self._config.prompt,
            video=num_video > 0,
            audio=num_audio > 0,
            transcript=sample.transcript if self._config.transcript else None,
            transcript_before=sample.transcript_before,
            answer=self._config.answer,
        )
        num_pads = (num_video > 0) + (num_audio > 0)  # each stands for all tokens of its media
        num_text = len(self._tokenizer(chat)["input_ids"]) - num_pads
        return num_text + num_video + num_audio

    def _num_video(self, sample: SampleRecord) -> int:
        if not self._config.video or sample.video_path is None:
            return 0
        try:
            with self._store.open(sample.video_path) as file:
                num_frames, height, width = measure_frames(file, self._config.fps)
            return video_tokens(
                num_frames, height, width, size=self._config.size, token_side=self._token_side
            )
        except (ItemFault, FileNotFoundError, ValueError):
            return 0

    def _num_audio(self, sample: SampleRecord) -> int:
        if not self._config.audio or sample.audio_path is None:
            return 0
        try:
            with self._store.open(sample.audio_path) as file:
                num_samples = decode_audio(file).size
        except (ItemFault, FileNotFoundError):
            return 0
        return audio_tokens(max(num_samples, MIN_AUDIO_SAMPLES) // HOP_SAMPLES)


def token_side_of(model_config: dict[str, Any]) -> int:
    """Return the side, in pixels, of the square patch that becomes one token."""
    vision = model_config["thinker_config"]["vision_config"]
    side: int = vision["patch_size"] * vision["spatial_merge_size"]
    return side


def video_tokens(
    num_frames: int, height: int, width: int, *, size: dict[str, int], token_side: int
) -> int:
    """Count the tokens of frames of this shape after scaling into the bounds of ``size``.

    Raises:
        ValueError: the frame's aspect ratio is too extreme for the processor.
    """
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import smart_resize

    bounds = size["shortest_edge"], size["longest_edge"]
    sides = smart_resize(height, width, token_side, *bounds)
    num_tokens: int = sides[0] * sides[1] // token_side**2
    return -(-num_frames // FRAME_MULTIPLE) * num_tokens


def audio_tokens(num_hops: int) -> int:
    """Count the tokens of audio: 13 per second, and its remaining hops halved three times."""
    seconds, remainder = divmod(num_hops, _HOPS_PER_SECOND)
    for _ in range(3):
        remainder = -(-remainder // 2)
    return _TOKENS_PER_SECOND * seconds + remainder
