"""Stage 2, transcribe: a video's whole audio in, its words with times out.

In: segments with 16 kHz mono audio. Out: one `TranscriptRecord` per video: words with times and
probabilities, the pauses between them, and the language. A video is transcribed as a whole, never
by segments; without audio or speech its transcript is empty.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
from prefect import State, task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict, Field

from storage.media_records import SegmentRecord
from storage.records import TranscriptRecord, VideoId
from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant, open_variant
from tasks.speech.audio import read_video_audio
from tasks.speech.model import open_speech_model, speech_model_identity
from tasks.speech.recognize import NO_SPEECH, Recognition, recognize
from tasks.speech.word_alignment import pauses_between
from tasks.stage import Shard, as_state, compute_missing, or_rejected

STAGE = "transcribe"
VERSION = 2


class TranscribeConfig(BaseModel):
    """Settings that determine the content of transcripts."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: str = Field(default="large-v3", min_length=1)
    """Whisper model for CTranslate2: a folder, or a name on the Hugging Face Hub."""
    compute_type: str = "default"
    """CTranslate2's compute type, such as int8 or float16; `default` is the model's own."""
    language: str | None = Field(default=None, pattern="^[a-z]{2,3}$")
    """Whisper's language code, such as en; detected for each video if unset."""
    voice_filter: bool = True
    """Skip audio without speech (Silero voice activity detection)."""
    voice_threshold: float = Field(default=0.5, gt=0, lt=1)
    """Speech probability from which audio counts as voice."""
    min_silence_ms: int = Field(default=160, ge=0, le=10_000)
    """Shortest silence that the voice filter skips."""
    window_seconds: int = Field(default=30, ge=5, le=30)
    """Longest window of audio that the model transcribes at once."""
    beam_size: int = Field(default=5, ge=1, le=20)
    """Beam size of the decoder; 1 is greedy."""
    predict_times: bool = False
    """Let the model predict timestamps of sentences too; helps models trained to do so."""
    min_pause_ms: int = Field(default=250, ge=20, le=10_000)
    """Shortest silence between two words that counts as a pause."""


def variant_of(store: Store, config: TranscribeConfig, *, segment: Variant) -> Variant:
    """Open the variant of these settings; the model is identified by content, not by path."""
    settings = config.model_dump() | {"model": speech_model_identity(config.model)}
    return open_variant(
        store, STAGE, version=VERSION, settings=settings, upstream=(segment.variant_id,)
    )


def transcribe_videos(
    video_ids: Sequence[str],
    segments: Mapping[str, Sequence[SegmentRecord]],
    config: TranscribeConfig,
    store: Store,
) -> Iterator[ItemOutput]:
    """Transcribe each video; the model is opened for the first one with audio."""
    for video_id in video_ids:
        make = partial(_transcribe_video, video_id, segments[video_id], config, store)
        yield or_rejected(STAGE, video_id, make)


def _transcribe_video(
    video_id: str, segments: Sequence[SegmentRecord], config: TranscribeConfig, store: Store
) -> ItemOutput:
    samples = read_video_audio(store, segments)
    recognition = _recognize(samples, config) if len(samples) else NO_SPEECH
    transcript = TranscriptRecord(
        video_id=VideoId(video_id),
        language=recognition.language,
        words=recognition.words,
        pauses=pauses_between(recognition.words, config.min_pause_ms, segments),
    )
    return ItemOutput(item_id=video_id, rows=(transcript,))


def _recognize(samples: npt.NDArray[np.float32], config: TranscribeConfig) -> Recognition:
    model = open_speech_model(config.model, config.compute_type)
    return recognize(
        samples, model, **config.model_dump(exclude={"model", "compute_type", "min_pause_ms"})
    )


@task(name="transcribe", task_run_name="transcribe shard {shard.title}", cache_policy=NO_CACHE)
def transcribe_shard(
    shard: Shard,
    segments: Mapping[str, Sequence[SegmentRecord]],
    config: TranscribeConfig,
    variant: Variant,
) -> State:
    """Transcribe a shard's missing videos."""
    return as_state(
        compute_missing(
            variant,
            shard,
            lambda video_ids: transcribe_videos(video_ids, segments, config, variant.store),
        )
    )
