"""Paths of a training's intermediate files: checkpoints, and features of frozen towers."""

from pathlib import Path

from storage.store.cache import cache_path_of, user_cache_path
from storage.store.variant import Variant
from tasks.model.model_folder import fingerprint_of
from tasks.training.settings import FinetuneResources, TrainingSettings


def work_path_of(
    variant: Variant, samples_digest: str, seed: int, resources: FinetuneResources
) -> Path:
    """Return the folder of a training's checkpoints, used until its model is in the store."""
    name = f"{samples_digest[:12]}-seed-{seed}"
    if resources.checkpoint_folder is not None:
        return Path(resources.checkpoint_folder) / variant.variant_id / name
    if variant.store.is_local:
        return Path(variant.store.full_path(f"{variant.path}/work/{name}"))
    return user_cache_path() / variant.stage / variant.variant_id / name


def features_path_of(
    variant: Variant, model_path: Path, settings: TrainingSettings, resources: FinetuneResources
) -> Path | None:
    """Return the folder of stored features, shared by all trainings from the same base model.

    ``None`` if features are not stored.
    """
    if not resources.store_features:
        return None
    name = f"{fingerprint_of(model_path)[:16]}-{settings.precision}"
    if resources.feature_folder is not None:
        return Path(resources.feature_folder) / name
    return cache_path_of(variant.store) / "features" / name
