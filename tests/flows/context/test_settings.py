"""Settings: every profile parses, and a mistake is one clear sentence."""

from pathlib import Path

import pytest

from flows.context.settings import Settings, load_settings, profile_names, read_profile
from storage.errors import ConfigError


@pytest.mark.parametrize("profile", profile_names())
def test_every_profile_parses(profile: str) -> None:
    assert isinstance(load_settings(profile), Settings)


def test_both_sandbox_profiles_differ_in_training_only() -> None:
    lora, full = load_settings("sandbox"), load_settings("sandbox-full")
    assert lora.model_copy(update={"finetune": full.finetune}) == full
    assert (lora.finetune.method, full.finetune.method) == ("lora", "full")


def test_a_model_folder_is_found_from_the_profile_file(tmp_path: Path) -> None:
    (tmp_path / "my model").mkdir()
    profile = tmp_path / "mine.toml"
    profile.write_text('[transcribe]\nmodel = "my model"\n[finetune]\nmodel = "some/hub-name"\n')
    settings = load_settings(str(profile))
    assert Path(settings.transcribe.model) == (tmp_path / "my model").resolve()
    assert settings.finetune.model == "some/hub-name"


def test_an_override_replaces_the_profiles_value() -> None:
    settings = load_settings("sandbox", {"segment": {"crf": 30}, "finetune": {"method": "full"}})
    assert settings.segment.crf == 30
    assert settings.finetune.method == "full"


@pytest.mark.parametrize(
    ("section", "values", "parts"),
    [
        ("segment", {"crff": 3}, ("'segment.crff'", "boundaries, crf, long_side")),
        ("segments", {"crf": 3}, ("'segments'", "segment, transcribe")),
        ("manifest", {"fold": 7}, ("'manifest'", "itself: fold 7 must be one of 0 to 4")),
        ("finetune", {"parts": ["norms"]}, ("'finetune'", ": LoRA cannot train norms: use method")),
        ("finetune", {"seeds": [2, 2]}, ("'finetune.seeds'", "each seed may be listed once")),
        ("manifest", {"split_fractions": [0.5, 0.5, 0.5]}, ("split_fractions", "sum to 1")),
    ],
)
def test_a_wrong_setting_is_one_sentence_with_the_way_out(
    section: str, values: dict[str, object], parts: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings("sandbox", {section: values})
    message = str(caught.value)
    assert "\n" not in message
    assert "'sandbox'" in message
    assert all(part in message for part in parts), message


def test_an_unknown_profile_names_those_that_exist() -> None:
    with pytest.raises(ConfigError, match=r"'sandbx'.*sandbox"):
        load_settings("sandbx")


def test_a_profile_that_is_not_toml_is_rejected(tmp_path: Path) -> None:
    profile = tmp_path / "broken.toml"
    profile.write_text("[segment\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_settings(str(profile))


def test_a_section_that_is_a_value_is_one_sentence(tmp_path: Path) -> None:
    profile = tmp_path / "flat.toml"
    profile.write_text("transcribe = 3\n")
    with pytest.raises(ConfigError, match=r"^Setting 'transcribe' in profile .* is 3: [^\n]*$"):
        load_settings(str(profile))
    assert load_settings(str(profile), {"transcribe": {"model": "x"}}).transcribe.model == "x"


@pytest.mark.parametrize("call", ["is_file", "read_text"])
def test_a_profile_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text("")

    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, call, deny)
    with pytest.raises(ConfigError, match=r"mine\.toml' cannot be read \(Permission denied\)"):
        read_profile(str(profile))


def test_a_profile_overrides_the_one_it_extends_and_each_finds_the_models_beside_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "lower" / "model").mkdir(parents=True)
    lower, upper = tmp_path / "lower" / "lower.toml", tmp_path / "upper.toml"
    lower.write_text('extends = "default"\n[finetune]\nmodel = "model"\nrank = 4\n')
    upper.write_text('extends = "lower/lower.toml"\n[finetune]\nrank = 16\n[segment]\ncrf = 30\n')
    settings = load_settings(str(upper))
    assert Path(settings.finetune.model) == (tmp_path / "lower" / "model").resolve()
    assert (settings.finetune.rank, settings.segment.crf) == (16, 30)
    assert settings.transcribe == load_settings("default").transcribe


def test_a_profile_that_extends_itself_or_nothing_known_is_rejected(tmp_path: Path) -> None:
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    first.write_text('extends = "second.toml"\n')
    second.write_text('extends = "first.toml"\n')
    with pytest.raises(ConfigError, match=r"extends itself through .*first\.toml"):
        load_settings(str(first))
    first.write_text('extends = "nowhere"\n')
    with pytest.raises(ConfigError, match="There is no profile 'nowhere'"):
        load_settings(str(second))


@pytest.mark.parametrize("setting", ["transcribe.model", "finetune.model"])
def test_the_home_folder_may_be_written_as_a_tilde(
    monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setenv("HOME", "/somebody")
    section, key = setting.split(".")
    settings = load_settings("default", {section: {key: f"~/a model {setting}"}})
    assert getattr(getattr(settings, section), key) == f"/somebody/a model {setting}"
