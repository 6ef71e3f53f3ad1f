"""The command's options, which were tried with ms-swift 4.6."""

import json
from typing import Any

import pytest

from flows.context.settings import load_settings, profile_names
from storage.errors import ConfigError
from tasks.ms_swift.command import SwiftPaths, swift_command
from tasks.prompting.model_input import InputConfig
from tasks.training.settings import FinetuneResources, TrainingSettings

LAYER = "thinker.model.layers.0.self_attn.q_proj"
PATHS = SwiftPaths(
    model="org/base", weight_names=(f"{LAYER}.weight", "thinker.lm_head.weight"),
    train="train.jsonl", val="val.jsonl", output="output", cache="cache",
)  # fmt: skip
CPU = FinetuneResources(device="cpu", micro_batch_size=4)


def command_of(settings=None, resources=CPU, paths=PATHS, **overrides: Any):
    arguments = {"num_steps": 9, "num_processes": 1, "weighted": False, **overrides}
    return swift_command(
        TrainingSettings(**(settings or {})), InputConfig(), resources, paths, **arguments
    )


def options_of(command) -> dict[str, list[str]]:
    """The arguments by option; every option occurs once."""
    first, *rest = command.arguments
    assert first == "sft"
    options: dict[str, list[str]] = {}
    for argument in rest:
        if argument.startswith("--"):
            assert argument[2:] not in options
            options[argument[2:]] = []
        else:
            options[list(options)[-1]].append(argument)
    assert all(options.values())
    return options


def test_lora_options_name_rank_alpha_and_exactly_wavers_layers():
    options = options_of(command_of({"rank": 4, "alpha": 32, "learning_rate": 1e-5, "seed": 7}))
    assert options["tuner_type"] == ["lora"]
    assert (options["lora_rank"], options["lora_alpha"]) == (["4"], ["32.0"])
    assert options["lora_dropout"] == ["0"]
    assert options["target_modules"] == [LAYER]
    assert options["target_parameters"] == ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
    assert (options["learning_rate"], options["max_steps"]) == (["1e-05"], ["9"])
    assert (options["seed"], options["data_seed"]) == (["7"], ["7"])
    assert options["dataset"] == ["train.jsonl"]
    assert options["val_dataset"] == ["val.jsonl"]


def test_full_fine_tuning_freezes_the_towers_and_trains_float32_weights():
    options = options_of(command_of({"method": "full"}))
    assert options["tuner_type"] == ["full"]
    frozen = [options[name][0] for name in ("freeze_llm", "freeze_vit", "freeze_aligner")]
    assert frozen == ["false", "true", "true"]
    assert (options["torch_dtype"], options["bf16"], options["fp16"]) == (
        ["float32"],
        ["true"],
        ["false"],
    )
    assert "lora_rank" not in options


def test_full_fine_tuning_of_named_parts_trains_only_those():
    options = options_of(command_of({"method": "full", "parts": ("attention", "projector")}))
    assert options["freeze_parameters_ratio"] == ["1"]
    assert r"self_attn" in options["trainable_parameters_regex"][0]
    assert "freeze_vit" not in options


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", ("float32", "false")), ("bfloat16", ("bfloat16", "true"))]
)
def test_adapters_are_float32_and_never_float16(precision, dtype):
    options = options_of(command_of({"precision": precision}))
    assert (options["torch_dtype"][0], options["bf16"][0]) == dtype
    assert (options["lora_dtype"], options["fp16"]) == (["float32"], ["false"])


@pytest.mark.parametrize(
    ("batch_size", "micro", "processes", "expected"),
    [(64, 4, 1, (4, 16)), (8, 32, 1, (8, 1)), (6, 4, 1, (3, 2)), (64, 4, 8, (4, 2))],
)
def test_the_batch_size_per_step_is_preserved(batch_size, micro, processes, expected):
    resources = CPU.model_copy(update={"micro_batch_size": micro})
    command = command_of({"batch_size": batch_size}, resources, num_processes=processes)
    options = options_of(command)
    sizes = options["per_device_train_batch_size"], options["gradient_accumulation_steps"]
    assert sizes == ([str(expected[0])], [str(expected[1])])
    assert expected[0] * expected[1] * processes == batch_size
    assert command.environment.get("NPROC_PER_NODE", "1") == str(processes)


