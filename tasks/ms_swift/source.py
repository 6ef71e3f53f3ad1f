"""A training as ms-swift's input: training and validation rows, and the command."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.errors import StoreError
from storage.records import SampleRecord
from storage.store.store import Store
from tasks.labels.class_plan import Plan, has_balanced_sampling, weights_of
from tasks.ms_swift.command import SwiftCommand, SwiftPaths, swift_command
from tasks.ms_swift.rows import MediaPath, oversampled, write_swift_rows
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
    """The input of a training: samples of a manifest, and resolved settings."""

    store: Store
    samples: Sequence[SampleRecord]
    plan: Plan
    settings: TrainingSettings
    config: InputConfig
    resources: FinetuneResources
    model: str

    @property
    def num_steps(self) -> int:
        """The number of training steps."""
        return num_steps_of(self.settings, sum(sample.in_training for sample in self.samples))


def write_source(folder: Path, source: TrainingSource, out: Path) -> tuple[int, int]:
    """Write the rows into a folder that will be renamed to ``out``; returns both row counts.

    Media of a remote store are copied into the folder.

    Raises:
        StageError: the samples cannot be trained on.
        StoreError: media are missing from the store.
    """
    check_samples(source.samples, source.settings)
    train, val = select_samples(source.samples, source.settings)
    _check_media(source.store, [*train, *val], source.config)
    media_path = _media_path(source.store, folder, out)
    train = oversampled(train, source.plan)
    write_swift_rows(folder / TRAIN_NAME, train, source.config, source.plan, media_path)
    if val:
        write_swift_rows(folder / VAL_NAME, val, source.config, source.plan, media_path)
    return len(train), len(val)


def command_for(
    source: TrainingSource, *, folder: str, output: str, num_processes: int
) -> SwiftCommand:
    """Return the command for rows in ``folder``; empty means the current folder.

    Raises:
        ConfigError: the settings cannot be expressed as options.
        ModelError: the names of the base model's layers cannot be read.
    """
    local = Path(source.model).expanduser()
    paths = SwiftPaths(
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
        paths,
        num_steps=source.num_steps,
        num_processes=num_processes,
        weighted=weights_of(source.plan) != (1.0, 1.0),
    )


def differences(source: TrainingSource) -> list[str]:
    """Describe how ms-swift differs from Waver's own training with the same settings."""
    lines = [
        "unlike Waver, ms-swift samples frames by its own rule at the same rate, rounded down to "
        "an even number, and also trains on the end-of-turn token after the answer"
    ]
    if source.settings.validation:
        lines.append("unlike Waver, ms-swift selects the best checkpoint by the lowest loss")
    if has_balanced_sampling(source.plan):
        lines.append("balanced sampling: rows of the rarer class are repeated, in random order")
    if weights_of(source.plan) != (1.0, 1.0):
        lines.append("class weights are in the answers' loss_scale")
    return lines


def _check_media(store: Store, samples: Sequence[SampleRecord], config: InputConfig) -> None:
    videos = [row.video_path for row in samples if config.video]
    audios = [row.audio_path for row in samples if config.audio]
    expected = {path for path in (*videos, *audios) if path is not None}
    if missing := [path for path in expected if not store.exists(path)]:
        raise StoreError(
            f"{len(missing)} of {len(expected)} media files of segments are missing from "
            f"{store.url!r}: run again with --from segment."
        )


def _media_path(store: Store, folder: Path, out: Path) -> MediaPath:
    """Return the function from a stored file to its path: in a local store, else of a copy."""

    def in_store(path: str) -> Path:
        return Path(store.full_path(path)).absolute()

    def copied(path: str) -> Path:
        copy = folder / _MEDIA_FOLDER / path
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            with store.open(path) as stream:
                copy.write_bytes(stream.read())
        return out.absolute() / _MEDIA_FOLDER / path

    return in_store if store.is_local else copied
