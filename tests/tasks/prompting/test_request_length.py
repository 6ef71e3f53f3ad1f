from dataclasses import replace
from pathlib import Path

import pytest

from storage.errors import ConfigError, ModelError
from storage.store.store import Store
from tasks.model.model_folder import read_model_config
from tasks.prompting.model_input import InputConfig
from tasks.prompting.request_length import (
    check_lengths,
    check_limit,
    length_advice,
    longest_request,
)
from tasks.prompting.token_count import TokenCounter

INPUT = InputConfig(min_pixels=64 * 64, max_pixels=64 * 64)


def test_more_words_pixels_and_time_need_more_tokens(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples, tiny_omni: Path
) -> None:
    (sample,) = toy_samples(Store(str(tmp_path)), 1)
    base = longest_request([sample], INPUT, tiny_omni)
    assert base % 64 == 0
    assert (
        longest_request([sample, replace(sample, transcript="and so " * 90)], INPUT, tiny_omni)
        > base
    )
    assert longest_request([replace(sample, end_ms=20_000)], INPUT, tiny_omni) > base
    larger = INPUT.model_copy(update={"max_pixels": 448 * 448})
    assert longest_request([sample], larger, tiny_omni) > base


def test_the_speech_before_counts_if_it_is_quoted(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples, tiny_omni: Path
) -> None:
    samples = toy_samples(Store(str(tmp_path)), 1)
    longer = [replace(sample, transcript_before="and so " * 90) for sample in samples]
    for settings, is_more in (
        ({"prompt": "definition-context"}, True),
        ({"prompt": "definition-context", "transcript": False}, False),
        ({"prompt": "definition-transcript"}, False),
    ):
        config = INPUT.model_copy(update=settings)
        lengths = [longest_request(rows, config, tiny_omni) for rows in (samples, longer)]
        assert (lengths[1] > lengths[0]) == is_more


def test_the_model_s_own_limit_caps_the_bound(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples, tiny_omni: Path
) -> None:
    (sample,) = toy_samples(Store(str(tmp_path)), 1)
    longest = replace(sample, transcript="and so " * 100_000)
    shorter = replace(sample, transcript="and so " * 90_000)
    assert longest_request([longest], INPUT, tiny_omni) == longest_request(
        [shorter], INPUT, tiny_omni
    )


def test_segments_longer_than_the_engine_takes_are_counted_before_it_opens(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples, tiny_omni: Path, caplog
) -> None:
    store = Store(str(tmp_path))
    samples = toy_samples(store, 5)
    samples[1] = replace(samples[1], transcript="and so " * 30)
    counter = TokenCounter(store, INPUT, tiny_omni)
    lengths = sorted(counter.count(sample) for sample in samples)

    def check(max_tokens: int, num_allowed: int) -> None:
        check_lengths(
            samples, INPUT, tiny_omni, store, max_tokens=max_tokens, num_allowed=num_allowed
        )

    check(lengths[-1], 0)  # although its upper bound is higher
    assert not caplog.records
    check(lengths[-2], 1)
    assert f"1 of 5 segments have more than the {lengths[-2]} tokens" in caplog.text
    with pytest.raises(ConfigError, match=f"takes {lengths[-2]} tokens, .* {lengths[-1]}: raise"):
        check(lengths[-2], 0)


def test_the_advice_never_raises_the_model_s_own_limit(tiny_omni: Path) -> None:
    thinker = read_model_config(tiny_omni)["thinker_config"]
    limit = thinker["text_config"]["max_position_embeddings"] - 1
    assert length_advice(limit - 1, thinker).startswith("raise infer.max_tokens, or use fewer")
    assert length_advice(limit, thinker).startswith("use fewer")


def test_a_limit_above_the_model_s_own_is_rejected(tiny_omni: Path) -> None:
    check_limit(None, tiny_omni)
    check_limit(448, tiny_omni)
    with pytest.raises(
        ModelError, match=r"takes at most \d+ tokens .* infer.max_tokens is 10000000: lower"
    ):
        check_limit(10_000_000, tiny_omni)
