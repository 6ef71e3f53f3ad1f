from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from infra.sandbox.measure_speech import MODEL_PATH, sandbox_config
from infra.sandbox.speech import HELD_OUT_VOICES, speak
from storage.errors import ModelError
from storage.media_records import SegmentRecord
from storage.records import RejectedRecord, TranscriptRecord
from storage.store.store import Store
from storage.store.variant import Variant, open_variant
from tasks.media.audio.wav import write_audio
from tasks.stage import Shard, ShardResult
from tasks.transcribe import (
    TranscribeConfig,
    transcribe_shard,
    transcribe_videos,
    variant_of,
)
from tests.builders import a_segment

CONFIG = sandbox_config(str(MODEL_PATH))
SENTENCES = {"one": "i will call my doctor today", "two": "it is hard to stop drinking after work"}
SHARD = Shard(name="1 of 1", expected={"one": "digest 1", "two": "digest 2", "mute": "digest 3"})

Segments = Mapping[str, tuple[SegmentRecord, ...]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture
def segments(store: Store, tmp_path: Path) -> Segments:
    """Return two videos of speech, each cut in the middle, and one without audio."""
    videos = {name: (record(name, 0, 2000, None), record(name, 1, 4000, None)) for name in ["mute"]}
    for number, (name, text) in enumerate(SENTENCES.items()):
        samples = speak(text, HELD_OUT_VOICES[number], 1, np.random.default_rng(number)).samples
        pcm = np.pad((samples * 32767).astype(np.int16), (8000, 8000))
        middle = len(pcm) // 2
        rows = []
        for index, half in enumerate((pcm[:middle], pcm[middle:])):
            local = tmp_path / "half.wav"
            write_audio(local, half)
            path = f"segment/x/{name}-{index}.wav"
            store.publish(local, path)
            rows.append(record(name, index, len(half), path))
        videos[name] = (rows[0], rows[1])
    return videos


def record(name: str, index: int, num_samples: int, audio_path: str | None) -> SegmentRecord:
    return a_segment(
        name, index, start_ms=0, end_ms=num_samples // 16, num_samples=num_samples,
        audio_path=audio_path,
    )  # fmt: skip


def open_transcripts(store: Store, config: TranscribeConfig = CONFIG) -> Variant:
    upstream = open_variant(store, "segment", version=1, settings={})
    return variant_of(store, config, segment=upstream)


def run(segments: Segments, variant: Variant, config: TranscribeConfig = CONFIG) -> ShardResult:
    result = transcribe_shard.fn(SHARD, segments, config, variant).data
    assert isinstance(result, ShardResult)
    return result


def read(variant: Variant) -> dict[str, TranscriptRecord]:
    return {row.video_id: row for row in variant.read(TranscriptRecord, SHARD.expected)}


def test_words_across_segments_are_recognized_and_a_video_without_audio_has_an_empty_transcript(
    store: Store, segments: Segments
) -> None:
    variant = open_transcripts(store)
    assert run(segments, variant) == ShardResult(num_cached=0, num_computed=3)
    transcripts = read(variant)
    assert {n: " ".join(w.text for w in t.words) for n, t in transcripts.items()} == {
        **SENTENCES, "mute": "",
    }  # fmt: skip
    assert transcripts["mute"].language is None
    assert transcripts["one"].language == "en"


def test_second_run_opens_no_model_and_writes_no_row(store: Store, segments: Segments) -> None:
    variant = open_transcripts(store)
    run(segments, variant)
    parts = store.list_files(f"{variant.path}/done")
    cannot_open = CONFIG.model_copy(update={"model": "/absent"})
    assert run(segments, variant, cannot_open) == ShardResult(num_cached=3, num_computed=0)
    assert store.list_files(f"{variant.path}/done") == parts


class Killed(BaseException):
    """A signal between two videos."""


class KilledAtTwo(dict[str, tuple[SegmentRecord, ...]]):
    def __getitem__(self, name: str) -> tuple[SegmentRecord, ...]:
        if name == "two":
            raise Killed
        return super().__getitem__(name)


def test_killed_run_resumes_to_the_same_result(
    store: Store, segments: Segments, tmp_path: Path
) -> None:
    variant = open_transcripts(store)
    with pytest.raises(Killed):
        run(KilledAtTwo(segments), variant)
    run(segments, variant)
    resumed = read(variant)
    variant.invalidate(SHARD.expected)
    run(segments, variant)
    assert read(variant) == resumed


def test_damaged_table_is_detected_and_computed_again(store: Store, segments: Segments) -> None:
    variant = open_transcripts(store)
    run(segments, variant)
    before = read(variant)
    (table,) = store.list_files(f"{variant.path}/TranscriptRecord")
    Path(store.full_path(table)).write_bytes(b"damaged")
    assert run(segments, variant).num_computed == 3
    assert read(variant) == before


def test_missing_audio_stops_the_stage_but_wrong_audio_only_rejects_its_video(
    store: Store, segments: Segments, tmp_path: Path
) -> None:
    write_audio(tmp_path / "short.wav", np.zeros(5, np.int16))
    store.publish(tmp_path / "short.wav", str(segments["one"][0].audio_path))
    outputs = list(transcribe_videos(["one", "two"], segments, CONFIG, store))
    (fault,), (transcript,) = (output.rows for output in outputs)
    assert isinstance(fault, RejectedRecord)
    assert "segment 0" in fault.reason
    assert isinstance(transcript, TranscriptRecord)
    store.remove(str(segments["two"][0].audio_path))
    with pytest.raises(FileNotFoundError):
        list(transcribe_videos(["two"], segments, CONFIG, store))


def test_model_that_cannot_be_opened_is_not_the_videos_fault(
    store: Store, segments: Segments, tmp_path: Path
) -> None:
    wrong = CONFIG.model_copy(update={"model": str(tmp_path)})
    outputs: Iterator[object] = transcribe_videos(["mute", "one"], segments, wrong, store)
    next(outputs)  # no audio, so no model is opened
    with pytest.raises(ModelError):
        next(outputs)


def test_settings_and_model_determine_the_variant(store: Store) -> None:
    same = open_transcripts(store, CONFIG.model_copy(update={"model": f"{MODEL_PATH}/"}))
    assert same == open_transcripts(store)
    greedy = open_transcripts(store, CONFIG.model_copy(update={"beam_size": 1}))
    assert greedy != same


@pytest.mark.parametrize("setting", [{"beam": 1}, {"window_seconds": 31}, {"language": "English"}])
def test_unknown_or_invalid_setting_is_rejected(setting: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TranscribeConfig.model_validate(setting)
