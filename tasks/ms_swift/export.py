"""Export of training data for ms-swift: a folder with rows and the command.

train.jsonl, val.jsonl   the rows, with absolute paths to their media
train.sh                 `swift sft` with the run's settings
media/                   copies of the media of a remote store
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
# {method} training with ms-swift 4.6 and the settings resolved by `waver export`. It needs its own
# environment: pip install ms-swift 'qwen_omni_utils>=0.0.9' decord librosa soundfile
# and, for full training with several processes, deepspeed.
# ms-swift runs code that comes with a model. Its cache/ contains transcripts.
set -eu
cd "$(dirname "$0")"
{environment}
exec swift {command}
"""


def write_swift_folder(folder: Path, source: TrainingSource, out: Path) -> list[str]:
    """Fill an empty folder that will be renamed to ``out``; returns a description, line by line.

    Raises:
        StageError: the samples cannot be trained on.
        ConfigError: the settings cannot be expressed as options.
        ModelError: the names of the base model's layers cannot be read.
        StoreError: media are missing from the store.
    """
    num_train, num_val = write_source(folder, source, out)
    _write_script(folder / SCRIPT_NAME, source)
    return [
        f"{num_train} training rows and {num_val} validation rows, with absolute paths to media",
        *differences(source),
    ]


def _write_script(path: Path, source: TrainingSource) -> None:
    """Write the command as a readable script, one option per line."""
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
        command=_one_per_line(command.arguments),
    )
    path.write_text(script, encoding="utf-8")
    path.chmod(0o755)


def _one_per_line(arguments: Sequence[str]) -> str:
    """Quote arguments for a shell, one option per line."""
    lines: list[str] = []
    for argument in arguments:
        if argument.startswith("--") or not lines:
            lines.append(shlex.quote(argument))
        else:
            lines[-1] += f" {shlex.quote(argument)}"
    return " \\\n    ".join(lines)
