from pathlib import Path

import pytest
from pydantic import ValidationError

from tasks.omni.engine import EngineResources, _engine_options


def options(**resources: int) -> dict[str, object]:
    return _engine_options(
        Path("model"), "float32", 1_000, EngineResources(**resources), on_gpu=False
    )


def test_no_code_of_a_model_is_run_and_no_pickle_is_opened() -> None:
    assert options()["trust_remote_code"] is False
    assert options()["load_format"] == "safetensors"


def test_the_longest_request_and_its_answer_fit_into_one_step() -> None:
    assert options()["max_model_len"] == 1_001
    assert options(max_batched_tokens=256)["max_num_batched_tokens"] == 1_001


def test_an_unknown_resource_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        EngineResources(gpus=2)  # type: ignore[call-arg]
