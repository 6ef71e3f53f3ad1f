"""The job of one backend's child process in a parity measurement, and its predictions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from storage.records import SegmentId
from tasks.inference.settings import InferResources
from tasks.prompting.model_input import InputConfig

Backend = Literal["transformers", "vllm"]
BACKENDS: tuple[Backend, ...] = ("transformers", "vllm")


class ParityJob(BaseModel):
    """One backend's work; written as JSON beside the samples.

    ``max_tokens`` limits a request and ``dtype`` is what vLLM computes in. Transformers computes in
    float32 and takes requests of any length.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: Backend
    store_url: str
    samples_path: Path
    predictions_path: Path
    model_path: Path
    dtype: str
    max_tokens: int
    input: InputConfig
    resources: InferResources


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendPrediction:
    """One backend's prediction for one segment; of a rejected segment only the reason.

    The digests are of what the backend's own processor computes from the segment: token ids, pixels
    and mel features.
    """

    segment_id: SegmentId
    p_ah: float | None = None
    num_text_tokens: int | None = None
    num_video_tokens: int | None = None
    num_audio_tokens: int | None = None
    ids_digest: str | None = None
    video_digest: str | None = None
    audio_digest: str | None = None
    rejected: str | None = None
