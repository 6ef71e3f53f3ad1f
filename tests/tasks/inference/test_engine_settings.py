from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.inference.engine_settings import EngineResources, batch_sizes, engine_options


def options(**resources: int) -> dict[str, object]:
    return engine_options(
        Path("model"), "float32", 1_000, EngineResources(**resources), on_gpu=False
    )


def test_neither_code_nor_pickles_of_a_model_are_loaded() -> None:
    assert options()["trust_remote_code"] is False
    assert options()["load_format"] == "safetensors"


def test_the_longest_request_and_its_answer_fit_into_one_step() -> None:
    assert options()["max_model_len"] == 1_001
    assert options(max_batched_tokens=256)["max_num_batched_tokens"] == 1_001


def test_an_unknown_resource_is_rejected() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        EngineResources(gpus=2)  # type: ignore[call-arg]


@given(
    max_tokens=st.integers(64, 40_000),
    tokens=st.none() | st.integers(256, 100_000),
    requests=st.none() | st.integers(1, 4096),
    on_gpu=st.booleans(),
)
def test_a_step_fits_the_longest_request_and_explicit_settings_are_kept(
    max_tokens: int, tokens: int | None, requests: int | None, on_gpu: bool
) -> None:
    resources = EngineResources(max_batched_tokens=tokens, max_requests=requests)
    num_tokens, num_requests = batch_sizes(max_tokens, resources, on_gpu=on_gpu)
    assert num_tokens > max_tokens
    assert num_tokens == max(tokens, max_tokens + 1) if tokens else num_tokens <= 40_001
    assert num_requests == requests if requests else 8 <= num_requests <= 256


def test_longer_segments_make_larger_steps_and_smaller_batches() -> None:
    short, long = (batch_sizes(n, EngineResources(), on_gpu=True) for n in (400, 4_000))
    assert short == (3_200, 16)
    assert long == (16_384, 8)
