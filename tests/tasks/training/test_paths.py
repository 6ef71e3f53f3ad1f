from pathlib import Path

from storage.store.store import Store
from storage.store.variant import open_variant
from tasks.training.paths import features_path_of, work_path_of
from tasks.training.settings import FinetuneResources, TrainingSettings

RESOURCES = FinetuneResources()


def test_checkpoints_are_in_a_local_store_or_in_the_users_cache(tmp_path, monkeypatch):
    store = Store(str(tmp_path / "store"))
    variant = open_variant(store, "finetune", version=1, settings={})
    inside = work_path_of(variant, "d" * 32, 0, RESOURCES)
    assert inside.is_relative_to(store.root)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    remote = open_variant(Store("memory://toys"), "finetune", version=1, settings={})
    assert work_path_of(remote, "d" * 32, 0, RESOURCES).is_relative_to(tmp_path / "caches")
    named = FinetuneResources(checkpoint_folder=str(tmp_path / "named"))
    assert work_path_of(variant, "d" * 32, 0, named).is_relative_to(tmp_path / "named")


def test_features_are_separated_by_base_and_precision_or_not_stored(tmp_path, tiny_omni):
    variant = open_variant(Store(str(tmp_path / "store")), "finetune", version=1, settings={})

    def path(precision, **resources):
        settings = TrainingSettings(precision=precision)
        return features_path_of(variant, tiny_omni, settings, FinetuneResources(**resources))

    assert path("float32") != path("bfloat16")
    assert path("float32").is_relative_to(variant.store.root)
    assert path("float32", feature_folder=str(tmp_path)).parent == Path(tmp_path)
    assert path("float32", store_features=False) is None
