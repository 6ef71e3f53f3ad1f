"""What the child process of an ablation has to know."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tasks.infer import InferResources
from tasks.omni.inputs import InputConfig


class ArmJob(BaseModel):
    """One arm: where its samples are read from, and the variant that its answers go to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    name: str
    stage: str
    variant_id: str
    samples_path: Path
    input: InputConfig


class AblationJob(BaseModel):
    """All arms with something missing; written as JSON beside their samples.

    Those in ``alone``, by their keys, are asked about one at a time, before the others of their
    arm.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    store_url: str
    log_path: Path
    journal_path: Path
    model_path: Path
    dtype: str
    max_tokens: int
    arms: tuple[ArmJob, ...]
    alone: tuple[str, ...]
    resources: InferResources


def key_of(number: int, item: str) -> str:
    """Name a segment in an arm, among those of all arms."""
    return f"{number}:{item}"


def split_key(key: str) -> tuple[int, str]:
    """Give the arm's number and the segment that a key names."""
    number, _, item = key.partition(":")
    return int(number), item
