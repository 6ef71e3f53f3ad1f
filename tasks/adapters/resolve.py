"""A model as somebody names it, or a run trained it: whole, or a peft adapter on its base.

An adapter is served by the engine or merged with its base; which of the two, and why, is told.
"""

from pathlib import Path
from typing import Any

from storage.errors import ModelError, StoreError
from storage.fingerprint import digest_file, digest_of
from storage.results import ModelRecord
from storage.store.fetch import local_folder
from storage.store.store import Store
from tasks.adapters.merge_cache import merge_once
from tasks.adapters.serving import Way, read_json, serving_folder, why_merged, why_not_computed
from tasks.log import LOGGER
from tasks.model.gpu import has_gpu_driver
from tasks.model.model_folder import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    adapter_files,
    check_model,
    find_model,
    fingerprint_of,
    may_be_on_hub,
    stored_dtype,
)
from tasks.model.weights import COMPUTED_BYTES
from tasks.prompting.trained_with import SETTINGS_NAME

_MAX_SHARD_BYTES = 5 << 30


def adapter_in(name: str) -> Path | None:
    """Give the folder of a peft adapter that a name means, directly or as a training left it.

    Raises:
        ModelError: there is no such folder, here or on the hub.
    """
    folder = find_model(name)
    if (folder / "config.json").is_file():
        return None
    locations = (folder, folder / "adapter")
    return next((location for location in locations if (location / ADAPTER_CONFIG).is_file()), None)


def check_named_model(name: str, base: str) -> None:
    """Check that a whole model, or an adapter and its base, can be opened; changes nothing.

    ``base`` is taken for an adapter that does not name its own.

    Raises:
        ModelError: says what is missing or foreign, and what would do.
    """
    adapter = adapter_in(name)
    if adapter is None:
        check_model(name)
    else:
        _check_adapter(adapter, base)


def content_of(name: str) -> str:
    """Digest a checked model as it is named: whole, or its adapter alone; makes nothing."""
    adapter = adapter_in(name)
    if adapter is None:
        return fingerprint_of(find_model(name))
    return digest_of([digest_file(path) for path in adapter_files(adapter)])


def named_model(store: Store, name: str, base: str, *, dtype: str, way: Way) -> Path:
    """Give the folder that the engine opens for a name: of a whole model, or of base and adapter.

    ``dtype`` is what the engine shall compute in (`auto`: as stored), ``way`` is `infer.adapter`.

    Raises:
        ModelError: as `check_named_model`, or merging shows that the adapter changes no answer.
    """
    adapter = adapter_in(name)
    if adapter is None:
        return check_model(name)
    base_path, base_fingerprint = _check_adapter(adapter, base)
    return _opened(
        store,
        adapter,
        base=str(base_path),
        base_fingerprint=base_fingerprint,
        precision=_precision_of(adapter, base_path),
        max_shard_bytes=_MAX_SHARD_BYTES,
        dtype=dtype,
        way=way,
    )


def trained_model(
    store: Store,
    model: ModelRecord,
    *,
    base: str,
    precision: str,
    max_shard_bytes: int,
    dtype: str,
    way: Way,
) -> Path:
    """Give the folder that the engine opens for a model that a run has trained.

    Whole weights are opened as they were stored; an adapter alone as in `named_model`.

    Raises:
        ModelError: the base model cannot be had or opened.
        StoreError: the adapter is gone, or no space is left.
    """
    if model.adapter_path is None or store.exists(f"{model.model_path}/config.json"):
        return local_folder(store, model.model_path)
    if not store.exists(f"{model.adapter_path}/{ADAPTER_WEIGHTS}"):
        raise StoreError(
            f"The adapter {model.adapter_path!r} is gone from {store.url!r}: run again with "
            "--from finetune."
        )
    return _opened(
        store,
        local_folder(store, model.adapter_path),
        base=base,
        base_fingerprint=model.base_fingerprint,
        precision=precision,
        max_shard_bytes=max_shard_bytes,
        dtype=dtype,
        way=way,
    )


def _opened(
    store: Store,
    adapter: Path,
    *,
    base: str,
    base_fingerprint: str,
    precision: str,
    max_shard_bytes: int,
    dtype: str,
    way: Way,
) -> Path:
    """Decide between serving and merging, say which and why, and give the folder to open."""
    why = why_merged(adapter, way)
    if why is None:
        base_path, on_gpu = check_model(base), has_gpu_driver()
        computed = stored_dtype(base_path) if dtype == "auto" else dtype
        why = why_not_computed(computed, on_gpu=on_gpu)
        if why is None:
            untried = ", untried on a GPU: infer.adapter=merge merges it" if on_gpu else ""
            LOGGER.info("infer: the adapter %r is served as LoRA%s", str(adapter), untried)
            return serving_folder(store, adapter, base_path, base_fingerprint)
    return merge_once(
        store,
        adapter,
        base=base,
        base_fingerprint=base_fingerprint,
        precision=precision,
        max_shard_bytes=max_shard_bytes,
        why=why,
    )


def _check_adapter(adapter: Path, base: str) -> tuple[Path, str]:
    """Find an adapter's base, and hold its fingerprint to the one noted at training, if any is."""
    if not (adapter / ADAPTER_WEIGHTS).is_file():
        raise ModelError(
            f"The adapter {str(adapter)!r} holds no {ADAPTER_WEIGHTS}: save it as safetensors "
            "(peft's save_pretrained does)."
        )
    named = str(read_json(adapter / ADAPTER_CONFIG).get("base_model_name_or_path") or base)
    if not (Path(named).is_dir() or may_be_on_hub(named)):  # a folder of another machine
        named = base
    base_path = check_model(named)
    fingerprint = fingerprint_of(base_path)
    noted = _noted_with(adapter).get("base_fingerprint")
    if noted not in (None, fingerprint):
        raise ModelError(
            f"The adapter {str(adapter)!r} was trained from another base than {named!r}: name "
            "that one with --set finetune.model=FOLDER."
        )
    return base_path, fingerprint


def _precision_of(adapter: Path, base_path: Path) -> str:
    """Give the number type to merge in: that of the training, whose own answers then are the same.

    Of an adapter that Waver did not train it is the base's.
    """
    training = _noted_with(adapter).get("training")
    noted = training.get("precision") if isinstance(training, dict) else None
    return str(noted) if noted in COMPUTED_BYTES else stored_dtype(base_path)


def _noted_with(adapter: Path) -> dict[str, Any]:
    """Read the settings that a training left beside its adapter; empty for another's adapter."""
    path = adapter.parent / SETTINGS_NAME
    return read_json(path) if path.is_file() else {}
