"""The trained parts in ms-swift's terms: parameter names of the full model.

ms-swift trains the top-level class, where the thinker's names start with ``thinker.``
(https://swift.readthedocs.io/en/latest/Instruction/Command-line-parameters.html, tuner arguments).
"""

import re
from collections.abc import Mapping, Sequence

from tasks.training.settings import Part

TEXT_PARTS: frozenset[Part] = frozenset(
    ("attention", "experts", "mlp", "router", "embedding", "norms", "head")
)
_LAYER = r"model\.layers\.\d+\."
# Linear layers by part, for LoRA (transformers, modeling_qwen3_omni_moe.py).
_LINEAR: Mapping[Part, str] = {
    "attention": _LAYER + r"self_attn\.[qkvo]_proj",
    "mlp": _LAYER + r"mlp\.(gate|up|down)_proj",
    "head": "lm_head",
    "projector": r"visual\.merger(_list\.\d+)?\.mlp\.\d+|audio_tower\.proj[12]",
    "vision": r"visual\.blocks\.\d+\.(attn\.(qkv|proj)|mlp\.linear_fc[12])",
    "audio": r"audio_tower\.(conv_out|layers\.\d+\.(self_attn\.([qkv]|out)_proj|fc[12]))",
}
# Experts and routers are not linear layers but parameters, which peft adapts by name.
_BARE: Mapping[Part, Sequence[str]] = {
    "experts": ("mlp.experts.gate_up_proj", "mlp.experts.down_proj"),
    "router": ("mlp.gate.weight",),
}
# All parameters by part, for full fine-tuning.
_FULL: Mapping[Part, str] = {
    "attention": _LAYER + r"self_attn\.",
    "experts": _LAYER + r"mlp\.experts\.",
    "mlp": _LAYER + r"mlp\.(?!experts\.|gate\.)",
    "router": _LAYER + r"mlp\.gate\.",
    "embedding": r"model\.embed_tokens\.",
    "norms": r"model\.(layers\.\d+\.\w+norm|norm)\.",
    "head": r"lm_head\.",
    "projector": r"(visual\.merger|audio_tower\.proj[12]\.)",
    "vision": r"visual\.(?!merger)",
    "audio": r"audio_tower\.(?!proj[12]\.)",
}


def linear_layers(parts: Sequence[Part], weight_names: Sequence[str]) -> list[str]:
    """Return the full names of these parts' linear layers, from the names of a model's tensors.

    Not a pattern: on this model peft reduces it to the last component of the names it matches,
    which the towers have in common.
    """
    named = "|".join(_LINEAR[part] for part in parts if part in _LINEAR)
    layer = re.compile(rf"(thinker\.(?:{named or '(?!)'}))\.weight")
    return [match[1] for name in weight_names if (match := layer.fullmatch(name))]


def bare_parameters(parts: Sequence[Part]) -> list[str]:
    """Return the name suffixes of these parts' parameters outside of linear layers."""
    return [name for part in parts for name in _BARE.get(part, ())]


def parameter_pattern(parts: Sequence[Part]) -> str:
    """Return a pattern that matches the start of these parts' parameter names."""
    return rf"^thinker\.({'|'.join(_FULL[part] for part in parts)})"
