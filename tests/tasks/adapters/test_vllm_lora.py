from collections.abc import Callable
from pathlib import Path

import pytest

from storage.store.store import Store
from tasks.adapters.serving import serving_folder
from tasks.adapters.vllm_lora import lora_options, lora_request


def test_a_model_without_an_adapter_needs_no_lora(tiny_omni: Path) -> None:
    assert lora_options(tiny_omni) == {}
    assert lora_request(tiny_omni) is None


@pytest.mark.slow
def test_the_engine_gets_the_served_adapter_and_the_next_rank_that_it_supports(
    tmp_path: Path, tiny_omni: Path, write_adapter: Callable[..., Path]
) -> None:
    adapter = write_adapter(tmp_path / "it", r=3)
    folder = serving_folder(Store(str(tmp_path / "store")), adapter, tiny_omni, "a base")
    options = lora_options(folder)
    assert (options["enable_lora"], options["max_lora_rank"]) == (True, 8)
    assert lora_request(folder).lora_path == str(adapter)
