"""The `swift sft` command with the same settings as Waver's own training.

Options are those of ms-swift 4.6
(https://swift.readthedocs.io/en/latest/Instruction/Command-line-parameters.html: base, data, model,
template, tuner and trainer arguments). Qwen3-Omni's processor reads environment variables such as
FPS and VIDEO_MAX_PIXELS (same page, "Qwen3-Omni").
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.errors import ConfigError
from tasks.ms_swift.parts import TEXT_PARTS, bare_parameters, linear_layers, parameter_pattern
from tasks.prompting.model_input import FRAME_MULTIPLE, InputConfig
from tasks.training.settings import FinetuneResources, TrainingSettings

MODEL_TYPE = "qwen3_omni_moe"
_Options = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SwiftPaths:
    """Paths of the command: a model by folder or hub name, row files, and two folders.

    ``weight_names`` are the names of the model's tensors. ``cache`` receives copies of the rows.
    """

    model: str
    weight_names: Sequence[str]
    train: str
    val: str | None
    output: str
    cache: str

    @property
    def model_is_local(self) -> bool:
        """Whether the model is a local folder."""
        return Path(self.model).is_dir()


@dataclass(frozen=True, slots=True, kw_only=True)
class SwiftCommand:
    """A command without the program's name, and its environment variables."""

    environment: Mapping[str, str]
    arguments: Sequence[str]


def swift_command(
    settings: TrainingSettings,
    config: InputConfig,
    resources: FinetuneResources,
    paths: SwiftPaths,
    *,
    num_steps: int,
    num_processes: int,
    weighted: bool,
) -> SwiftCommand:
    """Express settings as a command; ``weighted`` if the rows have ``loss_scale``.

    Raises:
        ConfigError: the batch size is not a multiple of the number of processes.
    """
    options: _Options = {
        **_data_options(paths, weighted=weighted),
        **_model_options(settings, resources, paths),
        **_method_options(settings, paths.weight_names),
        **_batch_options(settings, resources, num_processes),
        **_schedule_options(settings, num_steps),
        **_output_options(settings, resources, paths),
    }
    if settings.method == "full" and num_processes > 1:
        options["deepspeed"] = "zero3"
    return SwiftCommand(
        environment={
            **_input_environment(config),
            **_process_environment(resources, paths, num_processes),
        },
        arguments=("sft", *_flattened(options)),
    )


def _flattened(options: _Options) -> list[str]:
    arguments = []
    for name, value in options.items():
        values = value if isinstance(value, list) else [value]
        arguments += [f"--{name}", *map(_formatted, values)]
    return arguments


