"""The command as data; what ms-swift makes of it was seen with version 4.6."""

import json
from typing import Any

import pytest

from flows.context.settings import load_settings, profile_names
from storage.errors import ConfigError
from tasks.ms_swift.command import SwiftPlaces, swift_command
from tasks.prompting.model_input import InputConfig
from tasks.training.settings import FinetuneResources, TrainingSettings

LAYER = "thinker.model.layers.0.self_attn.q_proj"
PLACES = SwiftPlaces(
    model="org/base", weight_names=(f"{LAYER}.weight", "thinker.lm_head.weight"),
    train="train.jsonl", val="val.jsonl", output="output", cache="cache",
)  # fmt: skip
CPU = FinetuneResources(device="cpu", micro_batch_size=4)


def made(settings=None, resources=CPU, places=PLACES, **given: Any):
    chosen = {"num_steps": 9, "num_processes": 1, "weighted": False, **given}
    return swift_command(
        TrainingSettings(**(settings or {})), InputConfig(), resources, places, **chosen
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
    said = options(made({"rank": 4, "alpha": 32, "learning_rate": 1e-5, "seed": 7}))
    assert said["tuner_type"] == ["lora"]
    assert (said["lora_rank"], said["lora_alpha"]) == (["4"], ["32.0"])
    assert said["lora_dropout"] == ["0"]
    assert said["target_modules"] == [LAYER]
    assert said["target_parameters"] == ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
    assert (said["learning_rate"], said["max_steps"]) == (["1e-05"], ["9"])
    assert (said["seed"], said["data_seed"]) == (["7"], ["7"])
    assert said["dataset"] == ["train.jsonl"]
    assert said["val_dataset"] == ["val.jsonl"]


def test_full_training_freezes_the_towers_and_trains_float32_weights():
    said = options(made({"method": "full"}))
    assert said["tuner_type"] == ["full"]
    frozen = [said[name][0] for name in ("freeze_llm", "freeze_vit", "freeze_aligner")]
    assert frozen == ["false", "true", "true"]
    assert (said["torch_dtype"], said["bf16"], said["fp16"]) == (["float32"], ["true"], ["false"])
    assert "lora_rank" not in said


def test_full_training_of_named_parts_trains_those_alone():
    said = options(made({"method": "full", "parts": ("attention", "projector")}))
    assert said["freeze_parameters_ratio"] == ["1"]
    assert r"self_attn" in said["trainable_parameters_regex"][0]
    assert "freeze_vit" not in said


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", ("float32", "false")), ("bfloat16", ("bfloat16", "true"))]
)
def test_adapters_are_float32_and_never_float16(precision, dtype):
    said = options(made({"precision": precision}))
    assert (said["torch_dtype"][0], said["bf16"][0]) == dtype
    assert (said["lora_dtype"], said["fp16"]) == (["float32"], ["false"])


@pytest.mark.parametrize(
    ("batch_size", "micro", "processes", "held"),
    [(64, 4, 1, (4, 16)), (8, 32, 1, (8, 1)), (6, 4, 1, (3, 2)), (64, 4, 8, (4, 2))],
)
def test_the_batch_behind_a_step_is_kept(batch_size, micro, processes, held):
    resources = CPU.model_copy(update={"micro_batch_size": micro})
    command = made({"batch_size": batch_size}, resources, num_processes=processes)
    said = options(command)
    pieces = said["per_device_train_batch_size"], said["gradient_accumulation_steps"]
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
    settings = {"schedule": schedule, "min_learning_rate_share": 0.1, "learning_rate": 1e-3}
    said = options(made(settings))
    assert said["lr_scheduler_type"] == [kind]
    written = said.get("lr_scheduler_kwargs")
    assert (json.loads(written[0]) if written else None) == details


def test_measurements_follow_the_settings_and_need_validation_rows():
    settings = {"eval_steps": 16, "patience": 6}
    said = options(made(settings))
    assert (said["eval_steps"], said["save_steps"]) == (["16"], ["16"])
    assert said["early_stop_interval"] == ["6"]
    without = SwiftPlaces(
        model="m", weight_names=(), train="t", val=None, output="o", cache="c"
    )  # fmt: skip
    said = options(made({**settings, "method": "full"}, places=without))
    assert said["eval_strategy"] == ["no"]
    assert not {"val_dataset", "eval_steps", "early_stop_interval"} & set(said)


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
    said = options(made({"quantize": "4bit"}, FinetuneResources(experts="batched_mm")))
    assert (said["quant_method"], said["quant_bits"]) == (["bnb"], ["4"])
    assert (said["use_hf"], said["experts_impl"]) == (["true"], ["batched_mm"])
    local = SwiftPlaces(
        model=str(tmp_path), weight_names=(), train="t", val=None, output="o", cache="c"
    )  # fmt: skip
    assert "use_hf" not in options(made({"method": "full"}, places=local))


@pytest.mark.parametrize("profile", profile_names())
def test_every_recipe_can_be_expressed(profile):
    settings = load_settings(profile, ())
    config = settings.finetune
    said = options(
        swift_command(
            config.training_of(0), settings.input, settings.resources.finetune, PLACES,
            num_steps=10, num_processes=1, weighted=False,
        )
    )  # fmt: skip
    assert said["learning_rate"] == [str(config.learning_rate)]
    assert said["tuner_type"] == [config.method]
