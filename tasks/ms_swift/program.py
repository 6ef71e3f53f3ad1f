"""The program `swift` of ms-swift, which lives in a Python environment of its own."""

import os
import shutil
from pathlib import Path

from storage.errors import ModelError, ToolError
from tasks.processes.tool import ToolLimits, run_tool

_SECONDS = 600
# Of all its commands the one that lists its options; it imports what training does. The option that
# it is known by came with version 4.
_QUESTION = ("infer", "--help")
_KNOWN_BY = b"--tuner_type"
_CODE_KEY = b'"auto_map"'
_WAY_OUT = (
    "install ms-swift 4.6 in an environment of its own (python -m venv DIR; DIR/bin/pip install "
    "ms-swift 'qwen_omni_utils>=0.0.9' decord librosa soundfile), name DIR/bin/swift with "
    "resources.finetune.swift_command, or set finetune.trainer = waver."
)
# What would let our environment into another one.
_OWN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


def find_swift(command: str) -> str:
    """Find the program by name or path.

    Raises:
        ToolError: it is not there.
    """
    found = shutil.which(str(Path(command).expanduser()))
    if found is None:
        raise ToolError(
            f"finetune.trainer = ms-swift needs ms-swift, and there is no program {command!r} here "
            f"or on PATH: {_WAY_OUT}"
        )
    return found


def check_swift(command: str) -> None:
    """Ask the program for its options; other programs are called `swift` too.

    Raises:
        ToolError: it is not there, or not the ms-swift that is meant.
    """
    found = find_swift(command)
    limits = ToolLimits(seconds=_SECONDS, memory_mb=1 << 20)
    asked = run_tool(["env", *_left_out(), found, *_QUESTION], limits=limits)
    if asked.status != 0 or _KNOWN_BY not in asked.output:
        raise ToolError(
            f"The program {found!r} does not answer `{' '.join(_QUESTION)}` as "
            f"ms-swift 4 does (status {asked.status}): {_WAY_OUT}"
        )


def check_no_code(model_path: Path) -> None:
    """Refuse a model that brings or names code, which ms-swift would run (`trust_remote_code`).

    Raises:
        ModelError: names the first such file.
    """
    naming = [path for path in model_path.glob("*config.json") if _CODE_KEY in path.read_bytes()]
    if code := sorted(path.name for path in [*model_path.glob("*.py"), *naming]):
        raise ModelError(
            f"The model {str(model_path)!r} brings or names code ({code[0]!r}), which ms-swift "
            "would run: use one without, or set finetune.trainer = waver."
        )


def swift_environment() -> dict[str, str]:
    """Give this process's environment without what belongs to its own Python."""
    return {name: value for name, value in os.environ.items() if name not in _OWN}


def _left_out() -> list[str]:
    return [part for name in _OWN for part in ("-u", name)]
