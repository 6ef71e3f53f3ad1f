from dataclasses import replace
from pathlib import Path

from storage.store import Store
from tasks.omni.inputs import InputConfig
from tasks.omni.lengths import longest_request

INPUT = InputConfig(min_pixels=64 * 64, max_pixels=64 * 64)


def test_more_words_frames_and_time_need_more_tokens(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples, tiny_omni: Path
) -> None:
    (sample,) = toy_samples(Store(str(tmp_path)), 1)
    base = longest_request([sample], INPUT, tiny_omni)
    assert base % 64 == 0
    assert longest_request([sample, replace(sample, words="and so " * 90)], INPUT, tiny_omni) > base
    assert longest_request([replace(sample, end_ms=20_000)], INPUT, tiny_omni) > base
    larger = INPUT.model_copy(update={"max_pixels": 448 * 448})
    assert longest_request([sample], larger, tiny_omni) > base


def test_words_before_count_where_they_are_quoted(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples, tiny_omni: Path
) -> None:
    samples = toy_samples(Store(str(tmp_path)), 1)
    longer = [replace(sample, words_before="and so " * 90) for sample in samples]
    for settings, is_more in (
        ({"prompt": "definition-context"}, True),
        ({"prompt": "definition-context", "words": False}, False),
        ({"prompt": "definition-words"}, False),
    ):
        config = INPUT.model_copy(update=settings)
        lengths = [longest_request(rows, config, tiny_omni) for rows in (samples, longer)]
        assert (lengths[1] > lengths[0]) == is_more


def test_the_model_s_own_limit_caps_the_bound(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples, tiny_omni: Path
) -> None:
    (sample,) = toy_samples(Store(str(tmp_path)), 1)
    endless = replace(sample, words="and so " * 100_000)
    shorter = replace(sample, words="and so " * 90_000)
    assert longest_request([endless], INPUT, tiny_omni) == longest_request(
        [shorter], INPUT, tiny_omni
    )
