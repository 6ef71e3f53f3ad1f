"""What training leaves behind: adapters in peft's format, whole weights in Hugging Face's.

adapter/   adapter_config.json, adapter_model.safetensors (LoRA only)
merged/    config, safetensors, tokenizer and processor: opens in transformers and in vLLM; of an
           adapter only where it shall be merged at once
settings.json, trained.json   the resolved settings; trained numbers by part
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tasks.adapters.merge import merge_adapter, write_weights
from tasks.model.tensor_files import saving_to
from tasks.prompting.prompt import prompt_text
from tasks.training.job import ADAPTER_FOLDER, MERGED_FOLDER, TrainingJob
from tasks.training.model.trainable import OpenModel


def save_model(opened: OpenModel, job: TrainingJob, folder: Path) -> None:
    """Write the adapter, if there is one, and the whole model with its processor, unless put off.

    Adapters are merged into the open model, which cannot be trained on afterwards; those of a model
    open in 4 bits into its base as it is, since the rounding shall not be kept.
    """
    settings, adapter_path = job.training, folder / ADAPTER_FOLDER
    dtype = getattr(torch, settings.precision)
    top, processor = opened.top, opened.processor
    if settings.method == "lora":
        with saving_to(str(folder)):
            _save_adapter(opened.trained, adapter_path)
        if not job.merge:
            return
        if settings.quantize == "none":
            opened.trained.merge_and_unload()  # changes the thinker inside the top model
        else:
            top, processor = merge_adapter(job.model_path, adapter_path, dtype)
    merged_path = folder / MERGED_FOLDER
    write_weights(top, processor, merged_path, dtype=dtype, max_shard_bytes=job.max_shard_bytes)


def settings_of(job: TrainingJob) -> dict[str, Any]:
    """Give the settings that made a model, without where anything lies on this machine."""
    parts = {"plan", "input", "source_path", "max_words_before", "base_fingerprint", "merge"}
    speed = job.resources.model_dump(mode="json")
    locations = {name for name in speed if name.endswith(("_folder", "_command"))}
    return {
        **job.model_dump(mode="json", include=parts),
        "training": job.training.resolved(),
        "prompt": prompt_text(job.input.prompt),
        "resources": {name: value for name, value in speed.items() if name not in locations},
    }


def save_facts(counts: Mapping[str, int], facts: Mapping[str, Any], folder: Path) -> None:
    """Write the settings that made a model, and what of it was trained, beside it."""
    for name, content in (("settings.json", facts), ("trained.json", counts)):
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
        (folder / name).write_text(text, encoding="utf-8")


def _save_adapter(trained: Any, folder: Path) -> None:
    for config in trained.peft_config.values():
        config.base_model_name_or_path = None  # a path of this machine would mean nothing elsewhere
        config.target_modules = sorted(config.target_modules)  # a set: else no two files are equal
        config.target_parameters = sorted(config.target_parameters or ())
    trained.save_pretrained(folder, save_embedding_layers=False)
    mode = (folder / "adapter_config.json").stat().st_mode
    (folder / "adapter_model.safetensors").chmod(mode)  # it is written for one user
    (folder / "README.md").unlink()  # a form with nothing filled in
