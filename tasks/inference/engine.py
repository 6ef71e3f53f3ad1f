"""The vLLM engine, opened once for many segments, whose predictions come back as they finish.

The same code runs on the CPU and the CUDA build of vLLM. Only a child process imports it: opening
the engine sets environment variables and takes half a minute and gigabytes of memory.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from storage.errors import ItemFault, ModelError
from tasks.adapters.vllm_lora import lora_request, without_lora_experts
from tasks.inference.engine_memory import check_engine_memory
from tasks.inference.engine_settings import EngineResources as EngineResources
from tasks.inference.engine_settings import engine_options, set_environment
from tasks.inference.requests import Renderer, Request
from tasks.processes.prefetch import PrefetchQueue
from tasks.prompting.model_input import OmniInput
from tasks.prompting.prediction import Prediction, TokenCounts, check_log_probabilities
from tasks.prompting.prompt import AnswerTokenIds, answer_token_ids

Key = TypeVar("Key")
Item = TypeVar("Item")

_PROBE_TOKENS = 16


class Engine:
    """One open vLLM engine.

    Args:
        model_path: A checked model folder.
        dtype: float32, bfloat16 or float16.
        max_tokens: Length of the longest request, without the answer token.
        resources: How the engine uses the hardware.
        config: The result of `engine_config` for the same arguments, if already resolved.

    Attributes:
        idle_seconds: Time since opening in which the engine had no request.
        num_tokens: Prompt tokens processed so far.
        num_cached_tokens: How many of these came from the prefix cache.

    Raises:
        ModelError: vLLM cannot open the model, or an answer is not a single token.
    """

    def __init__(
        self,
        model_path: Path,
        *,
        dtype: str,
        max_tokens: int,
        resources: EngineResources,
        config: Any = None,
    ) -> None:
        on_gpu = set_environment(resources)
        answer_ids = read_answer_token_ids(model_path)
        if config is None:
            config = engine_config(engine_options(model_path, dtype, max_tokens, resources, on_gpu))
        self._llm_engine = _open(model_path, config)
        self._renderer = Renderer(self._llm_engine.renderer, model_path, max_tokens)
        self._answer_ids = answer_ids
        self._sampling = _sampling_params(answer_ids)
        self._batch_size = config.scheduler_config.max_num_seqs
        self._block_size = config.cache_config.block_size
        self._request_ids = map(str, itertools.count())
        self._lora = lora_request(model_path)
        self._cached_prefixes: set[tuple[int, ...]] = set()
        self.idle_seconds = 0.0
        self.num_tokens = self.num_cached_tokens = 0
        if self._lora is not None:
            probe = [*self._answer_ids] * (_PROBE_TOKENS // 2)
            check_adapter_is_applied(
                lambda lora: self._log_probabilities(self._run_alone(probe, lora)), self._lora
            )

    def predict(
        self, inputs: Iterable[tuple[Key, OmniInput | Request | ItemFault]]
    ) -> Iterator[tuple[Key, Prediction | ItemFault]]:
        """Predict each input once, in the order in which the engine finishes them.

        Faults, and inputs that the engine cannot take, come back as faults. A background thread
        iterates over the inputs, and prepares those that are not yet, no faster than the engine
        consumes them.
        """
        running: dict[str, tuple[Key, TokenCounts]] = {}
        max_running = 2 * self._batch_size  # one batch computing, one queued behind it
        requests = ((key, self._prepare(one)) for key, one in inputs)
        with PrefetchQueue(requests, self._batch_size) as queue:
            while running or not queue.is_over:
                while len(running) < max_running and not queue.is_over:
                    ready = self._next(queue, wait=not running)
                    if ready is None:
                        break
                    key, request = ready
                    if isinstance(request, ItemFault):
                        yield key, request
                        continue
                    if prefix := self._uncached_prefix(request):
                        while running:
                            yield from self._step(running)
                        self._cache(prefix)
                    running[self._add(request.rendered, self._lora)] = key, request.token_counts
                if running:
                    yield from self._step(running)

    def _prepare(self, one: OmniInput | Request | ItemFault) -> Request | ItemFault:
        if not isinstance(one, OmniInput):
            return one
        try:
            return self._renderer.render(one)
        except ItemFault as fault:
            return fault

    def _next(self, queue: PrefetchQueue[Item], *, wait: bool) -> Item | None:
        started = time.monotonic()
        try:
            return queue.take(wait=wait)
        finally:
            self.idle_seconds += time.monotonic() - started

    def _uncached_prefix(self, request: Request) -> tuple[int, ...]:
        """Return the whole cache blocks before a request's media; empty if already cached."""
        length = request.num_instruction_tokens // self._block_size * self._block_size
        prefix = tuple(request.rendered["prompt_token_ids"][:length])
        return () if prefix in self._cached_prefixes else prefix

    def _cache(self, prefix: tuple[int, ...]) -> None:
        """Fill the prefix cache before the first request that uses it.

        Otherwise a prediction's last bits would depend on whether another request came before.
        """
        self._run_alone(prefix, self._lora)
        self._cached_prefixes.add(prefix)

    def _run_alone(self, token_ids: Iterable[int], lora: Any) -> Any:
        """Run the engine on one text prompt with nothing else in the batch."""
        from vllm.inputs.engine import tokens_input

        self._add(tokens_input([*token_ids]), lora)
        outputs: list[Any] = []
        while self._llm_engine.has_unfinished_requests():
            outputs += self._llm_engine.step()
        return outputs[-1]

    def _add(self, prompt: Any, lora: Any) -> str:
        request_id = next(self._request_ids)
        self._llm_engine.add_request(request_id, prompt, self._sampling, lora_request=lora)
        return request_id

    def _step(
        self, running: dict[str, tuple[Key, TokenCounts]]
    ) -> Iterator[tuple[Key, Prediction | ItemFault]]:
        """Run one engine step and yield the finished predictions."""
        for output in self._llm_engine.step():
            if output.finished:
                key, token_counts = running.pop(output.request_id)
                self.num_tokens += len(output.prompt_token_ids)
                self.num_cached_tokens += output.num_cached_tokens or 0
                yield key, self._read(output, token_counts)

    def _read(self, output: Any, token_counts: TokenCounts) -> Prediction:
        logp_yes, logp_no = self._log_probabilities(output)
        check_log_probabilities(logp_yes, logp_no)
        return Prediction(logp_yes=logp_yes, logp_no=logp_no, token_counts=token_counts)

    def _log_probabilities(self, output: Any) -> list[float]:
        by_token = output.outputs[0].logprobs[0]
        return [float(by_token[token_id].logprob) for token_id in self._answer_ids]


