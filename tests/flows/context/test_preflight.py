from pathlib import Path

import pytest

from flows.context.context import open_context
from flows.context.overrides import read_overrides
from flows.context.preflight import check_before_start
from storage.errors import ConfigError, ModelError, ToolError
from tests.flows.toys import QUICK, request_of, write_release


def test_ms_swift_is_looked_for_before_any_video_is_opened(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_release(tmp_path / "data")
    overrides = (
        *QUICK, "finetune.trainer=ms-swift", "finetune.metric=loss",
        f"resources.finetune.swift_command={tmp_path}/swift",
    )  # fmt: skip
    request = request_of(tmp_path / "data", tmp_path / "store").model_copy(
        update={"model": None, "only": ("finetune",), "settings": read_overrides(overrides)}
    )
    with pytest.raises(ToolError, match=r"no program .*/swift.*pip install ms-swift"):
        check_before_start(open_context(request))
    (tmp_path / "swift").write_text("#!/bin/sh\necho --tuner_type\n")
    (tmp_path / "swift").chmod(0o755)
    check_before_start(open_context(request))


def test_sharding_that_the_method_does_not_support_is_rejected_before_any_video_is_opened(
    tmp_path: Path,
) -> None:
    (tmp_path / "data").mkdir()
    write_release(tmp_path / "data")
    overrides = (*QUICK, "resources.finetune.sharding=fsdp", "finetune.method=lora")
    request = request_of(tmp_path / "data", tmp_path / "store").model_copy(
        update={"model": None, "only": ("finetune",), "settings": read_overrides(overrides)}
    )
    with pytest.raises(ConfigError, match=r"sharding = fsdp requires finetune\.method = full"):
        check_before_start(open_context(request))


def test_more_tokens_than_the_model_accepts_are_rejected_before_any_video_is_opened(
    tmp_path: Path,
) -> None:
    (tmp_path / "data").mkdir()
    write_release(tmp_path / "data")
    request = request_of(tmp_path / "data", tmp_path / "store")
    check_before_start(open_context(request))
    more = request.model_copy(
        update={"settings": read_overrides((*QUICK, "infer.max_tokens=10000000"))}
    )
    with pytest.raises(ModelError, match=r"infer\.max_tokens is 10000000"):
        check_before_start(open_context(more))


def test_a_request_that_runs_no_stage_or_forces_another_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_release(tmp_path / "data")
    request = request_of(tmp_path / "data", tmp_path / "store")
    for changes, message in (
        ({"only": ("finetune",)}, r"No stage is left to run \(nothing is trained if a model"),
        ({"only": ("segment",), "force": ("infer",)}, r"--force names infer, .* it runs segment"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_before_start(open_context(request.model_copy(update=changes)))
