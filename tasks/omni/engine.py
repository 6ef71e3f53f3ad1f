"""vLLM, opened once and asked about many segments, answers coming back as they are ready.

The same code runs on the CPU and the CUDA build. Runs in a child process only: opening the engine
sets environment variables and takes half a minute and gigabytes.
"""

import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from storage.errors import ItemFault, ModelError
from tasks.omni.answer import Answer, Census, check_census, check_numbers, count_tokens
from tasks.omni.checkpoint import read_model_config
from tasks.omni.inputs import OmniInput, to_vllm_request
from tasks.omni.prompt import answer_token_ids

Key = TypeVar("Key")


class EngineResources(BaseModel):
    """How the inference engine uses the machine; no part of a result's identity."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_requests: int = Field(default=16, ge=1, le=4096)
    """Segments in the engine's batch at once."""
    max_batched_tokens: int = Field(default=8192, ge=256)
    """Tokens in one step of the engine, over all segments."""
    num_gpus: int = Field(default=1, ge=1, le=64)
    """GPUs that share the model (tensor parallel)."""
    gpu_memory_share: float = Field(default=0.9, gt=0, lt=1)
    """Part of each GPU's memory that the engine may take."""
    cpu_cache_gib: int = Field(default=1, ge=1)
    """Memory of the attention cache, where there is no GPU."""
    cpu_threads: int | None = Field(default=None, ge=1)
    """Threads of the engine, where there is no GPU; one a core if not given."""


class Engine:
    """One opened vLLM engine.

    ``dtype`` is float32, bfloat16 or float16; a request may hold ``max_tokens`` tokens and the
    answer.

    Raises:
        ModelError: vLLM cannot open the model, or an answer is not one token.
    """

    def __init__(
        self, model_path: Path, *, dtype: str, max_tokens: int, resources: EngineResources
    ) -> None:
        on_gpu = _set_environment(resources)
        self._model_config = read_model_config(model_path)
        self._max_tokens = max_tokens
        self._num_waiting = 2 * resources.max_requests  # one batch in work, one ready behind it
        self._request_ids = map(str, itertools.count())
        yes, no = _answer_ids(model_path)
        self._answer_ids = yes, no
        options = _engine_options(model_path, dtype, max_tokens, resources, on_gpu)
        self._llm = _open(model_path, options)
        self._sampling = _sampling_of([yes, no])

    def answers(
        self, questions: Iterable[tuple[Key, OmniInput | ItemFault]]
    ) -> Iterator[tuple[Key, Answer | ItemFault]]:
        """Answer each question once, in the order in which the engine finishes them.

        A question that is a fault, or that the engine cannot take, comes back as a fault.
        Questions are drawn only as fast as the engine works them off.
        """
        waiting: dict[str, tuple[Key, Census]] = {}
        for key, question in questions:
            request_id = next(self._request_ids)
            try:
                if isinstance(question, ItemFault):
                    raise question
                waiting[request_id] = key, self._ask(request_id, question)
            except ItemFault as fault:
                yield key, fault
            while len(waiting) >= self._num_waiting:
                yield from self._step(waiting)
        while waiting:
            yield from self._step(waiting)

    def _ask(self, request_id: str, inputs: OmniInput) -> Census:
        """Prepare one request, count its tokens, and hand it to the engine."""
        rendered = self._render(inputs)
        token_ids = rendered["prompt_token_ids"]
        if len(token_ids) > self._max_tokens:
            raise ItemFault(
                f"too long: the segment makes {len(token_ids)} tokens, the engine takes "
                f"{self._max_tokens}; show less of it (input.fps, input.max_pixels) or raise "
                "infer.max_tokens"
            )
        census = count_tokens(token_ids, self._model_config)
        check_census(census, inputs)
        self._llm.llm_engine.add_request(request_id, rendered, self._sampling)
        return census

    def _render(self, inputs: OmniInput) -> Any:
        """Turn arrays and text into what the engine takes: token ids and media tensors."""
        from vllm.exceptions import VLLMClientError
        from vllm.renderers.inputs.preprocess import parse_model_prompt

        renderer = self._llm.renderer
        parsed = parse_model_prompt(self._llm.model_config, to_vllm_request(inputs))
        tokenizing = replace(renderer.default_cmpl_tok_params, max_total_tokens=None)
        try:
            (rendered,) = renderer.render_cmpl([parsed], tokenizing)
        except (ValueError, VLLMClientError) as error:  # the message may quote the person's words
            raise ItemFault(
                f"the engine cannot prepare this segment ({type(error).__name__})"
            ) from error
        return rendered

    def _step(
        self, waiting: dict[str, tuple[Key, Census]]
    ) -> Iterator[tuple[Key, Answer | ItemFault]]:
        """Let the engine work until something happens, and give what is finished."""
        for output in self._llm.llm_engine.step():
            if output.finished:
                key, census = waiting.pop(output.request_id)
                yield key, self._read(output, census)

    def _read(self, output: Any, census: Census) -> Answer:
        by_token = output.outputs[0].logprobs[0]
        logp_yes, logp_no = (float(by_token[token_id].logprob) for token_id in self._answer_ids)
        check_numbers(logp_yes, logp_no)
        return Answer(logp_yes=logp_yes, logp_no=logp_no, census=census)