def _formatted(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _input_environment(config: InputConfig) -> dict[str, str]:
    """Return frame rate and pixel limits of `InputConfig`; audio is a separate input."""
    return {
        "FPS": str(config.fps),
        "FPS_MIN_FRAMES": str(FRAME_MULTIPLE),
        "VIDEO_MIN_PIXELS": str(config.min_pixels),
        "VIDEO_MAX_PIXELS": str(config.max_pixels),
        "USE_AUDIO_IN_VIDEO": "false",
        "ENABLE_AUDIO_OUTPUT": "false",
    }


def _process_environment(
    resources: FinetuneResources, paths: SwiftPaths, num_processes: int
) -> dict[str, str]:
    """Return process settings; by default ms-swift logs a sample and caches rows in the home."""
    environment = {
        "LOG_LEVEL": "WARNING",
        "MODELSCOPE_CACHE": paths.cache,
        "HF_DATASETS_CACHE": paths.cache,
    }
    if num_processes > 1:
        environment["NPROC_PER_NODE"] = str(num_processes)
    if resources.device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return environment


def _data_options(paths: SwiftPaths, *, weighted: bool) -> _Options:
    """Return data options; loss weights other than 0 and 1 need ``is_binary_loss_scale``."""
    return {
        "dataset": paths.train,
        **({"val_dataset": paths.val} if paths.val else {}),
        "split_dataset_ratio": 0,
        "load_from_cache_file": False,
        **({"is_binary_loss_scale": False} if weighted else {}),
    }


def _model_options(
    settings: TrainingSettings, resources: FinetuneResources, paths: SwiftPaths
) -> _Options:
    """Return model options; trained weights are float32, and without bf16 ms-swift uses float16."""
    trains_all = settings.method == "full"
    options: _Options = {
        "model": paths.model,
        "model_type": MODEL_TYPE,
        **({"check_model": False} if paths.model_is_local else {"use_hf": True}),
        "torch_dtype": "float32" if trains_all else settings.precision,
        "bf16": settings.precision == "bfloat16",
        "fp16": False,
        "attn_impl": "sdpa",
    }
    if resources.device == "cpu":
        options["use_cpu"] = True
    if resources.experts != "auto":
        options["experts_impl"] = resources.experts
    if settings.quantize == "4bit":
        options |= {"quant_method": "bnb", "quant_bits": 4, "bnb_4bit_compute_dtype": "bfloat16"}
    return options


def _method_options(settings: TrainingSettings, weight_names: Sequence[str]) -> _Options:
    parts = settings.trained_parts
    if settings.method == "lora":
        bare = bare_parameters(parts)
        return {
            "tuner_type": "lora",
            "lora_rank": settings.rank,
            "lora_alpha": settings.alpha,
            "lora_dropout": 0,
            "lora_dtype": "float32",
            "target_modules": linear_layers(parts, weight_names),
            **({"target_parameters": bare} if bare else {}),
        }
    if TEXT_PARTS.issuperset(parts) and TEXT_PARTS - set(parts) <= {"mlp"}:
        chosen: _Options = {"freeze_llm": False, "freeze_vit": True, "freeze_aligner": True}
    else:
        chosen = {
            "freeze_parameters_ratio": 1,
            "trainable_parameters_regex": parameter_pattern(parts),
        }
    return {"tuner_type": "full", **chosen}


def _batch_options(
    settings: TrainingSettings, resources: FinetuneResources, num_processes: int
) -> _Options:
    """Split the batch over processes, gradient accumulation and micro-batches."""
    per_process, remainder = divmod(settings.batch_size, num_processes)
    if remainder:
        raise ConfigError(
            f"finetune.batch_size = {settings.batch_size} cannot be split equally over "
            f"{num_processes} processes, as ms-swift requires: use a multiple of {num_processes}, "
            "or change resources.finetune.num_processes."
        )
    micro = max(n for n in range(1, resources.micro_batch_size + 1) if per_process % n == 0)
    return {
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": per_process // micro,
        "per_device_eval_batch_size": micro,
        "gradient_checkpointing": resources.gradient_checkpointing,
        "vit_gradient_checkpointing": False,
    }


def _schedule_options(settings: TrainingSettings, num_steps: int) -> _Options:
    """Return options of transformers' schedules with a minimum learning rate."""
    floor = settings.min_learning_rate_fraction
    scheduler, scheduler_options = {
        "constant": ("constant_with_warmup", {}),
        "cosine": ("cosine_with_min_lr", {"min_lr_rate": floor}),
        "linear": ("polynomial", {"lr_end": settings.learning_rate * floor, "power": 1.0}),
    }[settings.schedule]
    beta1, beta2 = settings.adam_betas
    return {
        "max_steps": num_steps,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": scheduler,
        **({"lr_scheduler_kwargs": scheduler_options} if scheduler_options else {}),
        "warmup_steps": settings.warmup_steps,
        "weight_decay": settings.weight_decay,
        "adam_beta1": beta1,
        "adam_beta2": beta2,
        "max_grad_norm": settings.max_grad_norm,
        "seed": settings.seed,
        "data_seed": settings.seed,
    }


def _output_options(
    settings: TrainingSettings, resources: FinetuneResources, paths: SwiftPaths
) -> _Options:
    """Return checkpoint options; ms-swift computes no metric but the loss while it trains."""
    options: _Options = {
        "output_dir": paths.output,
        "add_version": False,
        "create_checkpoint_symlink": True,
        "eval_strategy": "steps" if paths.val else "no",
        "save_strategy": "steps",
        "save_steps": settings.eval_steps,
        "save_total_limit": resources.keep_checkpoints + 1,
        "logging_steps": 1,
        "report_to": ["tensorboard", *resources.report_to],
    }
    if paths.val:
        options |= {"eval_steps": settings.eval_steps, "metric_for_best_model": "loss"}
        if settings.patience is not None:
            options["early_stop_interval"] = settings.patience
    return options
