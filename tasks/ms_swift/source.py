"""A training as files for ms-swift: the rows that train and validate, and the command over them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.errors import StoreError
from storage.records import SampleRecord
from storage.store.store import Store
from tasks.labels.class_plan import Plan, has_balanced_sampling, weights_of
from tasks.ms_swift.command import SwiftCommand, SwiftPaths, swift_command
from tasks.ms_swift.rows import MediaPath, drawn_by_plan, write_swift_rows
from tasks.ms_swift.weights import names_in_model
from tasks.prompting.model_input import InputConfig
from tasks.training.schedule import num_steps_of
from tasks.training.selection import check_samples, select_samples
from tasks.training.settings import FinetuneResources, TrainingSettings

TRAIN_NAME = "train.jsonl"
VAL_NAME = "val.jsonl"
OUTPUT_FOLDER = "output"
CACHE_FOLDER = "cache"
_MEDIA_FOLDER = "media"


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

    @property
    def num_steps(self) -> int:
        """How many steps the training has."""
        return num_steps_of(self.settings, sum(sample.in_training for sample in self.samples))


def write_source(folder: Path, source: TrainingSource, out: Path) -> tuple[int, int]:
    """Write the rows into a folder that will become ``out``; gives how many train and validate.

    Media of a remote store are copied beside them.

    Raises:
        StageError: nothing can be learnt from these rows.
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
    return len(drawn), len(val)


def command_for(
    source: TrainingSource, *, folder: str, output: str, num_processes: int
) -> SwiftCommand:
    """Give the command over rows in ``folder``; an empty one is where the command is run.

    Raises:
        ConfigError: the settings cannot be expressed.
        ModelError: the base model's layers cannot be named.
    """
    local = Path(source.model).expanduser()
    locations = SwiftPaths(
        model=str(local.resolve()) if local.is_dir() else source.model,
        weight_names=names_in_model(source.model) if source.settings.method == "lora" else (),
        train=f"{folder}{TRAIN_NAME}",
        val=f"{folder}{VAL_NAME}" if source.settings.validation else None,
        output=output,
        cache=f"{folder}{CACHE_FOLDER}",
    )
    return swift_command(
        source.settings,
        source.config,
        source.resources,
        locations,
        num_steps=source.num_steps,
        num_processes=num_processes,
        weighted=weights_of(source.plan) != (1.0, 1.0),
    )


def differences(source: TrainingSource) -> list[str]:
    """Say what ms-swift does otherwise than Waver's own training with the same settings."""
    message = [
        "otherwise than Waver: ms-swift takes frames of its own choice at the same rate, rounded "
        "down to an even number, and also learns the end of the turn after the answer"
    ]
    if source.settings.validation:
        message.append("otherwise than Waver: the best checkpoint is the one with the lowest loss")
    if has_balanced_sampling(source.plan):
        message.append(
            "classes by turns: the rarer class's rows are repeated, their order is random"
        )
    if weights_of(source.plan) != (1.0, 1.0):
        message.append("class weights stand in the answers' loss_scale")
    return message


def _check_media(store: Store, samples: Sequence[SampleRecord], config: InputConfig) -> None:
    shown = [row.video_path for row in samples if config.video]
    heard = [row.audio_path for row in samples if config.audio]
    expected = {path for path in (*shown, *heard) if path is not None}
    if gone := [path for path in expected if not store.exists(path)]:
        raise StoreError(
            f"{len(gone)} of {len(expected)} segments' media are gone from {store.url!r}: run again "
            "with --from segment."
        )


def _media_path(store: Store, folder: Path, out: Path) -> MediaPath:
    """Say where ms-swift finds a stored file: in a local store itself, else copied here."""

    def in_store(path: str) -> Path:
        return Path(store.full_path(path)).absolute()

    def copied(path: str) -> Path:
        location = folder / _MEDIA_FOLDER / path
        if not location.exists():
            location.parent.mkdir(parents=True, exist_ok=True)
            with store.open(path) as stream:
                location.write_bytes(stream.read())
        return out.absolute() / _MEDIA_FOLDER / path

    return in_store if store.is_local else copied
