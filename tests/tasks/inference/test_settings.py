from pathlib import Path

import pytest

from tasks.inference.settings import InferConfig, InferResources
from tasks.model import gpu


@pytest.mark.parametrize(
    ("on_gpu", "num_engines", "num_samples", "decoders", "threads"),
    [
        (False, 1, 10_000, 4, 4),
        (False, 1, 100, 0, 8),
        (False, 2, 10_000, 2, 2),
        (False, 16, 10_000, 0, 1),
        (True, 2, 10_000, 3, 1),
    ],
)
def test_the_cores_are_divided_among_engines(  # type: ignore[no-untyped-def]
    monkeypatch, tmp_path: Path, on_gpu: bool, num_engines: int, num_samples: int, decoders: int,
    threads: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(gpu, "_DRIVER", tmp_path if on_gpu else tmp_path / "none")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8))
    divided = InferResources().for_one_engine(num_engines, num_samples)
    assert (divided.num_decoders, divided.cpu_threads) == (decoders, threads)
    explicit = InferResources(num_decoders=1, cpu_threads=5)
    divided = explicit.for_one_engine(num_engines, num_samples)
    assert (divided.num_decoders, divided.cpu_threads) == (1, 5)


def test_resources_are_no_part_of_the_configuration() -> None:
    assert not set(InferResources.model_fields) & set(InferConfig.model_fields)
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        InferConfig(max_requests=4)  # type: ignore[call-arg]
