"""A segment made ready for the engine: token ids, media tensors and their count.

vLLM's own renderer makes them, here or in a process beside the engine, which then only adds them.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from storage.errors import ItemFault
from tasks.model.model_folder import read_model_config
from tasks.prompting.model_input import OmniInput, to_vllm_request
from tasks.prompting.prediction import TokenCounts, check_token_counts, count_tokens
from tasks.prompting.request_length import way_out


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """What the engine takes of one segment (vLLM's EngineInput), and its tokens by kind.

    ``num_instruction_tokens`` of them come before picture and sound; 0 where there is neither.
    """

    rendered: Any
    token_counts: TokenCounts
    num_instruction_tokens: int = 0


class Renderer:
    """Makes requests of at most ``max_tokens`` tokens with a renderer of vLLM's."""

    def __init__(self, renderer: Any, model_path: Path, max_tokens: int) -> None:
        self._renderer = renderer
        self._model_config = read_model_config(model_path)
        self._max_tokens = max_tokens

    def request_of(self, inputs: OmniInput) -> Request:
        """Prepare one segment and count its tokens.

        Raises:
            ItemFault: the engine cannot take this segment.
            StageError: its picture or sound would not reach the model.
        """
        rendered = self._render(inputs)
        token_ids = rendered["prompt_token_ids"]
        if len(token_ids) > self._max_tokens:
            advice = way_out(self._max_tokens, self._model_config["thinker_config"])
            raise ItemFault(
                f"too long: the segment makes {len(token_ids)} tokens, the engine takes "
                f"{self._max_tokens}; {advice}"
            )
        token_counts = count_tokens(token_ids, self._model_config)
        check_token_counts(token_counts, inputs, self._model_config)
        return Request(
            rendered=rendered,
            token_counts=token_counts,
            num_instruction_tokens=_first_medium(rendered),
        )

    def _render(self, inputs: OmniInput) -> Any:
        from vllm.renderers.inputs.preprocess import parse_model_prompt

        parsed = parse_model_prompt(self._renderer.model_config, to_vllm_request(inputs))
        tokenizing = replace(self._renderer.default_cmpl_tok_params, max_total_tokens=None)
        try:
            (rendered,) = self._renderer.render_cmpl([parsed], tokenizing)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # the message may quote the person's words
            raise ItemFault(
                f"the engine cannot prepare this segment ({type(error).__name__})"
            ) from error
        return rendered


def _first_medium(rendered: Any) -> int:
    """Give the position of the first token of a request's media."""
    locations = rendered.get("mm_placeholders", {}).values()
    return min((location.offset for kind in locations for location in kind), default=0)


def open_renderer(config: Any, model_path: Path, max_tokens: int) -> Renderer:
    """Open the renderer that an engine with this configuration would use, without an engine."""
    from vllm.renderers import renderer_from_config

    return Renderer(renderer_from_config(config), model_path, max_tokens)
