"""Training by ms-swift: a folder of the rows that train and validate, and the command for it.

train.jsonl, val.jsonl   the rows, with absolute paths to their media
train.sh                 `swift sft` with the run's own settings
media/                   copies of the media, of a remote store alone
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from tasks.ms_swift.source import (
    OUTPUT_FOLDER,
    TrainingSource,
    command_for,
    differences,
    write_source,
)

SCRIPT_NAME = "train.sh"
_SCRIPT = """\
#!/bin/sh
# {method} training by ms-swift 4.6, with the settings that `waver export` resolved. It wants an
# environment of its own: pip install ms-swift 'qwen_omni_utils>=0.0.9' decord librosa soundfile
# and, for full training by several processes, deepspeed.
# ms-swift runs code that comes with a model. What it keeps in cache/ holds what was said.
set -eu
cd "$(dirname "$0")"
{environment}
exec swift {command}
"""


def write_swift_folder(folder: Path, source: TrainingSource, out: Path) -> list[str]:
    """Fill an empty folder that will become ``out``; gives what there is to say about it.

    Raises:
        StageError: nothing can be learnt from these rows.
        ConfigError: the settings cannot be expressed.
        ModelError: the base model's layers cannot be named.
        StoreError: media are gone from the store.
    """
    num_train, num_val = write_source(folder, source, out)
    _write_script(folder / SCRIPT_NAME, source)
    return [
        f"{num_train} rows to train on, {num_val} to validate on, with absolute paths to media",
        *differences(source),
    ]


def _write_script(path: Path, source: TrainingSource) -> None:
    """Write the command with an option a line, to be read."""
    command = command_for(
        source,
        folder="",
        output=OUTPUT_FOLDER,
        num_processes=source.resources.num_processes or 1,
    )
    exported = (f"export {name}={shlex.quote(v)}" for name, v in command.environment.items())
    script = _SCRIPT.format(
        method={"lora": "LoRA", "full": "Full"}[source.settings.method],
        environment="\n".join(exported),
        command=_laid_out(command.arguments),
    )
    path.write_text(script, encoding="utf-8")
    path.chmod(0o755)


def _laid_out(arguments: Sequence[str]) -> str:
    """Write arguments for a shell, each option on a line of its own."""
    lines: list[str] = []
    for argument in arguments:
        if argument.startswith("--") or not lines:
            lines.append(shlex.quote(argument))
        else:
            lines[-1] += f" {shlex.quote(argument)}"
    return " \\\n    ".join(lines)
