"""An adapter laid onto its base, opened afresh in the number type that the result is kept in.

Started as ``python -m tasks.omni.training.merging JOB``; prints a user's error as
``error: <sentence>``.
"""

import sys
from pathlib import Path
from typing import Any

import torch

from storage.errors import WaverError
from storage.store import writing_to
from tasks.child import end_with_parent, error_line
from tasks.omni.training.merged import MergeJob
from tasks.omni.training.opening import Opening, open_base


def merge_adapter(base_path: Path, adapter_path: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """Open a base, in host memory, and add an adapter's change to it; gives model and processor.

    Raises:
        ModelError: the base cannot be opened.
    """
    from peft import PeftModel

    opening = Opening(dtype=dtype, device=torch.device("cpu"), experts="eager")
    top, processor = open_base(base_path, opening)
    # Changes the thinker inside the top model.
    PeftModel.from_pretrained(top.thinker, str(adapter_path)).merge_and_unload()
    return top, processor


def write_weights(
    top: Any, processor: Any, folder: Path, *, dtype: torch.dtype, max_shard_bytes: int
) -> None:
    """Write a whole model with its processor, as transformers and vLLM open it.

    Whoever may read the configuration may read the weights, which are written for one user.
    """
    with writing_to(str(folder)):
        top.to(dtype)
        top.save_pretrained(folder, max_shard_size=max_shard_bytes)
        processor.save_pretrained(folder)
        mode = (folder / "config.json").stat().st_mode
        for path in folder.glob("*.safetensors"):
            path.chmod(mode)


def main(job_path: Path) -> int:
    """Merge and write; gives the exit status: 0, or 2 for a user's error."""
    end_with_parent()
    job = MergeJob.model_validate_json(job_path.read_bytes())
    dtype = getattr(torch, job.precision)
    try:
        top, processor = merge_adapter(job.base_path, job.adapter_path, dtype)
        write_weights(
            top, processor, job.out_path, dtype=dtype, max_shard_bytes=job.max_shard_bytes
        )
    except WaverError as error:
        sys.stdout.write(error_line(error) + "\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
