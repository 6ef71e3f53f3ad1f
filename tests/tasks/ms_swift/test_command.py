"""The command as data; what ms-swift makes of it was seen with version 4.6."""

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


def made(settings=None, resources=CPU, locations=PATHS, **given: Any):
    chosen = {"num_steps": 9, "num_processes": 1, "weighted": False, **given}
    return swift_command(
        TrainingSettings(**(settings or {})), InputConfig(), resources, locations, **chosen
    )


def options(command) -> dict[str, list[str]]:
    """The arguments by option; every option stands once."""
    first, *rest = command.arguments
    assert first == "sft"
    found: dict[str, list[str]] = {}
    for argument in rest:
        if argument.startswith("--"):
            assert argument[2:] not in found
            found[argument[2:]] = []
        else:
            found[list(found)[-1]].append(argument)
    assert all(found.values())
    return found


def test_lora_states_rank_alpha_and_exactly_the_layers_that_waver_adapts():
    message = options(made({"rank": 4, "alpha": 32, "learning_rate": 1e-5, "seed": 7}))
    assert message["tuner_type"] == ["lora"]
    assert (message["lora_rank"], message["lora_alpha"]) == (["4"], ["32.0"])
    assert message["lora_dropout"] == ["0"]
    assert message["target_modules"] == [LAYER]
    assert message["target_parameters"] == ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
    assert (message["learning_rate"], message["max_steps"]) == (["1e-05"], ["9"])
    assert (message["seed"], message["data_seed"]) == (["7"], ["7"])
    assert message["dataset"] == ["train.jsonl"]
    assert message["val_dataset"] == ["val.jsonl"]


def test_full_training_freezes_the_towers_and_trains_float32_weights():
    message = options(made({"method": "full"}))
    assert message["tuner_type"] == ["full"]
    frozen = [message[name][0] for name in ("freeze_llm", "freeze_vit", "freeze_aligner")]
    assert frozen == ["false", "true", "true"]
    assert (message["torch_dtype"], message["bf16"], message["fp16"]) == (
        ["float32"],
        ["true"],
        ["false"],
    )
    assert "lora_rank" not in message


def test_full_training_of_named_parts_trains_those_alone():
    message = options(made({"method": "full", "parts": ("attention", "projector")}))
    assert message["freeze_parameters_ratio"] == ["1"]
    assert r"self_attn" in message["trainable_parameters_regex"][0]
    assert "freeze_vit" not in message


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", ("float32", "false")), ("bfloat16", ("bfloat16", "true"))]
)
def test_adapters_are_float32_and_never_float16(precision, dtype):
    message = options(made({"precision": precision}))
    assert (message["torch_dtype"][0], message["bf16"][0]) == dtype
    assert (message["lora_dtype"], message["fp16"]) == (["float32"], ["false"])


@pytest.mark.parametrize(
    ("batch_size", "micro", "processes", "held"),
    [(64, 4, 1, (4, 16)), (8, 32, 1, (8, 1)), (6, 4, 1, (3, 2)), (64, 4, 8, (4, 2))],
)
def test_the_batch_behind_a_step_is_kept(batch_size, micro, processes, held):
    resources = CPU.model_copy(update={"micro_batch_size": micro})
    command = made({"batch_size": batch_size}, resources, num_processes=processes)
    message = options(command)
    pieces = message["per_device_train_batch_size"], message["gradient_accumulation_steps"]
    assert pieces == ([str(held[0])], [str(held[1])])
    assert held[0] * held[1] * processes == batch_size
    assert command.environment.get("NPROC_PER_NODE", "1") == str(processes)


def test_a_batch_that_cannot_be_shared_out_is_refused():
    with pytest.raises(ConfigError, match="batch_size 10 cannot be shared out"):
        made({"batch_size": 10}, num_processes=4)


@pytest.mark.parametrize(
    ("schedule", "kind", "details"),
    [
        ("constant", "constant_with_warmup", None),
        ("cosine", "cosine_with_min_lr", {"min_lr_rate": 0.1}),
        ("linear", "polynomial", {"lr_end": 1e-4, "power": 1.0}),
    ],
)
def test_schedules_end_at_their_share_of_the_learning_rate(schedule, kind, details):
    settings = {"schedule": schedule, "min_learning_rate_fraction": 0.1, "learning_rate": 1e-3}
    message = options(made(settings))
    assert message["lr_scheduler_type"] == [kind]
    written = message.get("lr_scheduler_kwargs")
    assert (json.loads(written[0]) if written else None) == details


def test_measurements_follow_the_settings_and_need_validation_rows():
    settings = {"eval_steps": 16, "patience": 6}
    message = options(made(settings))
    assert (message["eval_steps"], message["save_steps"]) == (["16"], ["16"])
    assert message["early_stop_interval"] == ["6"]
    without = SwiftPaths(
        model="m", weight_names=(), train="t", val=None, output="o", cache="c"
    )  # fmt: skip
    message = options(made({**settings, "method": "full"}, locations=without))
    assert message["eval_strategy"] == ["no"]
    assert not {"val_dataset", "eval_steps", "early_stop_interval"} & set(message)


def test_weighted_rows_are_announced_since_their_weights_would_be_dropped():
    assert "is_binary_loss_scale" not in options(made())
    assert options(made(weighted=True))["is_binary_loss_scale"] == ["false"]


def test_frames_and_pixels_stand_in_the_environment():
    environment = made().environment
    config = InputConfig()
    assert float(environment["FPS"]) == config.fps
    assert environment["VIDEO_MAX_PIXELS"] == str(config.max_pixels)
    assert environment["USE_AUDIO_IN_VIDEO"] == environment["ENABLE_AUDIO_OUTPUT"] == "false"
    assert environment["CUDA_VISIBLE_DEVICES"] == ""
    assert "CUDA_VISIBLE_DEVICES" not in made(resources=FinetuneResources()).environment


def test_what_was_said_stays_out_of_the_log_and_of_the_home():
    environment = made().environment
    assert environment["LOG_LEVEL"] == "WARNING"
    assert environment["MODELSCOPE_CACHE"] == environment["HF_DATASETS_CACHE"] == "cache"


def test_many_processes_shard_what_is_trained_in_full():
    assert options(made({"method": "full"}, num_processes=8))["deepspeed"] == ["zero3"]
    assert "deepspeed" not in options(made(num_processes=8))


def test_four_bits_and_a_model_on_the_hub_are_stated(tmp_path):
    message = options(made({"quantize": "4bit"}, FinetuneResources(experts="batched_mm")))
    assert (message["quant_method"], message["quant_bits"]) == (["bnb"], ["4"])
    assert (message["use_hf"], message["experts_impl"]) == (["true"], ["batched_mm"])
    local = SwiftPaths(
        model=str(tmp_path), weight_names=(), train="t", val=None, output="o", cache="c"
    )  # fmt: skip
    assert "use_hf" not in options(made({"method": "full"}, locations=local))


@pytest.mark.parametrize("profile", profile_names())
def test_every_recipe_can_be_expressed(profile):
    settings = load_settings(profile, ())
    config = settings.finetune
    message = options(
        swift_command(
            config.training_of(0), settings.input, settings.resources.finetune, PATHS,
            num_steps=10, num_processes=1, weighted=False,
        )
    )  # fmt: skip
    assert message["learning_rate"] == [str(config.learning_rate)]
    assert message["tuner_type"] == [config.method]
