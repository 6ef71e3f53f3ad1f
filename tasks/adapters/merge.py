"""An adapter laid onto its base, opened afresh in the number type that the result is kept in.

Started as ``python -m tasks.adapters.merge JOB``.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from safetensors import SafetensorError

from storage.errors import ModelError
from storage.records import AUDIO_SAMPLE_RATE
from tasks.adapters.merge_cache import MergeJob
from tasks.model.loading import LoadOptions, open_base
from tasks.model.model_folder import ADAPTER_WEIGHTS
from tasks.model.tensor_files import saving_to
from tasks.model.weights import read_header
from tasks.processes.child_frame import run_as_child
from tasks.prompting.model_input import InputConfig, make_input, to_model_batch

_OF_WHOLE_MODEL = "base_model.model.thinker."


def merge_adapter(base_path: Path, adapter_path: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """Open a base, in host memory, and add an adapter's change to it; gives model and processor.

    Raises:
        ModelError: the base cannot be opened, or the adapter does not fit it.
    """
    top, processor = open_base(base_path, _opening(dtype))
    apply_adapter(top, adapter_path)
    return top, processor


def merge_checked(
    base_path: Path, adapter_path: Path, dtype: torch.dtype
) -> tuple[Any, Any, float]:
    """As `merge_adapter`; gives also by how much the adapter moved the answer's logits at most.

    Raises:
        ModelError: as there, or it moved none.
    """
    top, processor = open_base(base_path, _opening(dtype))
    before = probe_logits(top, processor)
    apply_adapter(top, adapter_path)
    moved = check_moved(before, probe_logits(top, processor), adapter_path)
    return top, processor, moved


def _opening(dtype: torch.dtype) -> LoadOptions:
    return LoadOptions(dtype=dtype, device=torch.device("cpu"), experts="eager")


def apply_adapter(top: Any, adapter_path: Path) -> None:
    """Merge an adapter, made on the thinker or on the whole model, into an open model's thinker.

    Raises:
        ModelError: it does not fit.
    """
    from peft import PeftModel

    with _fitting(adapter_path):
        weights, _ = read_header(adapter_path / ADAPTER_WEIGHTS)
        on_whole = any(name.startswith(_OF_WHOLE_MODEL) for name in weights)
        adapted = PeftModel.from_pretrained(top if on_whole else top.thinker, str(adapter_path))
    adapted.merge_and_unload()  # changes the thinker inside the top model


@contextmanager
def _fitting(adapter_path: Path) -> Iterator[None]:
    """Turn what peft raises over an adapter into one clear sentence."""
    try:
        yield
    except (ValueError, RuntimeError, KeyError, OSError, TypeError, SafetensorError) as error:
        raise ModelError(
            f"The adapter {str(adapter_path)!r} cannot be laid onto its base "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason'})"
            ": name the base it was trained from."
        ) from error


def probe_logits(top: Any, processor: Any) -> torch.Tensor:
    """Give a model's logits [vocab], in float32, for the answer about a drawn picture and sound."""
    random = np.random.default_rng(0)
    inputs = make_input(
        InputConfig(min_pixels=64 * 64, max_pixels=64 * 64),
        frames=random.integers(0, 256, (2, 64, 64, 3), np.uint8),
        audio=random.normal(0, 0.1, AUDIO_SAMPLE_RATE).astype(np.float32),
        transcript="I want to, but not yet",
    )
    batch = to_model_batch(processor, [inputs])
    dtype = top.thinker.dtype
    batch = {name: x.to(dtype) if x.is_floating_point() else x for name, x in batch.items()}
    with torch.inference_mode():
        return top.thinker(**batch, use_cache=False).logits[0, -1].float()


def check_moved(before: torch.Tensor, after: torch.Tensor, adapter_path: Path) -> float:
    """Give the most by which an adapter moved a logit.

    Raises:
        ModelError: none was moved: the adapter is empty, or its weights were not taken.
    """
    moved = (after - before).abs().max().item()
    if not moved > 0:
        raise ModelError(
            f"The adapter {str(adapter_path)!r} changes no answer: it was not trained, or its "
            "weights belong to another model. Name another, or the base itself."
        )
    return moved


def write_weights(
    top: Any, processor: Any, folder: Path, *, dtype: torch.dtype, max_shard_bytes: int
) -> None:
    """Write a whole model with its processor, as transformers and vLLM open it.

    Whoever may read the configuration may read the weights, which are written for one user.
    """
    with saving_to(str(folder)):
        top.to(dtype)
        top.save_pretrained(folder, max_shard_size=max_shard_bytes)
        processor.save_pretrained(folder)
        mode = (folder / "config.json").stat().st_mode
        for path in folder.glob("*.safetensors"):
            path.chmod(mode)


def main(job_path: Path) -> int:
    """Merge and write; returns the exit status."""

    def work(out: TextIO) -> None:
        job = MergeJob.model_validate_json(job_path.read_bytes())
        dtype = getattr(torch, job.precision)
        top, processor, moved = merge_checked(job.base_path, job.adapter_path, dtype)
        print(f"the adapter moves the answer's logits by up to {moved:.3g}", file=out)
        write_weights(
            top, processor, job.out_path, dtype=dtype, max_shard_bytes=job.max_shard_bytes
        )

    return run_as_child("Merging the adapter", job_path, work)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
