"""A model as somebody names it: whole, or a peft adapter, which is merged with its base."""

import json
from pathlib import Path
from typing import Any

from storage.errors import ModelError
from storage.fingerprint import digest_file, digest_of
from storage.store import Store
from tasks.omni.checkpoint import (
    check_model,
    find_model,
    fingerprint_of,
    may_be_on_hub,
    stored_dtype,
)
from tasks.omni.training.merged import ADAPTER_CONFIG, ADAPTER_WEIGHTS, merge_once

_MAX_SHARD_BYTES = 5 << 30


def adapter_in(name: str) -> Path | None:
    """Give the folder of a peft adapter that a name means, directly or as a training left it.

    Raises:
        ModelError: there is no such folder, here or on the hub.
    """
    folder = find_model(name)
    if (folder / "config.json").is_file():
        return None
    places = (folder, folder / "adapter")
    return next((place for place in places if (place / ADAPTER_CONFIG).is_file()), None)


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
    files = (adapter / ADAPTER_CONFIG, adapter / ADAPTER_WEIGHTS)
    return digest_of([digest_file(path) for path in files])


def named_model(store: Store, name: str, base: str) -> Path:
    """Give the folder of the whole model that a name means; an adapter is merged once, by content.

    Raises:
        ModelError: as `check_named_model`, or the adapter changes no answer of its base.
    """
    adapter = adapter_in(name)
    if adapter is None:
        return check_model(name)
    base_path, base_fingerprint = _check_adapter(adapter, base)
    return merge_once(
        store,
        adapter,
        base=str(base_path),
        base_fingerprint=base_fingerprint,
        precision=stored_dtype(base_path),
        max_shard_bytes=_MAX_SHARD_BYTES,
    )


def _check_adapter(adapter: Path, base: str) -> tuple[Path, str]:
    """Find an adapter's base, and hold its fingerprint to the one noted at training, if any is."""
    if not (adapter / ADAPTER_WEIGHTS).is_file():
        raise ModelError(
            f"The adapter {str(adapter)!r} holds no {ADAPTER_WEIGHTS}: save it as safetensors "
            "(peft's save_pretrained does)."
        )
    named = str(_read(adapter / ADAPTER_CONFIG).get("base_model_name_or_path") or base)
    if not (Path(named).is_dir() or may_be_on_hub(named)):  # a folder of another machine
        named = base
    base_path = check_model(named)
    fingerprint = fingerprint_of(base_path)
    settings = adapter.parent / "settings.json"
    noted = _read(settings).get("base_fingerprint") if settings.is_file() else None
    if noted not in (None, fingerprint):
        raise ModelError(
            f"The adapter {str(adapter)!r} was trained from another base than {named!r}: name "
            "that one with --set finetune.model=FOLDER."
        )
    return base_path, fingerprint


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{str(path)!r} is not valid JSON ({error}): copy it again.") from error
    return content if isinstance(content, dict) else {}
