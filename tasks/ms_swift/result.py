"""What ms-swift leaves: checkpoints, of which one is opened as the model that Waver trained itself.

An adapter stands on the whole model (``thinker.…``), ours on its thinker; else they are the same.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from storage.errors import ModelError
from tasks.training.job import TrainingJob
from tasks.training.model.trainable import OpenModel, open_for_training

_STATE_NAME = "trainer_state.json"
_THEIRS, _OURS = "base_model.model.thinker.", "base_model.model."


def last_checkpoint(output: Path) -> Path | None:
    """Find the last whole checkpoint; its state is written after everything else in it."""
    whole = [path.parent for path in output.glob(f"checkpoint-*/{_STATE_NAME}")]
    return max(whole, key=step_of, default=None)


def best_checkpoint(last: Path) -> Path:
    """Give the best checkpoint up to the last one; without measurements, this one."""
    best = json.loads((last / _STATE_NAME).read_bytes()).get("best_model_checkpoint")
    return last.parent / Path(best).name if best else last


def step_of(checkpoint: Path) -> int:
    """Read a checkpoint's step off its name."""
    return int(checkpoint.name.rpartition("-")[2])


def version_of(checkpoint: Path) -> str | None:
    """Give the version of ms-swift that made a checkpoint, as it tells with its options."""
    message = checkpoint / "args.json"
    version = json.loads(message.read_bytes()).get("swift_version") if message.is_file() else None
    return version and str(version)


def open_checkpoint(checkpoint: Path, job: TrainingJob, device: Any) -> OpenModel:
    """Open the base with a checkpoint's adapter, or a checkpoint's whole weights.

    Raises:
        ModelError: something else was trained than the settings say.
    """
    if job.training.method == "lora":
        opened = open_for_training(job.model_path, job.training, job.resources, device)
        _put_in(opened.trained, checkpoint)
        return opened
    from transformers import AutoProcessor

    opened = open_for_training(checkpoint, job.training, job.resources, device)
    return replace(opened, processor=AutoProcessor.from_pretrained(job.model_path))


def _put_in(trained: Any, checkpoint: Path) -> None:
    """Lay a checkpoint's adapters into ours, which must be those of the same layers."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    stored = load_file(checkpoint / "adapter_model.safetensors")
    found = {f"{_OURS}{name.removeprefix(_THEIRS)}": tensor for name, tensor in stored.items()}
    expected = {n: t.shape for n, t in get_peft_model_state_dict(trained).items()}
    if expected != {name: tensor.shape for name, tensor in found.items()}:
        other = sorted(set(expected) ^ set(found))
        raise ModelError(
            f"ms-swift trained other layers than finetune.parts names: {len(other)} adapters are "
            f"missing or too many, among them {next(iter(other), 'one of another shape')!r}. Train "
            "with finetune.trainer = waver, and with ms-swift 4.6 if this is another."
        )
    set_peft_model_state_dict(trained, found)
