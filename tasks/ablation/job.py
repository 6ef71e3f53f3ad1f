"""What the child process of an ablation has to know."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tasks.inference.job import EngineJob
from tasks.prompting.model_input import InputConfig


class ArmJob(BaseModel):
    """One arm: where its samples are read from, and the variant that its answers go to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    name: str
    stage: str
    variant_id: str
    samples_path: Path
    max_failures: int
    input: InputConfig


class AblationJob(EngineJob):
    """All arms with something missing; ``alone`` holds keys, which come first in their arms."""

    arms: tuple[ArmJob, ...]


def key_of(number: int, item: str) -> str:
    """Name a segment in an arm, among those of all arms."""
    return f"{number}:{item}"


def split_key(key: str) -> tuple[int, str]:
    """Give the arm's number and the segment that a key names."""
    number, _, item = key.partition(":")
    return int(number), item
