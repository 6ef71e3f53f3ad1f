"""What is refused before DeepSpeed is asked; test_sharding.py trains with it."""

import pytest

from storage.errors import ConfigError, ToolError
from tasks.training.distributed import deepspeed as zero
from tasks.training.distributed.fsdp import check_sharding
from tasks.training.settings import FinetuneResources, TrainingSettings

DEEPSPEED = FinetuneResources(sharding="deepspeed")


def test_deepspeed_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(zero, "find_spec", lambda _: None)
    with pytest.raises(ToolError, match=r"needs DeepSpeed: run `pip install deepspeed`, or set"):
        check_sharding(TrainingSettings(method="full"), DEEPSPEED)


def test_deepspeed_trains_no_towers(monkeypatch):
    monkeypatch.setattr(zero, "find_spec", lambda name: name)
    settings = TrainingSettings(method="full", parts=("attention", "vision", "audio"))
    with pytest.raises(ConfigError, match=r"keeps the towers frozen.* names audio, vision: leave"):
        check_sharding(settings, DEEPSPEED)
    check_sharding(TrainingSettings(method="full"), DEEPSPEED)