def test_a_batch_that_cannot_be_split_equally_is_rejected():
    with pytest.raises(ConfigError, match="batch_size = 10 cannot be split"):
        command_of({"batch_size": 10}, num_processes=4)


@pytest.mark.parametrize(
    ("schedule", "scheduler", "scheduler_options"),
    [
        ("constant", "constant_with_warmup", None),
        ("cosine", "cosine_with_min_lr", {"min_lr_rate": 0.1}),
        ("linear", "polynomial", {"lr_end": 1e-4, "power": 1.0}),
    ],
)
def test_schedules_end_at_their_fraction_of_the_learning_rate(
    schedule, scheduler, scheduler_options
):
    settings = {"schedule": schedule, "min_learning_rate_fraction": 0.1, "learning_rate": 1e-3}
    options = options_of(command_of(settings))
    assert options["lr_scheduler_type"] == [scheduler]
    kwargs = options.get("lr_scheduler_kwargs")
    assert (json.loads(kwargs[0]) if kwargs else None) == scheduler_options


def test_evaluation_follows_the_settings_and_needs_validation_rows():
    settings = {"eval_steps": 16, "patience": 6}
    options = options_of(command_of(settings))
    assert (options["eval_steps"], options["save_steps"]) == (["16"], ["16"])
    assert options["early_stop_interval"] == ["6"]
    without = SwiftPaths(
        model="m", weight_names=(), train="t", val=None, output="o", cache="c"
    )  # fmt: skip
    options = options_of(command_of({**settings, "method": "full"}, paths=without))
    assert options["eval_strategy"] == ["no"]
    assert not {"val_dataset", "eval_steps", "early_stop_interval"} & set(options)


def test_weighted_rows_are_announced_or_their_weights_would_be_ignored():
    assert "is_binary_loss_scale" not in options_of(command_of())
    assert options_of(command_of(weighted=True))["is_binary_loss_scale"] == ["false"]


def test_frames_and_pixels_are_environment_variables():
    environment = command_of().environment
    config = InputConfig()
    assert float(environment["FPS"]) == config.fps
    assert environment["VIDEO_MAX_PIXELS"] == str(config.max_pixels)
    assert environment["USE_AUDIO_IN_VIDEO"] == environment["ENABLE_AUDIO_OUTPUT"] == "false"
    assert environment["CUDA_VISIBLE_DEVICES"] == ""
    assert "CUDA_VISIBLE_DEVICES" not in command_of(resources=FinetuneResources()).environment


def test_transcripts_stay_out_of_the_log_and_of_the_home_folder():
    environment = command_of().environment
    assert environment["LOG_LEVEL"] == "WARNING"
    assert environment["MODELSCOPE_CACHE"] == environment["HF_DATASETS_CACHE"] == "cache"


def test_full_fine_tuning_with_many_processes_is_sharded():
    assert options_of(command_of({"method": "full"}, num_processes=8))["deepspeed"] == ["zero3"]
    assert "deepspeed" not in options_of(command_of(num_processes=8))


def test_four_bits_and_a_model_on_the_hub_have_options(tmp_path):
    options = options_of(command_of({"quantize": "4bit"}, FinetuneResources(experts="batched_mm")))
    assert (options["quant_method"], options["quant_bits"]) == (["bnb"], ["4"])
    assert (options["use_hf"], options["experts_impl"]) == (["true"], ["batched_mm"])
    local = SwiftPaths(
        model=str(tmp_path), weight_names=(), train="t", val=None, output="o", cache="c"
    )  # fmt: skip
    assert "use_hf" not in options_of(command_of({"method": "full"}, paths=local))


@pytest.mark.parametrize("profile", profile_names())
def test_every_profile_can_be_expressed(profile):
    settings = load_settings(profile)
    config = settings.finetune
    options = options_of(
        swift_command(
            config.training_of(0), settings.input, settings.resources.finetune, PATHS,
            num_steps=10, num_processes=1, weighted=False,
        )
    )  # fmt: skip
    assert options["learning_rate"] == [str(config.learning_rate)]
    assert options["tuner_type"] == [config.method]
