"""The job of an ablation's child process."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tasks.inference.job import EngineJob
from tasks.prompting.model_input import InputConfig


class ArmJob(BaseModel):
    """One arm: the file with its samples, and the variant that its predictions go to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    name: str
    stage: str
    variant_id: str
    samples_path: Path
    max_failures: int
    input: InputConfig


class AblationJob(EngineJob):
    """All arms that lack predictions; ``alone`` contains keys (`key_of`), first in their arms."""

    arms: tuple[ArmJob, ...]


def key_of(number: int, item: str) -> str:
    """Return the key of a segment in an arm, unique among all arms."""
    return f"{number}:{item}"


def split_key(key: str) -> tuple[int, str]:
    """Return a key's arm number and segment."""
    number, _, item = key.partition(":")
    return int(number), item
