"""Settings rejected before DeepSpeed is imported; test_fsdp.py trains with it."""

import pytest

from storage.errors import ConfigError, ToolError
from tasks.training.distributed import deepspeed
from tasks.training.distributed.fsdp import check_sharding
from tasks.training.settings import FinetuneResources, TrainingSettings

DEEPSPEED = FinetuneResources(sharding="deepspeed")


def test_missing_deepspeed_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(deepspeed, "find_spec", lambda _: None)
    with pytest.raises(ToolError, match=r"requires DeepSpeed: run `pip install deepspeed`, or set"):
        check_sharding(TrainingSettings(method="full"), DEEPSPEED)


def test_deepspeed_trains_no_towers(monkeypatch):
    monkeypatch.setattr(deepspeed, "find_spec", lambda name: name)
    settings = TrainingSettings(method="full", parts=("attention", "vision", "audio"))
    with pytest.raises(ConfigError, match=r"keeps the towers frozen.* names audio, vision: remove"):
        check_sharding(settings, DEEPSPEED)
    check_sharding(TrainingSettings(method="full"), DEEPSPEED)
