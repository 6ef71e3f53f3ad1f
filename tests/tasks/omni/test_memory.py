from pathlib import Path

import pytest

from storage.errors import ModelError
from tasks.omni import memory
from tasks.omni.engine_settings import EngineResources
from tasks.omni.memory import check_engine_memory, needed_bytes

RESOURCES = EngineResources(cpu_cache_gib=1)


def test_weights_in_half_the_bytes_need_half_the_memory(tiny_omni: Path) -> None:
    whole, half, double_cache = (
        needed_bytes(tiny_omni, dtype, EngineResources(cpu_cache_gib=gib), on_gpu=False)
        for dtype, gib in (("float32", 1), ("bfloat16", 1), ("float32", 2))
    )
    size = sum(path.stat().st_size for path in tiny_omni.glob("*.safetensors"))
    assert whole - half == pytest.approx(size / 2, abs=1)
    assert double_cache - whole == 2**30


def test_a_model_that_does_not_fit_is_refused_with_what_there_is(
    tiny_omni: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_engine_memory(tiny_omni, "float32", RESOURCES, on_gpu=False)
    monkeypatch.setattr(memory, "host_bytes", lambda: 2**30)
    with pytest.raises(ModelError, match=r"about 3\.\d GiB in float32, but the host has 1\.0"):
        check_engine_memory(tiny_omni, "float32", RESOURCES, on_gpu=False)
