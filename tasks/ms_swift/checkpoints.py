"""Find ms-swift's checkpoints, and open one like a model that Waver trained.

ms-swift's adapters apply to the full model (``thinker.…``), Waver's to its thinker.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from storage.errors import ModelError
from tasks.training.job import TrainingJob
from tasks.training.model.trainable import OpenModel, open_for_training

_STATE_NAME = "trainer_state.json"
_SWIFT_PREFIX, _PREFIX = "base_model.model.thinker.", "base_model.model."


def last_checkpoint(output: Path) -> Path | None:
    """Find the last complete checkpoint, which has a trainer state: it is written last."""
    complete = [path.parent for path in output.glob(f"checkpoint-*/{_STATE_NAME}")]
    return max(complete, key=step_of, default=None)


def best_checkpoint(last: Path) -> Path:
    """Return the best checkpoint as of the last one; the last one without evaluation."""
    best = json.loads((last / _STATE_NAME).read_bytes()).get("best_model_checkpoint")
    return last.parent / Path(best).name if best else last


def step_of(checkpoint: Path) -> int:
    """Return a checkpoint's step, from its name."""
    return int(checkpoint.name.rpartition("-")[2])


def version_of(checkpoint: Path) -> str | None:
    """Return the version of ms-swift that wrote a checkpoint, if it is recorded."""
    path = checkpoint / "args.json"
    version = json.loads(path.read_bytes()).get("swift_version") if path.is_file() else None
    return version and str(version)


def open_checkpoint(checkpoint: Path, job: TrainingJob, device: Any) -> OpenModel:
    """Open the base with a checkpoint's adapter, or a checkpoint's full weights.

    Raises:
        ModelError: other layers were trained than the settings name.
    """
    if job.training.method == "lora":
        opened = open_for_training(job.model_path, job.training, job.resources, device)
        _load_adapter(opened.trained, checkpoint)
        return opened
    from transformers import AutoProcessor

    opened = open_for_training(checkpoint, job.training, job.resources, device)
    return replace(opened, processor=AutoProcessor.from_pretrained(job.model_path))


def _load_adapter(trained: Any, checkpoint: Path) -> None:
    """Load a checkpoint's adapters, which must be of the same layers as ours."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    stored = load_file(checkpoint / "adapter_model.safetensors")
    tensors = {
        f"{_PREFIX}{name.removeprefix(_SWIFT_PREFIX)}": tensor for name, tensor in stored.items()
    }
    expected = {n: t.shape for n, t in get_peft_model_state_dict(trained).items()}
    if expected != {name: tensor.shape for name, tensor in tensors.items()}:
        other = sorted(set(expected) ^ set(tensors))
        raise ModelError(
            f"ms-swift trained other layers than finetune.parts names: {len(other)} adapters are "
            f"missing or unexpected, such as {next(iter(other), 'one of another shape')!r}. Use "
            "ms-swift 4.6, or set finetune.trainer = waver."
        )
    set_peft_model_state_dict(trained, tensors)
