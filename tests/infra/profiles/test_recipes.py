"""The recipes among the profiles are what they claim, and the tiny model trains with them."""

from pathlib import Path

import pytest

from flows.context.settings import Settings, load_settings
from tasks.prompting.prompt import quotes_transcript

TINY = Path(__file__).parents[3] / "infra" / "sandbox" / "models" / "omni-base"
RECIPES = {
    "paper-lora": {"attention", "experts", "router"},
    "paper-full": {"attention", "experts", "router", "embedding", "norms", "head"},
    "bah-lora": {"attention", "experts"},
}
HUB_NAME = "Qwen/Qwen3-Omni-30B-A3B-Instruct"


def test_the_papers_lora_recipe_is_what_the_paper_states() -> None:
    settings = load_settings("paper-lora")
    tuned = settings.finetune
    assert (tuned.method, tuned.rank, tuned.alpha) == ("lora", 8, 32)
    assert (tuned.learning_rate, tuned.epochs, tuned.batch_size) == (1e-5, 1, 64)
    assert (tuned.model, tuned.precision, tuned.validation) == (HUB_NAME, "bfloat16", False)
    assert (settings.input.prompt, settings.input.fps) == ("paper", 2)
    assert (settings.segment.boundaries, settings.segment.max_segment_ms) == ("annotated", 5_000)
    assert (settings.manifest.class_weights, settings.manifest.sampling) == ("none", "natural")


def test_the_papers_full_recipe_differs_in_training_alone_and_names_its_source() -> None:
    lora, full = load_settings("paper-lora"), load_settings("paper-full")
    tuned = full.finetune
    assert (tuned.method, tuned.learning_rate, tuned.epochs, tuned.batch_size) == (
        "full", 1e-5, 2, 64,
    )  # fmt: skip
    assert load_settings("paper-full", {"finetune": {"epochs": 3}}).finetune.epochs == 3
    same = {"finetune": tuned, "resources": full.resources}
    assert lora.model_copy(update=same) == full
    text = (TINY.parents[2] / "profiles" / "paper-full.toml").read_text(encoding="utf-8")
    assert "COME FROM FILE NAMES" in text
    assert text.count("# from file names") == 3
    assert full.resources.finetune.sharding == "fsdp"  # no GPU holds what it trains
    assert full.resources.finetune.gradient_checkpointing


def test_our_recipe_reads_words_and_definition_has_fixed_boundaries_and_stops_early() -> None:
    settings = load_settings("bah-lora")
    assert quotes_transcript(settings.input.prompt)
    assert settings.input.transcript
    assert settings.input.prompt.startswith("definition")
    assert settings.segment.boundaries == "fixed"
    assert settings.manifest.class_weights == "balanced"
    assert settings.finetune.validation
    assert settings.finetune.patience is not None
    below = settings.manifest.negative_below
    assert below is not None
    assert 0 < below < settings.manifest.positive_at  # a calm part is a negative all the same


@pytest.mark.parametrize("profile", RECIPES)
def test_a_recipe_trains_the_parts_it_names_and_leaves_the_towers_frozen(profile: str) -> None:
    from tasks.training.model.trainable import count_trained, open_for_training

    settings: Settings = load_settings(profile)
    opened = open_for_training(TINY, settings.finetune)
    counts = count_trained(opened.trained)
    assert set(counts) == RECIPES[profile]
    assert all(counts.values())
