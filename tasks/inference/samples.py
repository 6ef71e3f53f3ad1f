"""Samples in, predictions out: the rows that one engine computes for its segments."""

from collections.abc import Iterator, Sequence

from storage.errors import ItemFault, TransientFault
from storage.records import SampleRecord
from storage.results import PredictionRecord
from storage.store.variant import ItemOutput
from tasks.inference.engine import Engine
from tasks.inference.isolation import Journal
from tasks.inference.preparation import PreparedInputs
from tasks.inference.settings import STAGE
from tasks.prompting.prediction import Prediction
from tasks.stage import rejected_output


def expected_items(samples: Sequence[SampleRecord]) -> dict[str, str]:
    """Map each segment's id to the digest of the content that the model sees."""
    return {sample.segment_id: sample.content_digest for sample in samples}


def infer_samples(inputs: PreparedInputs, engine: Engine, journal: Journal) -> Iterator[ItemOutput]:
    """Predict each prepared sample; a faulty one yields a rejected row."""
    for sample, prediction in engine.predict(inputs):
        journal.finish(sample.segment_id)
        if isinstance(prediction, ItemFault):
            may_pass = isinstance(prediction, TransientFault)
            yield rejected_output(STAGE, sample.segment_id, str(prediction), may_pass=may_pass)
        else:
            yield ItemOutput(item_id=sample.segment_id, rows=(_row(sample, prediction),))


def _row(sample: SampleRecord, prediction: Prediction) -> PredictionRecord:
    counts = prediction.token_counts
    return PredictionRecord(
        segment_id=sample.segment_id,
        video_id=sample.video_id,
        p_ah=prediction.p_ah,
        logp_yes=prediction.logp_yes,
        logp_no=prediction.logp_no,
        answer_mass=prediction.answer_mass,
        num_text_tokens=counts.num_text_tokens,
        num_video_tokens=counts.num_video_tokens,
        num_audio_tokens=counts.num_audio_tokens,
        has_video=counts.num_video_tokens > 0,
        has_audio=counts.num_audio_tokens > 0,
    )
