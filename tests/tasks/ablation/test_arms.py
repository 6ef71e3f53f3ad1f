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


def test_every_set_of_modalities_is_an_arm_and_the_control_comes_last() -> None:
    arms = arms_of(InputConfig())
    assert [arm.name for arm in arms] == [
        "VAT", "VA", "VT", "AT", "V", "A", "T", "VAT, audio swapped",
    ]  # fmt: skip
    assert arms[0].input_config == arms[-1].input_config == InputConfig()
    for arm in arms[:-1]:
        used = {n for n in ("video", "audio", "transcript") if getattr(arm.input_config, n)}
        assert used == set(arm.modalities)
        InputConfig.model_validate(arm.input_config.model_dump())  # at least one is switched on


def test_the_transcript_is_no_modality_if_the_prompt_does_not_quote_it() -> None:
    names = [arm.name for arm in arms_of(InputConfig(prompt="paper"))]
    assert names == ["VA", "V", "A", "VA, audio swapped"]


def test_a_disabled_modality_stays_disabled_and_without_audio_there_is_no_control() -> None:
    arms = arms_of(InputConfig(audio=False))
    assert [arm.name for arm in arms] == ["VT", "V", "T"]
    assert not any(arm.input_config.audio for arm in arms)


def test_the_full_arm_is_the_inference_of_a_run_and_every_arm_has_its_own_variant(
    store: Store,
) -> None:
    samples = [sample(f"{name}.mp4") for name in "abcd"]
    arms = [with_samples(arm, samples, store, CONFIG, "model") for arm in arms_of(InputConfig())]
    of_run = infer.variant_of(store, CONFIG, InputConfig(), "model")
    assert arms[0].variant == of_run
    assert expected_items(arms[0].samples) == expected_items(samples)
    assert len({arm.variant.path for arm in arms}) == len(arms)


def test_an_arm_leaves_out_samples_without_any_of_its_modalities(store: Store) -> None:
    samples = [
        sample(f"{name}.mp4", has_audio=name != "a", has_video=name not in "bc") for name in "abcde"
    ]
    counts = {
        arm.name: len(with_samples(arm, samples, store, CONFIG, "model").samples)
        for arm in arms_of(InputConfig())
    }
    assert counts == {
        "VAT": 5, "VA": 5, "VT": 5, "AT": 5, "V": 3, "A": 4, "T": 5, "VAT, audio swapped": 4,
    }  # fmt: skip


def test_the_control_has_another_participant_s_audio_and_traces_find_it_by_both_ids(
    store: Store,
) -> None:
    samples = [sample(f"{name}.mp4", duration_ms=1_000 * n) for n, name in enumerate("abcd", 1)]
    control = with_samples(arms_of(InputConfig())[-1], samples, store, CONFIG, "model")
    by_audio = {row.audio_path: row for row in samples}
    for host in samples:
        (row,) = [r for r in control.samples if r.segment_id == control.ids_in_arm[host.segment_id]]
        donor = by_audio[row.audio_path]
        assert (row.video_id, row.video_path) == (host.video_id, host.video_path)
        assert donor.video_id != host.video_id
        assert row.end_ms == max(host.end_ms, donor.end_ms)
        assert row.content_digest not in {r.content_digest for r in samples}
        for person in (host, donor):
            others = frozenset(r.video_id for r in samples if r is not person)
            traces = Traces("nobody", frozenset({person.video_id}), others)
            assert traces.in_cell("_item_id", row.segment_id)
