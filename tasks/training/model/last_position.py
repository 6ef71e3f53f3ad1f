"""Computation of the last position only, which predicts the answer in a left-padded batch.

The last decoder layer needs keys and values at every position, but its query, experts and the head
only at the last one: nothing else attends to their outputs.
"""

from types import MethodType
from typing import Any

import torch


def compute_last_position_only(trained: Any) -> None:
    """Restrict the last layer and the head to the last position.

    The thinker's forward has no argument for it, and would compute logits for each of thousands of
    media tokens.
    """
    head = trained.get_output_embeddings()
    head.register_forward_pre_hook(lambda _head, arguments: (arguments[0][:, -1:],))
    thinker = trained.get_base_model() if hasattr(trained, "get_base_model") else trained
    if _num_deepstack(thinker) < len(thinker.model.layers):  # else features are added to its output
        last = thinker.model.layers[-1]
        last.forward = MethodType(_forward_of_last, last)


def compute_every_position(trained: Any) -> None:
    """Undo `compute_last_position_only`."""
    trained.get_output_embeddings()._forward_pre_hooks.clear()
    thinker = trained.get_base_model() if hasattr(trained, "get_base_model") else trained
    vars(thinker.model.layers[-1]).pop("forward", None)


def _num_deepstack(thinker: Any) -> int:
    return len(thinker.config.vision_config.deepstack_visual_indexes)


def _forward_of_last(layer: Any, hidden_states: torch.Tensor, **options: Any) -> torch.Tensor:
    """Compute a decoder layer's output [batch, 1, hidden] from its input [batch, tokens, hidden].

    Follows Qwen3OmniMoeThinkerTextDecoderLayer.forward (transformers, modeling_qwen3_omni_moe.py).
    """
    attended = _attend(layer.self_attn, layer.input_layernorm(hidden_states), **options)
    last = hidden_states[:, -1:] + attended
    output: torch.Tensor = last + layer.mlp(layer.post_attention_layernorm(last))
    return output


def _attend(
    attention: Any,
    hidden: torch.Tensor,
    *,
    position_embeddings: tuple[torch.Tensor, torch.Tensor],
    attention_mask: torch.Tensor | None,
    past_key_values: Any = None,
    **options: Any,
) -> torch.Tensor:
    """Attend from the last position; follows Qwen3OmniMoeThinkerTextAttention.forward."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
    from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import eager_attention_forward

    by_head = (*hidden.shape[:2], -1, attention.head_dim)
    last_by_head = (hidden.shape[0], 1, -1, attention.head_dim)
    query = attention.q_norm(attention.q_proj(hidden[:, -1:]).view(last_by_head)).transpose(1, 2)
    keys = attention.k_norm(attention.k_proj(hidden).view(by_head)).transpose(1, 2)
    values = attention.v_proj(hidden).view(by_head).transpose(1, 2)
    cos, sin = position_embeddings
    query, keys = _rotated(query, cos[:, -1:], sin[:, -1:]), _rotated(keys, cos, sin)
    if past_key_values is not None:
        keys, values = past_key_values.update(keys, values, attention.layer_idx)
    if attention_mask is not None and attention_mask.dim() == 4:
        attention_mask = attention_mask[:, :, -1:]
    attend = ALL_ATTENTION_FUNCTIONS.get_interface(
        attention.config._attn_implementation, eager_attention_forward
    )
    output, _ = attend(
        attention, query, keys, values, attention_mask, scaling=attention.scaling,
        dropout=attention.attention_dropout if attention.training else 0.0, **options,
    )  # fmt: skip
    projected: torch.Tensor = attention.o_proj(output.flatten(2))
    return projected


def _rotated(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import rotate_half

    rotated: torch.Tensor = states * cos[:, None] + rotate_half(states) * sin[:, None]
    return rotated
