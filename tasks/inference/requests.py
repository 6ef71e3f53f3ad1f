"""Rendering a segment as an engine request: token ids, media tensors and token counts.

vLLM's own renderer does it, in the engine's process or in one beside it, which leaves the engine
nothing to do but add the request.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from storage.errors import ItemFault
from tasks.model.model_folder import read_model_config
from tasks.prompting.model_input import OmniInput, to_vllm_request
from tasks.prompting.prediction import TokenCounts, check_token_counts, count_tokens
from tasks.prompting.request_length import length_advice


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """One segment as the engine takes it (vLLM's ``EngineInput``), with its token counts.

    ``num_instruction_tokens`` is the number of tokens before the first video or audio token; 0
    without media.
    """

    rendered: Any
    token_counts: TokenCounts
    num_instruction_tokens: int = 0


class Renderer:
    """Renders requests of at most ``max_tokens`` tokens with one of vLLM's renderers."""

    def __init__(self, renderer: Any, model_path: Path, max_tokens: int) -> None:
        self._renderer = renderer
        self._model_config = read_model_config(model_path)
        self._max_tokens = max_tokens

    def render(self, inputs: OmniInput) -> Request:
        """Render one segment and count its tokens.

        Raises:
            ItemFault: the engine cannot take this segment.
            StageError: the segment's video or audio would not reach the model.
        """
        rendered = self._render(inputs)
        token_ids = rendered["prompt_token_ids"]
        if len(token_ids) > self._max_tokens:
            advice = length_advice(self._max_tokens, self._model_config["thinker_config"])
            raise ItemFault(
                f"too long: the segment has {len(token_ids)} tokens, the engine takes "
                f"{self._max_tokens}; {advice}"
            )
        token_counts = count_tokens(token_ids, self._model_config)
        check_token_counts(token_counts, inputs, self._model_config)
        return Request(
            rendered=rendered,
            token_counts=token_counts,
            num_instruction_tokens=_first_media_token(rendered),
        )

    def _render(self, inputs: OmniInput) -> Any:
        from vllm.renderers.inputs.preprocess import parse_model_prompt

        parsed = parse_model_prompt(self._renderer.model_config, to_vllm_request(inputs))
        tokenizing = replace(self._renderer.default_cmpl_tok_params, max_total_tokens=None)
        try:
            (rendered,) = self._renderer.render_cmpl([parsed], tokenizing)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # its message may quote the transcript
            raise ItemFault(
                f"the engine cannot prepare this segment ({type(error).__name__})"
            ) from error
        return rendered


def _first_media_token(rendered: Any) -> int:
    """Return the index of the first media token; 0 without media."""
    placeholders = rendered.get("mm_placeholders", {}).values()
    return min((each.offset for modality in placeholders for each in modality), default=0)


def open_renderer(config: Any, model_path: Path, max_tokens: int) -> Renderer:
    """Open the renderer that an engine with this configuration uses, without an engine."""
    from vllm.renderers import renderer_from_config

    return Renderer(renderer_from_config(config), model_path, max_tokens)
