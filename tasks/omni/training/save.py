"""What training leaves behind: adapters in peft's format, whole weights in Hugging Face's.

adapter/   adapter_config.json, adapter_model.safetensors (LoRA only)
merged/    config, safetensors, tokenizer and processor: opens in transformers and in vLLM
settings.json, trained.json   the resolved settings; trained numbers by part
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from storage.store import writing_to
from tasks.omni.prompt import prompt_text
from tasks.omni.training.job import ADAPTER_FOLDER, MERGED_FOLDER, TrainingJob
from tasks.omni.training.model import OpenModel
from tasks.omni.training.settings import TrainingSettings


def save_model(
    opened: OpenModel, settings: TrainingSettings, folder: Path, *, max_shard_bytes: int
) -> None:
    """Write the adapter, if there is one, and the whole model with its processor.

    Adapters are merged into the open model, which cannot be trained on afterwards.
    """
    with writing_to(str(folder)):
        if settings.method == "lora":
            _save_adapter(opened.trained, folder / ADAPTER_FOLDER)
            opened.trained.merge_and_unload()  # changes the thinker inside the top model
        opened.top.to(getattr(torch, settings.precision))
        opened.top.save_pretrained(folder / MERGED_FOLDER, max_shard_size=max_shard_bytes)
        opened.processor.save_pretrained(folder / MERGED_FOLDER)
        _share(folder)


def settings_of(job: TrainingJob) -> dict[str, Any]:
    """Give the settings that made a model, without where anything lies on this machine."""
    parts = {"training", "plan", "input", "source_path", "base_fingerprint", "max_shard_bytes"}
    speed = job.resources.model_dump(mode="json")
    places = {name for name in speed if name.endswith("_folder")}
    return {
        **job.model_dump(mode="json", include=parts),
        "prompt": prompt_text(job.input.prompt),
        "resources": {name: value for name, value in speed.items() if name not in places},
    }


def save_facts(counts: Mapping[str, int], facts: Mapping[str, Any], folder: Path) -> None:
    """Write the settings that made a model, and what of it was trained, beside it."""
    for name, content in (("settings.json", facts), ("trained.json", counts)):
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
        (folder / name).write_text(text, encoding="utf-8")


def _share(folder: Path) -> None:
    """Let whoever may read the configuration read the weights, which are written for one user."""
    mode = (folder / MERGED_FOLDER / "config.json").stat().st_mode
    for path in folder.rglob("*.safetensors"):
        path.chmod(mode)


def _save_adapter(trained: Any, folder: Path) -> None:
    for config in trained.peft_config.values():
        config.base_model_name_or_path = None  # a path of this machine would mean nothing elsewhere
        config.target_modules = sorted(config.target_modules)  # a set: else no two files are equal
        config.target_parameters = sorted(config.target_parameters or ())
    trained.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink()  # a form with nothing filled in
