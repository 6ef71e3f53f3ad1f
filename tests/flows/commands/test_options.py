from pathlib import Path

import pytest

from flows.commands.options import accept_override, check_one_of, completion_of, forced_stages
from flows.context.overrides import read_overrides
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
    settings = load_settings("default", read_overrides(accept_override(Path(name))).given())
    assert settings.manifest.accept_duplicates == str(tmp_path / name)
    assert accept_override(None) == ()
