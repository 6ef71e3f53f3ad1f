"""Find and check ms-swift's program `swift`, which has its own Python environment."""

import os
import shutil
from pathlib import Path

from storage.errors import ModelError, ToolError
from tasks.processes.tool import ToolLimits, run_tool

_SECONDS = 600
# The only command that lists its options; it imports what training imports. The option was added in
# version 4.
_HELP = ("infer", "--help")
_EXPECTED_OPTION = b"--tuner_type"
_CODE_KEY = b'"auto_map"'
_ADVICE = (
    "install ms-swift 4.6 in its own environment (python -m venv DIR; DIR/bin/pip install "
    "ms-swift 'qwen_omni_utils>=0.0.9' decord librosa soundfile), set DIR/bin/swift as "
    "resources.finetune.swift_command, or set finetune.trainer = waver."
)
# Variables of our environment that would affect another one.
_OWN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


def find_swift(command: str) -> str:
    """Find the program by name or path.

    Raises:
        ToolError: it does not exist.
    """
    found = shutil.which(str(Path(command).expanduser()))
    if found is None:
        raise ToolError(
            f"finetune.trainer = ms-swift requires ms-swift, but there is no program {command!r} "
            f"on PATH: {_ADVICE}"
        )
    return found


def check_swift(command: str) -> None:
    """Raise if the program is not ms-swift 4: other programs are called `swift`, too.

    Raises:
        ToolError: it does not exist or lists other options.
    """
    found = find_swift(command)
    limits = ToolLimits(seconds=_SECONDS, memory_mb=1 << 20)
    result = run_tool(["env", *_unset(), found, *_HELP], limits=limits)
    if result.status != 0 or _EXPECTED_OPTION not in result.output:
        raise ToolError(
            f"The program {found!r} does not respond to `{' '.join(_HELP)}` like "
            f"ms-swift 4 (exit status {result.status}): {_ADVICE}"
        )


def check_no_code(model_path: Path) -> None:
    """Raise if a model contains or refers to code, which ms-swift would run (`trust_remote_code`).

    Raises:
        ModelError: names the first such file.
    """
    configs = [path for path in model_path.glob("*config.json") if _CODE_KEY in path.read_bytes()]
    if code := sorted(path.name for path in [*model_path.glob("*.py"), *configs]):
        raise ModelError(
            f"The model {str(model_path)!r} contains or refers to code ({code[0]!r}), which "
            "ms-swift would run: use a model without code, or set finetune.trainer = waver."
        )


def swift_environment() -> dict[str, str]:
    """Return this process's environment variables without those of its own Python."""
    return {name: value for name, value in os.environ.items() if name not in _OWN}


def _unset() -> list[str]:
    return [part for name in _OWN for part in ("-u", name)]
