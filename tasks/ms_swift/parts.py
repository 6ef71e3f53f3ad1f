"""The parts of the model that are trained, in ms-swift's terms: names in the whole model.

ms-swift trains the top class, in which the thinker's names begin with ``thinker.``
(https://swift.readthedocs.io/en/latest/Instruction/Command-line-parameters.html, tuner arguments).
"""

import re
from collections.abc import Mapping, Sequence

from tasks.training.settings import Part

TEXT_PARTS: frozenset[Part] = frozenset(
    ("attention", "experts", "mlp", "router", "embedding", "norms", "head")
)
_LAYER = r"model\.layers\.\d+\."
# Linear layers by part, which LoRA stands beside (transformers, modeling_qwen3_omni_moe.py).
_LINEAR: Mapping[Part, str] = {
    "attention": _LAYER + r"self_attn\.[qkvo]_proj",
    "mlp": _LAYER + r"mlp\.(gate|up|down)_proj",
    "head": "lm_head",
    "projector": r"visual\.merger(_list\.\d+)?\.mlp\.\d+|audio_tower\.proj[12]",
    "vision": r"visual\.blocks\.\d+\.(attn\.(qkv|proj)|mlp\.linear_fc[12])",
    "audio": r"audio_tower\.(conv_out|layers\.\d+\.(self_attn\.([qkv]|out)_proj|fc[12]))",
}
# Experts and routers are bare parameters, which peft adapts by name.
_BARE: Mapping[Part, Sequence[str]] = {
    "experts": ("mlp.experts.gate_up_proj", "mlp.experts.down_proj"),
    "router": ("mlp.gate.weight",),
}
# All parameters by part, which full training changes.
_WHOLE: Mapping[Part, str] = {
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
    """List the linear layers of these parts by whole name, from the names of a model's tensors.

    A pattern would not do: on this model peft reduces it to the last part of the names it matches,
    which the towers share.
    """
    named = "|".join(_LINEAR[part] for part in parts if part in _LINEAR)
    layer = re.compile(rf"(thinker\.(?:{named or '(?!)'}))\.weight")
    return [match[1] for name in weight_names if (match := layer.fullmatch(name))]


def bare_parameters(parts: Sequence[Part]) -> list[str]:
    """List the ends of the names of these parts' bare parameters."""
    return [name for part in parts for name in _BARE.get(part, ())]


def whole_pattern(parts: Sequence[Part]) -> str:
    """Give a pattern that a parameter's name begins with if its part is among these."""
    return rf"^thinker\.({'|'.join(_WHOLE[part] for part in parts)})"
