from pathlib import Path

import pytest

from storage.erasure.traces import Traces
from storage.store.store import Store
from tasks import infer
from tasks.ablation.arms import arms_of, with_samples
from tasks.inference.samples import expected_items
from tasks.inference.settings import InferConfig
from tasks.prompting.model_input import InputConfig
from tests.tasks.ablation.toys import sample

CONFIG = InferConfig()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def test_every_set_of_what_is_shown_is_an_arm_and_the_control_comes_last() -> None:
    arms = arms_of(InputConfig())
    assert [arm.name for arm in arms] == [
        "picture + sound + words", "picture + sound", "picture + words", "sound + words",
        "video", "audio", "words", "picture + sound of another + words",
    ]  # fmt: skip
    assert arms[0].input_config == arms[-1].input_config == InputConfig()
    for arm in arms[:-1]:
        shown = {n for n in ("video", "audio", "transcript") if getattr(arm.input_config, n)}
        assert shown == set(arm.shown)
        InputConfig.model_validate(arm.input_config.model_dump())  # nothing is all switched off


def test_words_are_no_part_where_the_prompt_does_not_quote_them() -> None:
    names = [arm.name for arm in arms_of(InputConfig(prompt="paper"))]
    assert names == ["picture + sound", "video", "audio", "picture + sound of another"]


def test_what_is_switched_off_stays_off_and_without_audio_there_is_no_control() -> None:
    arms = arms_of(InputConfig(audio=False))
    assert [arm.name for arm in arms] == ["picture + words", "video", "words"]
    assert not any(arm.input_config.audio for arm in arms)


def test_the_whole_arm_is_the_inference_of_a_run_and_every_arm_is_its_own(store: Store) -> None:
    samples = [sample(f"{name}.mp4") for name in "abcd"]
    arms = [with_samples(arm, samples, store, CONFIG, "model") for arm in arms_of(InputConfig())]
    of_run = infer.variant_of(store, CONFIG, InputConfig(), "model")
    assert arms[0].variant == of_run
    assert expected_items(arms[0].samples) == expected_items(samples)
    assert len({arm.variant.path for arm in arms}) == len(arms)


def test_an_arm_leaves_out_what_it_shows_nothing_of(store: Store) -> None:
    samples = [
        sample(f"{name}.mp4", has_audio=name != "a", has_video=name not in "bc") for name in "abcde"
    ]
    counts = {
        arm.name: len(with_samples(arm, samples, store, CONFIG, "model").samples)
        for arm in arms_of(InputConfig())
    }
    silent = {"audio", "picture + sound of another + words"}
    assert counts == {name: 4 if name in silent else 3 if name == "video" else 5 for name in counts}


def test_the_control_gives_anothers_audio_and_is_found_under_both_names(store: Store) -> None:
    samples = [sample(f"{name}.mp4", duration_ms=1_000 * n) for n, name in enumerate("abcd", 1)]
    control = with_samples(arms_of(InputConfig())[-1], samples, store, CONFIG, "model")
    by_audio = {row.audio_path: row for row in samples}
    for host in samples:
        (row,) = [r for r in control.samples if r.segment_id == control.asked_as[host.segment_id]]
        donor = by_audio[row.audio_path]
        assert (row.video_id, row.video_path) == (host.video_id, host.video_path)
        assert donor.video_id != host.video_id
        assert row.end_ms == max(host.end_ms, donor.end_ms)
        assert row.content_digest not in {r.content_digest for r in samples}
        for person in (host, donor):
            others = frozenset(r.video_id for r in samples if r is not person)
            traces = Traces("nobody", frozenset({person.video_id}), others)
            assert traces.in_cell("_item_id", row.segment_id)
