"""Merging a LoRA adapter into its base model, loaded in the number type of the result.

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

_WHOLE_MODEL_PREFIX = "base_model.model.thinker."


def merge_adapter(base_path: Path, adapter_path: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """Open a base in host memory and merge an adapter into it; returns model and processor.

    Raises:
        ModelError: the base cannot be opened, or the adapter does not fit it.
    """
    top, processor = open_base(base_path, _load_options(dtype))
    apply_adapter(top, adapter_path)
    return top, processor


def merge_checked(
    base_path: Path, adapter_path: Path, dtype: torch.dtype
) -> tuple[Any, Any, float]:
    """Merge as `merge_adapter` does; returns also the largest change of an answer's logit.

    Raises:
        ModelError: as `merge_adapter`, or no logit changes.
    """
    top, processor = open_base(base_path, _load_options(dtype))
    before = probe_logits(top, processor)
    apply_adapter(top, adapter_path)
    change = check_moved(before, probe_logits(top, processor), adapter_path)
    return top, processor, change


def _load_options(dtype: torch.dtype) -> LoadOptions:
    return LoadOptions(dtype=dtype, device=torch.device("cpu"), experts="eager")


def apply_adapter(top: Any, adapter_path: Path) -> None:
    """Merge an adapter into an open model's thinker.

    The adapter may have been trained on the thinker or on the whole model.

    Raises:
        ModelError: the adapter does not fit the model.
    """
    from peft import PeftModel

    with _adapter_errors(adapter_path):
        weights, _ = read_header(adapter_path / ADAPTER_WEIGHTS)
        on_whole = any(name.startswith(_WHOLE_MODEL_PREFIX) for name in weights)
        adapted = PeftModel.from_pretrained(top if on_whole else top.thinker, str(adapter_path))
    adapted.merge_and_unload()  # changes the thinker inside the top model


@contextmanager
def _adapter_errors(adapter_path: Path) -> Iterator[None]:
    """Turn peft's exceptions about an adapter into one ModelError that names it."""
    try:
        yield
    except (ValueError, RuntimeError, KeyError, OSError, TypeError, SafetensorError) as error:
        raise ModelError(
            f"The adapter {str(adapter_path)!r} cannot be applied to its base "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason'})"
            ": name the base it was trained from."
        ) from error


def probe_logits(top: Any, processor: Any) -> torch.Tensor:
    """Compute a model's float32 logits [vocab] of the answer for random frames and audio."""
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
    """Return the largest absolute change of a logit.

    Raises:
        ModelError: nothing changed: the adapter is empty, or its weights were not applied.
    """
    change = (after - before).abs().max().item()
    if not change > 0:
        raise ModelError(
            f"The adapter {str(adapter_path)!r} changes no prediction: it was not trained, or its "
            "weights belong to another model. Name another, or the base itself."
        )
    return change


def write_weights(
    top: Any, processor: Any, folder: Path, *, dtype: torch.dtype, max_shard_bytes: int
) -> None:
    """Write a whole model and its processor in Hugging Face format.

    The weights, which safetensors writes readable by the owner only, get the mode of the config.
    """
    with saving_to(str(folder)):
        top.to(dtype)
        top.save_pretrained(folder, max_shard_size=max_shard_bytes)
        processor.save_pretrained(folder)
        mode = (folder / "config.json").stat().st_mode
        for path in folder.glob("*.safetensors"):
            path.chmod(mode)


def main(job_path: Path) -> int:
    """Merge and write one job's model; returns the exit status."""

    def work(out: TextIO) -> None:
        job = MergeJob.model_validate_json(job_path.read_bytes())
        dtype = getattr(torch, job.precision)
        top, processor, change = merge_checked(job.base_path, job.adapter_path, dtype)
        print(f"the adapter changes the answer's logits by up to {change:.3g}", file=out)
        write_weights(
            top, processor, job.out_path, dtype=dtype, max_shard_bytes=job.max_shard_bytes
        )

    return run_as_child("Merging the adapter", job_path, work)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
