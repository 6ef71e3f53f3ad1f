from pathlib import Path
from typing import Any

import pytest

from flows.commands.options import (
    check_one_of,
    check_stages,
    completion_of,
    forced_stages,
    run_request,
)
from flows.context.request import RunRequest
from flows.context.settings import load_settings
from storage.errors import ConfigError


def test_completion_offers_the_names_that_continue_the_typed_text() -> None:
    complete = completion_of(("segment", "transcribe", "infer"))
    assert complete("") == ["segment", "transcribe", "infer"]
    assert complete("tr") == ["transcribe"]
    assert complete("x") == []


def test_an_unknown_name_is_a_mistake_that_lists_the_known_ones() -> None:
    check_one_of("purpose", "internal", ("internal", "challenge"))
    with pytest.raises(ConfigError, match="Unknown purpose 'fun': expected one of internal, chal"):
        check_one_of("purpose", "fun", ("internal", "challenge"))


def test_inference_commands_recompute_only_the_stages_they_run() -> None:
    assert forced_stages(None) == ()
    assert forced_stages(["infer", "segment"]) == ("infer", "segment")
    with pytest.raises(ConfigError, match="'finetune'"):
        forced_stages(["finetune"])


@pytest.mark.parametrize("name", ["accepted.csv", 'a "quoted" name, é.csv', "back\\slash.csv"])
def test_accepted_duplicates_are_a_setting_with_an_absolute_path(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    request = run_request(data="d", model=None, overrides=None, accept_duplicates=Path(name))
    settings = load_settings("default", request.settings.given())
    assert settings.manifest.accept_duplicates == str(tmp_path / name)


def test_options_that_are_not_given_leave_a_request_as_it_is() -> None:
    nothing_given = {"model": None, "overrides": None, "only": None, "force": []}
    assert run_request(data="d", **nothing_given).stages() == RunRequest(data="d").stages()
    request = run_request(
        data="d", profile="p", store="s", model=["a", "b"], only=["infer"], start_at="infer",
        force=("infer",), partition="2/3", verify=True, overrides=["infer.dtype=float32"],
    )  # fmt: skip
    assert (request.models, request.stages(), request.force) == (("a", "b"), ("infer",), ("infer",))
    assert request.settings.given() == {"infer": {"dtype": "float32"}}
    assert (request.profile, request.store, request.partition) == ("p", "s", "2/3")
    assert request.verify


def test_stages_are_known_ones() -> None:
    check_stages("infer", ["segment"], None)
    for stages in (("", None, None), (None, ["inference"], []), (None, [], ["x"])):
        with pytest.raises(ConfigError, match="Unknown stage"):
            check_stages(*stages)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"partition": "2/3"}, "'2/3' needs exactly one stage"),
        ({"overrides": ["infer.dtyp=float32"]}, "dtyp"),
    ],
)
def test_a_mistake_in_an_option_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run_request(**{"data": "d", "model": None, "overrides": None, **fields})
