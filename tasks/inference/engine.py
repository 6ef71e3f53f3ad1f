"""vLLM, opened once and asked about many segments, answers coming back as they are ready.

The same code runs on the CPU and the CUDA build. Runs in a child process only: opening the engine
sets environment variables and takes half a minute and gigabytes.
"""

import itertools
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from storage.errors import ItemFault, ModelError
from tasks.adapters.vllm_lora import lora_request, plain_experts
from tasks.inference.engine_memory import check_engine_memory
from tasks.inference.engine_settings import EngineResources as EngineResources
from tasks.inference.engine_settings import engine_options, set_environment
from tasks.inference.requests import Renderer, Request
from tasks.processes.prefetch import PrefetchQueue
from tasks.prompting.model_input import OmniInput
from tasks.prompting.prediction import Answer, TokenCounts, check_numbers
from tasks.prompting.prompt import answer_token_ids

Key = TypeVar("Key")
Drawn = TypeVar("Drawn")

_PROBE_TOKENS = 16


class Engine:
    """One opened vLLM engine.

    ``dtype`` is float32, bfloat16 or float16; a request may hold ``max_tokens`` tokens and the
    answer. ``config`` is what `engine_config` made of the same, if that was needed before.
    ``idle_seconds`` is how long the engine had nothing to work on since it was opened;
    ``num_cached_tokens`` of the ``num_tokens`` it read were computed for an earlier request.

    Raises:
        ModelError: vLLM cannot open the model, or an answer is not one token.
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
        answer_ids = read_answer_ids(model_path)
        if config is None:
            config = engine_config(engine_options(model_path, dtype, max_tokens, resources, on_gpu))
        self._llm_engine = _open(model_path, config)
        self._renderer = Renderer(self._llm_engine.renderer, model_path, max_tokens)
        self._answer_ids = answer_ids
        self._sampling = _sampling_of([*answer_ids])
        self._batch_size = config.scheduler_config.max_num_seqs
        self._block_size = config.cache_config.block_size
        self._request_ids = map(str, itertools.count())
        self._lora = lora_request(model_path)
        self._cached_prefixes: set[tuple[int, ...]] = set()
        self.idle_seconds = 0.0
        self.num_tokens = self.num_cached_tokens = 0
        if self._lora is not None:
            self._check_adapter()

    def answers(
        self, questions: Iterable[tuple[Key, OmniInput | Request | ItemFault]]
    ) -> Iterator[tuple[Key, Answer | ItemFault]]:
        """Answer each question once, in the order in which the engine finishes them.

        A question that is a fault, or that the engine cannot take, comes back as a fault.
        Questions are drawn, and prepared where they are not yet, by a thread beside the engine's,
        only as fast as the engine works them off.
        """
        waiting: dict[str, tuple[Key, TokenCounts]] = {}
        most = 2 * self._batch_size  # one batch in work, one ready behind it
        prepared = ((key, self._prepared(question)) for key, question in questions)
        with PrefetchQueue(prepared, self._batch_size) as queue:
            while waiting or not queue.is_over:
                while len(waiting) < most and not queue.is_over:
                    drawn = self._drawn(queue, wait=not waiting)
                    if drawn is None:
                        break
                    key, request = drawn
                    if isinstance(request, ItemFault):
                        yield key, request
                        continue
                    if prefix := self._prefix_to_cache(request):
                        while waiting:
                            yield from self._step(waiting)
                        self._cache(prefix)
                    waiting[self._add(request.rendered, self._lora)] = key, request.token_counts
                if waiting:
                    yield from self._step(waiting)

    def _prepared(self, question: OmniInput | Request | ItemFault) -> Request | ItemFault:
        if not isinstance(question, OmniInput):
            return question
        try:
            return self._renderer.request_of(question)
        except ItemFault as fault:
            return fault

    def _drawn(self, queue: PrefetchQueue[Drawn], *, wait: bool) -> Drawn | None:
        started = time.monotonic()
        try:
            return queue.take(wait=wait)
        finally:
            self.idle_seconds += time.monotonic() - started

    def _prefix_to_cache(self, request: Request) -> tuple[int, ...]:
        """Give the whole blocks of a request before its media, if they are not cached yet."""
        length = request.num_instruction_tokens // self._block_size * self._block_size
        prefix = tuple(request.rendered["prompt_token_ids"][:length])
        return () if prefix in self._cached_prefixes else prefix

    def _cache(self, prefix: tuple[int, ...]) -> None:
        """Compute what requests share before any of them is, so that all are computed alike.

        Otherwise an answer's last bits would depend on whether another segment came before.
        """
        self._run_alone(prefix, self._lora)
        self._cached_prefixes.add(prefix)

    def _run_alone(self, token_ids: Iterable[int], lora: Any) -> Any:
        """Let the engine work on these tokens and nothing else; gives its output."""
        from vllm.inputs.engine import tokens_input

        self._add(tokens_input([*token_ids]), lora)
        outputs: list[Any] = []
        while self._llm_engine.has_unfinished_requests():
            outputs += self._llm_engine.step()
        return outputs[-1]

    def _check_adapter(self) -> None:
        """Hold answers with the adapter to those without: vLLM ignores weights in silence.

        Raises:
            ModelError: they are equal, or vLLM cannot take its weights.
        """
        from torch import tensor

        from tasks.adapters.merge import check_moved

        probe = [*self._answer_ids] * (_PROBE_TOKENS // 2)
        with _named(self._lora.lora_path):
            outputs = [self._run_alone(probe, lora) for lora in (None, self._lora)]
        before, after = (tensor(self._log_probabilities(output)) for output in outputs)
        try:
            check_moved(before, after, Path(self._lora.lora_path))
        except ModelError as error:
            raise ModelError(f"{error} Or have it merged: --set infer.adapter=merge.") from error

    def _add(self, prompt: Any, lora: Any) -> str:
        request_id = next(self._request_ids)
        self._llm_engine.add_request(request_id, prompt, self._sampling, lora_request=lora)
        return request_id

    def _step(
        self, waiting: dict[str, tuple[Key, TokenCounts]]
    ) -> Iterator[tuple[Key, Answer | ItemFault]]:
        """Let the engine work until something happens, and give what is finished."""
        for output in self._llm_engine.step():
            if output.finished:
                key, token_counts = waiting.pop(output.request_id)
                self.num_tokens += len(output.prompt_token_ids)
                self.num_cached_tokens += output.num_cached_tokens or 0
                yield key, self._read(output, token_counts)

    def _read(self, output: Any, token_counts: TokenCounts) -> Answer:
        logp_yes, logp_no = self._log_probabilities(output)
        check_numbers(logp_yes, logp_no)
        return Answer(logp_yes=logp_yes, logp_no=logp_no, token_counts=token_counts)

    def _log_probabilities(self, output: Any) -> list[float]:
        by_token = output.outputs[0].logprobs[0]
        return [float(by_token[token_id].logprob) for token_id in self._answer_ids]


def read_answer_ids(model_path: Path) -> tuple[int, int]:
    """Read the tokens of Yes and No from a model's tokenizer.

    Raises:
        ModelError: an answer is not one token, or the tokenizer cannot be opened.
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
    """Resolve vLLM's configuration for a model, after all that can be refused before it opens.

    Raises:
        ModelError: an answer is not one token, memory does not hold the model, or vLLM refuses it.
    """
    on_gpu = set_environment(resources)
    read_answer_ids(model_path)  # before the half minute that opening takes
    check_engine_memory(model_path, dtype, resources, on_gpu=on_gpu)
    return engine_config(engine_options(model_path, dtype, max_tokens, resources, on_gpu))


def engine_config(options: dict[str, Any]) -> Any:
    """Resolve options to vLLM's whole configuration, by which engine and renderers are opened.

    Raises:
        ModelError: vLLM refuses them for this model.
    """
    from vllm.engine.arg_utils import EngineArgs

    with _named(options["model"]):
        return EngineArgs(**options).create_engine_config()


def _open(model_path: Path, config: Any) -> Any:
    from vllm.v1.engine.llm_engine import LLMEngine

    with _named(str(model_path)), plain_experts(config):
        return LLMEngine.from_vllm_config(config, disable_log_stats=True)


@contextmanager
def _named(model: str) -> Iterator[None]:
    """Turn what vLLM raises over a model into one clear sentence."""
    try:
        yield
    except (ValueError, RuntimeError, OSError, KeyError) as error:
        raise ModelError(
            f"vLLM cannot open the model {model!r} ({type(error).__name__}: "
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
