"""Save a trained model: adapters in peft's format, full weights in Hugging Face's.

adapter/   adapter_config.json, adapter_model.safetensors (LoRA only)
merged/    config, safetensors, tokenizer and processor for transformers and vLLM (with LoRA only
           if the job merges)
settings.json, trained.json   the resolved settings; trained parameters by part
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
    """Write the adapter, if any, and the full model with its processor if the job merges.

    Adapters are merged into the open model, which cannot be trained any further; those of a
    quantized model into its original base, without the quantization error.
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


def model_settings(job: TrainingJob) -> dict[str, Any]:
    """Return the settings of a model without local paths."""
    fields = {"plan", "input", "source_path", "max_words_before", "base_fingerprint", "merge"}
    resources = job.resources.model_dump(mode="json")
    local = {name for name in resources if name.endswith(("_folder", "_command"))}
    return {
        **job.model_dump(mode="json", include=fields),
        "training": job.training.resolved(),
        "prompt": prompt_text(job.input.prompt),
        "resources": {name: value for name, value in resources.items() if name not in local},
    }


def save_settings(trained: Mapping[str, int], settings: Mapping[str, Any], folder: Path) -> None:
    """Write a model's settings and its numbers of trained parameters into its folder."""
    for name, content in (("settings.json", settings), ("trained.json", trained)):
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
        (folder / name).write_text(text, encoding="utf-8")


def _save_adapter(trained: Any, folder: Path) -> None:
    for config in trained.peft_config.values():
        config.base_model_name_or_path = None  # a local path
        config.target_modules = sorted(config.target_modules)  # a set: for reproducible files
        config.target_parameters = sorted(config.target_parameters or ())
    trained.save_pretrained(folder, save_embedding_layers=False)
    mode = (folder / "adapter_config.json").stat().st_mode
    (folder / "adapter_model.safetensors").chmod(mode)  # it is written with mode 600
    (folder / "README.md").unlink()  # an empty template