def _set_environment(resources: EngineResources) -> bool:
    """Set what vLLM reads from the environment when it is imported; says whether a GPU is there.

    Without a GPU the engine runs in this very process: one of its own would take half a minute and
    a gigabyte more.
    """
    os.environ |= {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",  # the model is a folder by now
        "TOKENIZERS_PARALLELISM": "false",
    }
    import torch

    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(resources.cpu_cache_gib)
        os.environ["TORCH_COMPILE_DISABLE"] = "1"  # compiling would need a C++ compiler here
        if resources.cpu_threads:
            torch.set_num_threads(resources.cpu_threads)
    return on_gpu


def _answer_ids(model_path: Path) -> tuple[int, int]:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model_path, trust_remote_code=False)
    except Exception as error:
        raise ModelError(
            f"The tokenizer of the model {str(model_path)!r} cannot be opened "
            f"({type(error).__name__}: {error}): copy its files from the base model."
        ) from error
    return answer_token_ids(tokenizer)


def _engine_options(
    model_path: Path, dtype: str, max_tokens: int, resources: EngineResources, on_gpu: bool
) -> dict[str, Any]:
    """vLLM's engine arguments (docs.vllm.ai, Engine Arguments)."""
    return {
        "model": str(model_path),
        "load_format": "safetensors",
        "trust_remote_code": False,
        "generation_config": "vllm",
        "seed": 0,
        "dtype": dtype,
        "max_model_len": max_tokens + 1,
        "max_num_seqs": resources.max_requests,
        "max_num_batched_tokens": max(resources.max_batched_tokens, max_tokens + 1),
        "tensor_parallel_size": resources.num_gpus,
        "gpu_memory_utilization": resources.gpu_memory_share,
        "enforce_eager": True,  # one token a request is all prompt: no graph to replay
        "enable_prefix_caching": True,
        "logprobs_mode": "raw_logprobs",
        "limit_mm_per_prompt": {"image": 0, "video": 1, "audio": 1},
        "mm_processor_cache_gb": 0,  # no segment comes twice
        "skip_mm_profiling": not on_gpu,  # it measures what media take of a GPU's memory
    }


def _open(model_path: Path, options: dict[str, Any]) -> Any:
    from vllm import LLM

    try:
        return LLM(**options)
    except (ValueError, RuntimeError, OSError, KeyError) as error:
        raise ModelError(
            f"vLLM cannot open the model {str(model_path)!r} ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no reason given'})."
        ) from error


def _sampling_of(answer_ids: list[int]) -> Any:
    """Ask for one token, Yes or No, with both tokens' raw log-probabilities."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=0,
        max_tokens=1,
        allowed_token_ids=answer_ids,
        logprob_token_ids=answer_ids,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
