"""Training by ms-swift: a folder of the rows that train and validate, and the command for it.

train.jsonl, val.jsonl   the rows, with absolute paths to their media
train.sh                 `swift sft` with the run's own settings
media/                   copies of the media, of a remote store alone
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.errors import StoreError
from storage.records import SampleRecord
from storage.store import Store
from tasks.labels.plan import Plan, draws_equally, weights_of
from tasks.omni.inputs import InputConfig
from tasks.omni.swift.command import SwiftCommand, SwiftPlaces, swift_command
from tasks.omni.swift.rows import MediaPath, drawn_by_plan, write_swift_rows
from tasks.omni.swift.weights import names_in_model
from tasks.omni.training.schedule import num_steps_of
from tasks.omni.training.selection import check_samples, select_samples
from tasks.omni.training.settings import FinetuneResources, TrainingSettings

TRAIN_NAME = "train.jsonl"
VAL_NAME = "val.jsonl"
SCRIPT_NAME = "train.sh"
_MEDIA_FOLDER = "media"
_SCRIPT = """\
#!/bin/sh
# {method} training by ms-swift 4.6, with the settings that `waver export` resolved. It wants an
# environment of its own: pip install ms-swift 'qwen_omni_utils>=0.0.9' decord librosa soundfile
set -eu
cd "$(dirname "$0")"
{environment}
exec swift {command}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSource:
    """What a training learns from, and how: the rows of a manifest, and resolved settings."""

    store: Store
    samples: Sequence[SampleRecord]
    plan: Plan
    settings: TrainingSettings
    config: InputConfig
    resources: FinetuneResources
    model: str


def write_swift_folder(folder: Path, source: TrainingSource, out: Path) -> list[str]:
    """Fill an empty folder that will become ``out``; gives what there is to say about it.

    Raises:
        StageError: nothing can be learnt from these rows.
        ConfigError: the settings cannot be expressed.
        ModelError: the base model's layers cannot be named.
        StoreError: media are gone from the store.
    """
    check_samples(source.samples, source.settings)
    train, val = select_samples(source.samples, source.settings)
    _check_media(source.store, [*train, *val], source.config)
    media_path = _media_path(source.store, folder, out)
    drawn = drawn_by_plan(train, source.plan)
    write_swift_rows(folder / TRAIN_NAME, drawn, source.config, source.plan, media_path)
    if val:
        write_swift_rows(folder / VAL_NAME, val, source.config, source.plan, media_path)
    _write_script(folder / SCRIPT_NAME, _command(source, len(train), with_val=bool(val)), source)
    return [
        f"{len(drawn)} rows to train on, {len(val)} to validate on, with absolute paths to media",
        *differences(source),
    ]


def differences(source: TrainingSource) -> list[str]:
    """Say what ms-swift does otherwise than Waver's own training with the same settings."""
    settings = source.settings
    said = [
        "otherwise than Waver: ms-swift takes frames of its own choice at the same rate, and also "
        "learns the end of the turn after the answer"
    ]
    if settings.validation:
        said.append("otherwise than Waver: the best checkpoint is the one with the lowest loss")
    if draws_equally(source.plan):
        said.append("classes by turns: the rarer class's rows are repeated, their order is random")
    if weights_of(source.plan) != (1.0, 1.0):
        said.append("class weights stand in the answers' loss_scale")
    return said


def _check_media(store: Store, samples: Sequence[SampleRecord], config: InputConfig) -> None:
    wanted = {row.picture_path for row in samples if config.picture}
    wanted |= {row.sound_path for row in samples if config.sound and row.sound_path is not None}
    if gone := [path for path in wanted if not store.exists(path)]:
        raise StoreError(
            f"{len(gone)} of {len(wanted)} segments' media are gone from {store.url!r}: run again "
            "with --from segment."
        )


def _media_path(store: Store, folder: Path, out: Path) -> MediaPath:
    """Say where ms-swift finds a stored file: in a local store itself, else copied here."""

    def in_store(path: str) -> Path:
        return Path(store.full_path(path)).absolute()

    def copied(path: str) -> Path:
        place = folder / _MEDIA_FOLDER / path
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            with store.open(path) as stream:
                place.write_bytes(stream.read())
        return out.absolute() / _MEDIA_FOLDER / path

    return in_store if store.is_local else copied


def _command(source: TrainingSource, num_train: int, *, with_val: bool) -> SwiftCommand:
    local = Path(source.model).expanduser()
    places = SwiftPlaces(
        model=str(local.resolve()) if local.is_dir() else source.model,
        weight_names=names_in_model(source.model) if source.settings.method == "lora" else (),
        train=TRAIN_NAME,
        val=VAL_NAME if with_val else None,
        output="output",
    )
    return swift_command(
        source.settings,
        source.config,
        source.resources,
        places,
        num_steps=num_steps_of(source.settings, num_train),
        num_processes=source.resources.num_processes or 1,
        weighted=weights_of(source.plan) != (1.0, 1.0),
    )


def _write_script(path: Path, command: SwiftCommand, source: TrainingSource) -> None:
    """Write the command with an option a line, to be read."""
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
