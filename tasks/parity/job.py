"""What both sides of a parity measurement are told, and what they answer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from storage.records import SegmentId
from tasks.inference.settings import InferResources
from tasks.prompting.model_input import InputConfig

Side = Literal["transformers", "vllm"]
SIDES: tuple[Side, ...] = ("transformers", "vllm")


class ParityJob(BaseModel):
    """One side's work; written as JSON beside the samples.

    ``max_tokens`` bounds a request and ``dtype`` is what vLLM computes in; transformers computes in
    float32 and takes requests of any length.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    side: Side
    store_url: str
    samples_path: Path
    answers_path: Path
    model_path: Path
    dtype: str
    max_tokens: int
    input: InputConfig
    resources: InferResources


@dataclass(frozen=True, slots=True, kw_only=True)
class SidePrediction:
    """One side's answer about one segment; of a segment at fault there is nothing but the reason.

    The digests are of what the side's own processor made of the same arrays: token ids, pixels,
    mel features.
    """

    segment_id: SegmentId
    p_ah: float | None = None
    num_text_tokens: int | None = None
    num_video_tokens: int | None = None
    num_audio_tokens: int | None = None
    ids_digest: str | None = None
    video_digest: str | None = None
    audio_digest: str | None = None
    fault: str | None = None
