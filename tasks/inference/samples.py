"""Samples in, predictions out: what one engine computes and stores about each segment."""

from collections.abc import Iterator, Sequence

from storage.errors import ItemFault
from storage.records import SampleRecord
from storage.results import PredictionRecord
from storage.store.variant import ItemOutput
from tasks.inference.engine import Engine
from tasks.inference.failures import rejected
from tasks.inference.isolation import Journal
from tasks.inference.preparation import Asked
from tasks.inference.settings import STAGE
from tasks.prompting.prediction import Answer


def expected_items(samples: Sequence[SampleRecord]) -> dict[str, str]:
    """Name each segment with the digest of what the model sees of it."""
    return {sample.segment_id: sample.content_digest for sample in samples}


def infer_samples(asked: Asked, engine: Engine, journal: Journal) -> Iterator[ItemOutput]:
    """Put each sample's question to the engine; one at fault yields its rejected row."""
    for sample, answer in engine.answers(asked):
        journal.end(sample.segment_id)
        if isinstance(answer, ItemFault):
            yield rejected(STAGE, sample.segment_id, str(answer))
        else:
            yield ItemOutput(item_id=sample.segment_id, rows=(_prediction(sample, answer),))


def _prediction(sample: SampleRecord, answer: Answer) -> PredictionRecord:
    return PredictionRecord(
        segment_id=sample.segment_id,
        video_id=sample.video_id,
        p_ah=answer.p_ah,
        logp_yes=answer.logp_yes,
        logp_no=answer.logp_no,
        answer_mass=answer.answer_mass,
        num_text_tokens=answer.token_counts.num_text_tokens,
        num_video_tokens=answer.token_counts.num_video_tokens,
        num_audio_tokens=answer.token_counts.num_audio_tokens,
        has_video=answer.token_counts.num_video_tokens > 0,
        has_audio=answer.token_counts.num_audio_tokens > 0,
    )
