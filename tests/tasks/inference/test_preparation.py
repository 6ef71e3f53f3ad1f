from dataclasses import replace
from pathlib import Path

import pytest

from storage.errors import ItemFault, StoreError
from storage.store.store import Store
from tasks.inference.preparation import DecodeSample, open_preparer
from tasks.prompting.model_input import InputConfig, OmniInput

INPUT = InputConfig(min_pixels=64 * 64, max_pixels=64 * 64)


def test_a_missing_file_of_a_segment_stops_the_run_with_advice(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples
) -> None:
    store = Store(str(tmp_path))
    samples = toy_samples(store, 1)
    store.remove(samples[0].audio_path)
    with pytest.raises(StoreError, match="segment stage recreates it"):
        DecodeSample(store_url=store.url, config=INPUT)(samples[0])


def test_samples_come_in_order_with_their_input_or_their_fault(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples
) -> None:
    store = Store(str(tmp_path))
    samples = toy_samples(store, 5)[2:]
    for path in (samples[1].video_path, samples[1].audio_path, samples[2].video_path):
        store.write_bytes(path, b"neither")
    decode = DecodeSample(store_url=store.url, config=INPUT)
    started: list[str] = []
    with open_preparer(decode, None, tmp_path, max_tokens=99, num_processes=0) as prepare:
        prepared = list(prepare(samples, started.append))
    assert [sample for sample, _ in prepared] == samples
    assert started == [sample.segment_id for sample in samples]
    assert [type(inputs) for _, inputs in prepared] == [OmniInput, ItemFault, ItemFault]


@pytest.mark.parametrize("damaged", ["video", "audio"])
def test_a_segment_with_damaged_video_or_audio_is_predicted_without_it(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples, damaged: str
) -> None:
    store = Store(str(tmp_path))
    (sample,) = toy_samples(store, 1)
    store.write_bytes(getattr(sample, f"{damaged}_path"), b"damaged")
    inputs = DecodeSample(store_url=store.url, config=INPUT)(sample)
    assert isinstance(inputs, OmniInput)
    assert [inputs.frames is None, inputs.audio is None] == [
        damaged == "video", damaged == "audio",
    ]  # fmt: skip
    assert sample.transcript in inputs.text
    alone = INPUT.model_copy(update={name: name == damaged for name in ("video", "audio")})
    assert isinstance(DecodeSample(store_url=store.url, config=alone)(sample), ItemFault)
    store.remove(getattr(sample, f"{damaged}_path"))
    with pytest.raises(StoreError, match="segment stage recreates it"):
        DecodeSample(store_url=store.url, config=INPUT)(sample)
    others = INPUT.model_copy(update={damaged: False})
    assert isinstance(DecodeSample(store_url=store.url, config=others)(sample), OmniInput)


def test_a_segment_without_video_is_predicted_from_audio_and_transcript(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples
) -> None:
    store = Store(str(tmp_path))
    sample = replace(toy_samples(store, 1)[0], video_path=None)
    inputs = DecodeSample(store_url=store.url, config=INPUT)(sample)
    assert isinstance(inputs, OmniInput)
    assert inputs.frames is None
    assert inputs.audio is not None
    without_audio = INPUT.model_copy(update={"audio": False})
    assert isinstance(DecodeSample(store_url=store.url, config=without_audio)(sample), OmniInput)
    nothing = without_audio.model_copy(update={"transcript": False})
    fault = DecodeSample(store_url=store.url, config=nothing)(sample)
    assert str(fault) == "the settings leave no input for this segment"


def test_the_prompt_quotes_the_transcript_and_the_speech_before(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples
) -> None:
    store = Store(str(tmp_path))
    config = INPUT.model_copy(update={"prompt": "definition-context"})
    (sample,) = toy_samples(store, 1)
    sample = replace(sample, transcript_before="so far so good")
    inputs = DecodeSample(store_url=store.url, config=config)(sample)
    assert isinstance(inputs, OmniInput)
    before, transcript = inputs.text.splitlines()[-3:-1]
    assert before.endswith(": so far so good")
    assert transcript.endswith(f": {sample.transcript}<|im_end|>")


def test_an_unforeseen_error_in_one_segment_is_its_fault_and_quotes_nothing(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples, monkeypatch
) -> None:
    store = Store(str(tmp_path))
    samples = toy_samples(store, 1)

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("speech of a person")

    monkeypatch.setattr("tasks.inference.preparation.make_input", fail)
    fault = DecodeSample(store_url=store.url, config=INPUT)(samples[0])
    assert isinstance(fault, ItemFault)
    assert str(fault) == "the segment cannot be decoded (unforeseen ZeroDivisionError)"
