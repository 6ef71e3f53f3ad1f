"""From a model's name, or a trained model's record, to the folder that the engine opens.

A model is a whole model or a peft adapter on its base. An adapter is served by the engine or merged
with its base; the log states which, and why.
"""

from pathlib import Path
from typing import Any

from storage.errors import ModelError, StoreError
from storage.fingerprint import digest_file, digest_of
from storage.results import ModelRecord
from storage.store.fetch import local_folder
from storage.store.store import Store
from tasks.adapters.merge_cache import merge_once
from tasks.adapters.serving import (
    AdapterMode,
    read_json,
    reason_not_to_serve,
    reason_to_merge,
    serving_folder,
)
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
    """Find the peft adapter in a named folder, directly or in its ``adapter`` folder.

    Returns ``None`` for a whole model.

    Raises:
        ModelError: there is no such folder, locally or on the hub.
    """
    folder = find_model(name)
    if (folder / "config.json").is_file():
        return None
    paths = (folder, folder / "adapter")
    return next((path for path in paths if (path / ADAPTER_CONFIG).is_file()), None)


def check_named_model(name: str, base: str) -> None:
    """Check that a whole model, or an adapter and its base, can be opened; writes nothing.

    ``base`` is used for an adapter that does not name its own.

    Raises:
        ModelError: files are missing, or the model is of another family.
    """
    adapter = adapter_in(name)
    if adapter is None:
        check_model(name)
    else:
        _check_adapter(adapter, base)


def content_of(name: str) -> str:
    """Digest a checked model's content: the whole model, or the adapter without its base."""
    adapter = adapter_in(name)
    if adapter is None:
        return fingerprint_of(find_model(name))
    return digest_of([digest_file(path) for path in adapter_files(adapter)])


def named_model(store: Store, name: str, base: str, *, dtype: str, mode: AdapterMode) -> Path:
    """Resolve a name to the folder that the engine opens; an adapter may be merged for it.

    ``dtype`` is the engine's (`auto`: as stored), ``mode`` is `infer.adapter`.

    Raises:
        ModelError: as `check_named_model`, or the adapter changes no prediction.
    """
    adapter = adapter_in(name)
    if adapter is None:
        return check_model(name)
    base_path, base_fingerprint = _check_adapter(adapter, base)
    return _serve_or_merge(
        store,
        adapter,
        base=str(base_path),
        base_fingerprint=base_fingerprint,
        precision=_precision_of(adapter, base_path),
        max_shard_bytes=_MAX_SHARD_BYTES,
        dtype=dtype,
        mode=mode,
    )


def trained_model(
    store: Store,
    model: ModelRecord,
    *,
    base: str,
    precision: str,
    max_shard_bytes: int,
    dtype: str,
    mode: AdapterMode,
) -> Path:
    """Resolve a trained model to the folder that the engine opens.

    Whole weights are opened as stored; an adapter alone as in `named_model`.

    Raises:
        ModelError: the base model is unavailable or cannot be opened.
        StoreError: the adapter is missing, or the disk is full.
    """
    if model.adapter_path is None or store.exists(f"{model.model_path}/config.json"):
        return local_folder(store, model.model_path)
    if not store.exists(f"{model.adapter_path}/{ADAPTER_WEIGHTS}"):
        raise StoreError(
            f"The adapter {model.adapter_path!r} is missing from {store.url!r}: run again with "
            "--from finetune."
        )
    return _serve_or_merge(
        store,
        local_folder(store, model.adapter_path),
        base=base,
        base_fingerprint=model.base_fingerprint,
        precision=precision,
        max_shard_bytes=max_shard_bytes,
        dtype=dtype,
        mode=mode,
    )


def _serve_or_merge(
    store: Store,
    adapter: Path,
    *,
    base: str,
    base_fingerprint: str,
    precision: str,
    max_shard_bytes: int,
    dtype: str,
    mode: AdapterMode,
) -> Path:
    """Decide between serving and merging, log the reason, and return the folder to open."""
    reason = reason_to_merge(adapter, mode)
    if reason is None:
        base_path, on_gpu = check_model(base), has_gpu_driver()
        engine_dtype = stored_dtype(base_path) if dtype == "auto" else dtype
        reason = reason_not_to_serve(engine_dtype, on_gpu=on_gpu)
        if reason is None:
            note = ", untested on a GPU: infer.adapter=merge merges it" if on_gpu else ""
            LOGGER.info("infer: the adapter %r is served as LoRA%s", str(adapter), note)
            return serving_folder(store, adapter, base_path, base_fingerprint)
    return merge_once(
        store,
        adapter,
        base=base,
        base_fingerprint=base_fingerprint,
        precision=precision,
        max_shard_bytes=max_shard_bytes,
        reason=reason,
    )


def _check_adapter(adapter: Path, base: str) -> tuple[Path, str]:
    """Find an adapter's base and compare its fingerprint with the training's, if recorded."""
    if not (adapter / ADAPTER_WEIGHTS).is_file():
        raise ModelError(
            f"The adapter {str(adapter)!r} has no {ADAPTER_WEIGHTS}: save it as safetensors "
            "(peft's save_pretrained does)."
        )
    named = str(read_json(adapter / ADAPTER_CONFIG).get("base_model_name_or_path") or base)
    if not (Path(named).is_dir() or may_be_on_hub(named)):  # a path on another host
        named = base
    base_path = check_model(named)
    fingerprint = fingerprint_of(base_path)
    recorded = _training_settings(adapter).get("base_fingerprint")
    if recorded not in (None, fingerprint):
        raise ModelError(
            f"The adapter {str(adapter)!r} was trained on another base than {named!r}: name "
            "that base with --set finetune.model=FOLDER."
        )
    return base_path, fingerprint


def _precision_of(adapter: Path, base_path: Path) -> str:
    """Return the number type to merge in: the training's, which reproduces its predictions.

    For an adapter that Waver did not train it is the base's.
    """
    training = _training_settings(adapter).get("training")
    precision = training.get("precision") if isinstance(training, dict) else None
    return str(precision) if precision in COMPUTED_BYTES else stored_dtype(base_path)


def _training_settings(adapter: Path) -> dict[str, Any]:
    """Read the settings that Waver wrote beside an adapter; empty for other adapters."""
    path = adapter.parent / SETTINGS_NAME
    return read_json(path) if path.is_file() else {}
