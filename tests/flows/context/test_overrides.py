"""Overrides: the settings' models with optional fields, and their form in the Prefect UI."""

from typing import Any

import pytest
from prefect.utilities.schema_tools.validation import ValidationError, validate
from pydantic import ValidationError as InvalidRequest

from flows.commands.settings import settings_by_section
from flows.context.overrides import SettingsOverrides, read_overrides
from flows.context.request import RunRequest
from flows.context.settings import Settings, load_settings, profile_names
from storage.errors import ConfigError


def leaves(schema: dict[str, Any], part: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every setting of a JSON schema by its full name."""
    found: dict[str, Any] = {}
    for name, field in part["properties"].items():
        section = field.get("$ref")
        if section:
            inner = schema["$defs"][section.rpartition("/")[2].replace("~1", "/")]
            found |= leaves(schema, inner, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = field
    return found


def test_the_form_has_every_setting_with_its_name_bounds_and_description() -> None:
    schema = SettingsOverrides.model_json_schema()
    shown = leaves(schema, schema)
    settings = {
        f"{path}.{row.name}": row for path, _, rows in settings_by_section() for row in rows
    }
    assert shown.keys() == settings.keys()
    for name, field in shown.items():
        assert field["description"].startswith(settings[name].meaning), name
        assert field["title"] == name.rpartition(".")[2]
        assert "default" not in field, "the default is the profile's"
    described = "at least 0, at most 51, default 23, unless the profile sets it)"
    assert shown["segment.crf"]["description"].endswith(described)
    crf, fold = shown["segment.crf"], shown["finetune.adam_betas"]
    assert (crf["type"], crf["minimum"], crf["maximum"]) == ("integer", 0, 51)
    assert fold["minItems"] == fold["maxItems"] == 2
    assert shown["segment.boundaries"]["enum"] == ["fixed", "annotated"]
    assert shown["resources.infer.num_engines"]["maximum"] == 64


@pytest.mark.parametrize("profile", profile_names())
def test_no_override_leaves_a_profile_as_it_is(profile: str) -> None:
    assert load_settings(profile, SettingsOverrides().given()) == load_settings(profile)


def test_all_settings_of_a_profile_can_be_given_as_overrides() -> None:
    settings = load_settings("sandbox")
    overrides = SettingsOverrides.model_validate(settings.model_dump())
    assert Settings.model_validate(overrides.given()) == settings


def test_a_request_keeps_only_what_it_overrides_and_reads_it_again() -> None:
    given = read_overrides(["segment.crf=30", "finetune.seeds=[1, 2]", "input.audio=false"])
    request = RunRequest(data="d", settings=given)
    dumped = request.model_dump(mode="json")
    assert dumped["settings"] == {
        "segment": {"crf": 30}, "finetune": {"seeds": [1, 2]}, "input": {"audio": False},
    }  # fmt: skip
    assert RunRequest.model_validate(dumped) == request
    assert RunRequest.model_validate_json(request.model_dump_json()) == request
    assert hash(request) != hash(RunRequest(data="d"))
    settings = load_settings("sandbox", given.given())
    assert (settings.segment.crf, settings.finetune.seeds) == (30, (1, 2))
    assert settings.input.audio is False
    assert settings.finetune.method == load_settings("sandbox").finetune.method


@pytest.mark.parametrize(
    ("assignments", "parts"),
    [
        (("segment.crff=3",), ("'segment.crff'", "boundaries, crf, long_side")),
        (("segments.crf=3",), ("'segments'", "segment, transcribe")),
        (("segment.crf=99",), ("'segment.crf'", "99", "less than or equal to 51")),
        (("segment.crf",), ("'segment.crf'", "SECTION.KEY=VALUE")),
        (("crf=3",), ("'crf=3'", "SECTION.KEY=VALUE")),
        (("finetune.seeds=[0, -1]",), ("'finetune.seeds.1'", "-1", "greater than or equal to 0")),
        (("resources.finetune.report_to=['wendy']",), ("report_to", "'wendy'", "'wandb'")),
        (("finetune.seeds=3",), ("'finetune.seeds'", "3", "a list, as in [3]")),
        (("finetune.learning_rate=inf",), ("'finetune.learning_rate'", "inf", "a finite number")),
        (("finetune.adam_betas=[0.9, 1]",), ("'finetune.adam_betas.1'", "1", "less than 1")),
        (("segment=3",), ("'segment=3'", "SECTION.KEY=VALUE")),
        (("resources.infer.nonsense=3",), ("'resources.infer.nonsense'", "num_decoders")),
        (("segment.crf.deep=3",), ("'segment.crf'",)),
        (("finetune.method=full", "finetune.method.x=1"), ("'finetune.method.x=1'", "is a value")),
    ],
)
def test_a_wrong_override_is_one_sentence_with_the_way_out(
    assignments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings("sandbox", read_overrides(assignments).given())
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"segment": {"crff": 3}}, "crff"),
        ({"segment": {"crf": 99}}, "segment.crf"),
        ({"finetune": {"method": "lorra"}}, "finetune.method"),
        ({"resources": {"infer": {"num_gpus": 0}}}, "resources.infer.num_gpus"),
        ({"segment": {"crf": "many"}}, "segment.crf"),
    ],
)
def test_the_server_and_the_run_reject_a_wrong_setting_by_its_name(
    settings: dict[str, Any], name: str
) -> None:
    request = {"data": "/data", "settings": settings}
    with pytest.raises(ValidationError, match=name):  # as Prefect's server does
        validate(request, RunRequest.model_json_schema(), raise_on_error=True)
    with pytest.raises(InvalidRequest, match=name):
        RunRequest.model_validate(request)


def test_a_field_that_the_form_leaves_empty_is_the_profiles() -> None:
    request = {"data": "/data", "settings": {"segment": {"crf": None}, "infer": None}}
    assert RunRequest.model_validate(request).settings == SettingsOverrides()