def check_adapter_is_applied(
    log_probabilities: Callable[[Any], Sequence[float]], lora: Any
) -> None:
    """Compare a probe's log-probabilities with and without an adapter.

    vLLM silently ignores adapter weights whose names it does not know. ``log_probabilities`` takes
    vLLM's LoRA request, or ``None`` for the base model.

    Raises:
        ModelError: they are equal, or vLLM cannot load the adapter.
    """
    from torch import tensor

    from tasks.adapters.merge import check_moved

    with _named(lora.lora_path):
        without, with_adapter = (tensor(log_probabilities(request)) for request in (None, lora))
    try:
        check_moved(without, with_adapter, Path(lora.lora_path))
    except ModelError as error:
        raise ModelError(f"{error} Or merge it: --set infer.adapter=merge.") from error


def read_answer_token_ids(model_path: Path) -> AnswerTokenIds:
    """Read the tokens of Yes and No from a model's tokenizer.

    Raises:
        ModelError: an answer is not a single token, or the tokenizer cannot be opened.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model_path, trust_remote_code=False)
    except Exception as error:
        raise ModelError(
            f"The tokenizer of the model {str(model_path)!r} cannot be opened "
            f"({type(error).__name__}: {error}): copy its files from the base model."
        ) from error
    return answer_token_ids(tokenizer)


def checked_config(
    model_path: Path, *, dtype: str, max_tokens: int, resources: EngineResources
) -> Any:
    """Resolve vLLM's configuration for a model after all checks that need no engine.

    Raises:
        ModelError: an answer is not a single token, the model does not fit into memory, or vLLM
            rejects it.
    """
    on_gpu = set_environment(resources)
    read_answer_token_ids(model_path)
    check_engine_memory(model_path, dtype, resources, on_gpu=on_gpu)
    return engine_config(engine_options(model_path, dtype, max_tokens, resources, on_gpu))


def engine_config(options: dict[str, Any]) -> Any:
    """Resolve engine arguments to a whole ``VllmConfig``, which opens engines and renderers.

    Raises:
        ModelError: vLLM rejects them for this model.
    """
    from vllm.engine.arg_utils import EngineArgs

    with _named(options["model"]):
        return EngineArgs(**options).create_engine_config()


def _open(model_path: Path, config: Any) -> Any:
    from vllm.v1.engine.llm_engine import LLMEngine

    with _named(str(model_path)), without_lora_experts(config):
        return LLMEngine.from_vllm_config(config, disable_log_stats=True)


@contextmanager
def _named(model: str) -> Iterator[None]:
    """Turn vLLM's exceptions about a model into one ModelError that names it."""
    try:
        yield
    except (ValueError, RuntimeError, OSError, KeyError) as error:
        raise ModelError(
            f"vLLM cannot open the model {model!r} ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no reason given'})."
        ) from error


def _sampling_params(answer_ids: AnswerTokenIds) -> Any:
    """Generate one token, Yes or No, with the raw log-probabilities of both."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=0,
        max_tokens=1,
        allowed_token_ids=[*answer_ids],
        logprob_token_ids=[*answer_ids],
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
