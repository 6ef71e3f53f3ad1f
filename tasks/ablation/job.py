"""What the child process of an ablation has to know."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tasks.infer import InferResources
from tasks.omni.inputs import InputConfig


class ArmJob(BaseModel):
    """One arm: where its samples are read from, and the variant that its answers go to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    stage: str
    variant_id: str
    samples_path: Path
    input: InputConfig


class AblationJob(BaseModel):
    """All arms with something missing; written as JSON beside their samples."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store_url: str
    log_path: Path
    model_path: Path
    dtype: str
    max_tokens: int
    arms: tuple[ArmJob, ...]
    resources: InferResources
