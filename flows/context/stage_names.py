"""The names of the six stages, in order; imports nothing, for the command line's help."""

from typing import Literal, get_args

StageName = Literal["segment", "transcribe", "manifest", "finetune", "infer", "aggregate"]
STAGES: tuple[StageName, ...] = get_args(StageName)
