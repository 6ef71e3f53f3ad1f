"""Model folders: finding and checking them, and the fingerprint of their content.

A model is a Hugging Face folder of the Qwen3-Omni-MoE family: ``config.json``, weights as
safetensors, and the files of its tokenizer and processor. Pickled weights are rejected, and code in
a model folder is never run. Nothing here loads the model.
"""

import json
from pathlib import Path
from typing import Any

from storage.errors import ModelError
from storage.fingerprint import digest_file, digest_of
from tasks.model.weights import (
    COMPUTED_BYTES,
    WEIGHTS_INDEX,
    check_weights,
    digest_weights,
    weight_paths,
)

MODEL_TYPE = "qwen3_omni_moe"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
SERVED_ADAPTER = "served-adapter"

_CONFIG_FILES = (
    "config.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "video_preprocessor_config.json",
    "vocab.json",
)


def check_model(name: str) -> Path:
    """Find a model by folder or hub name, check that it can be opened, and return its folder.

    Raises:
        ModelError: it does not exist, is incomplete or damaged, or of another family.
    """
    folder = find_model(name)
    if (folder / ADAPTER_CONFIG).is_file() and not (folder / "config.json").is_file():
        raise ModelError(
            f"{name!r} is a peft adapter without its base model: name a whole model here; only "
            "--model takes an adapter."
        )
    _check_family(name, read_model_config(folder))
    _check_tokenizer_and_processor(name, folder)
    for path in weight_paths(folder):
        check_weights(path)
    return folder


def fingerprint_of(folder: Path) -> str:
    """Digest everything that decides a checked model's predictions, without reading 60 GB.

    Covers the content of the configuration, tokenizer and processor files, a served adapter, and of
    each weight file the name, size, header (every tensor's name, type and shape) and content: all
    of a file up to 64 MiB, otherwise 4 KiB from the middle of every tensor. A change outside these
    blocks is not detected, but training and merging change whole tensors. The folder's path does
    not matter.
    """
    configs = {
        path.name: digest_file(path)
        for path in (folder / name for name in _CONFIG_FILES)
        if path.is_file()
    }
    weights = {path.name: digest_weights(path) for path in weight_paths(folder)}
    parts: list[object] = [configs, weights]
    if adapter := served_adapter(folder):
        parts.append([digest_file(path) for path in adapter_files(adapter)])
    return digest_of(*parts)


def served_adapter(folder: Path) -> Path | None:
    """Return the adapter that the engine serves on a folder's weights, if one is linked."""
    link = folder / SERVED_ADAPTER
    return link.resolve() if link.is_symlink() else None


def adapter_files(adapter: Path) -> list[Path]:
    """List the files that define a peft adapter."""
    return [adapter / name for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS)]


def read_model_config(folder: Path) -> dict[str, Any]:
    """Read a model's ``config.json``."""
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(
            f"{str(folder)!r} is not a model: it has no config.json. Name a Hugging Face folder "
            "of the Qwen3-Omni family."
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{str(path)!r} is not valid JSON ({error}): copy it again.") from error
    if not isinstance(config, dict):
        raise ModelError(f"{str(path)!r} is not a JSON object: copy it again.")
    return config


def stored_dtype(folder: Path) -> str:
    """Return the number type that a model's weights were saved in, such as ``bfloat16``."""
    config = read_model_config(folder)
    thinker = config.get("thinker_config", {})
    for section in (config, thinker, thinker.get("text_config", {})):
        if dtype := section.get("dtype") or section.get("torch_dtype"):
            return str(dtype).removeprefix("torch.")
    return "float32"


def computed_dtype(folder: Path, dtype: str) -> str:
    """Return the number type that an engine computes in; ``auto`` is that of the weights.

    Raises:
        ModelError: the weights' number type does not support computation.
    """
    if dtype != "auto":
        return dtype
    if (stored := stored_dtype(folder)) not in COMPUTED_BYTES:
        raise ModelError(
            f"The model {str(folder)!r} was saved in {stored}, which does not support computation: "
            f"set infer.dtype to one of {', '.join(COMPUTED_BYTES)}."
        )
    return stored


def find_model(name: str) -> Path:
    """Find a model folder by path or hub name, without checking its content.

    Raises:
        ModelError: there is none.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.exists():
        raise ModelError(f"The model {name!r} is a file: expected a folder with a config.json.")
    if not may_be_on_hub(name):
        raise ModelError(f"There is no model folder {name!r}: name a folder or a hub name.")
    return _fetch(name)


def may_be_on_hub(name: str) -> bool:
    """Return whether a name has the form of a hub name (``owner/name``)."""
    return name.count("/") == 1 and not name.startswith((".", "/", "~")) and " " not in name


def _fetch(name: str) -> Path:
    """Find a hub model in the local cache, or fetch it."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    expected = [*_CONFIG_FILES, WEIGHTS_INDEX, ADAPTER_CONFIG, "*.safetensors"]
    try:
        return Path(snapshot_download(name, allow_patterns=expected))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise ModelError(
            f"The model {name!r} is not a local folder and cannot be downloaded from the hub "
            f"({type(error).__name__}): name a folder, or check the name and the connection."
        ) from error


def _check_family(name: str, config: dict[str, Any]) -> None:
    if config.get("model_type") != MODEL_TYPE:
        raise ModelError(
            f"The model {name!r} is of type {config.get('model_type')!r}: expected one of the "
            f"Qwen3-Omni family ({MODEL_TYPE!r})."
        )


def _check_tokenizer_and_processor(name: str, folder: Path) -> None:
    present = {path.name for path in folder.iterdir()}
    if "tokenizer.json" not in present and not {"vocab.json", "merges.txt"} <= present:
        raise ModelError(
            f"The model {name!r} has no tokenizer (tokenizer.json, or vocab.json and merges.txt): "
            "copy its files from the base model."
        )
    if not present & {"processor_config.json", "preprocessor_config.json"}:
        raise ModelError(
            f"The model {name!r} has no processor (processor_config.json or "
            "preprocessor_config.json): copy its files from the base model."
        )
