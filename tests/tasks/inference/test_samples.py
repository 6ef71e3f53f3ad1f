from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from storage.errors import ItemFault
from storage.records import RejectedRecord, SampleRecord, SegmentId
from storage.results import PredictionRecord
from tasks.inference.isolation import Journal, in_flight
from tasks.inference.samples import expected_items, infer_samples
from tasks.prompting.prediction import Prediction, TokenCounts
from tests.builders import a_sample

SAMPLES = [a_sample("video", segment_id=SegmentId(name)) for name in ("good", "faulty")]


class ToyEngine:
    """Predicts every input that is no fault."""

    def predict(self, inputs: Iterable[tuple[SampleRecord, Any]]) -> Iterator[tuple[Any, Any]]:
        counts = TokenCounts(num_text_tokens=9, num_video_tokens=4, num_audio_tokens=0)
        for sample, prepared in inputs:
            is_fault = isinstance(prepared, ItemFault)
            prediction = Prediction(logp_yes=-1.0, logp_no=-0.5, token_counts=counts)
            yield sample, prepared if is_fault else prediction


def test_a_sample_becomes_a_prediction_or_a_rejected_row_and_is_finished(tmp_path: Path) -> None:
    inputs = iter(zip(SAMPLES, ["a request", ItemFault("damaged")], strict=True))
    with Journal(tmp_path / "journal") as journal:
        for sample in SAMPLES:
            journal.start(sample.segment_id)
        outputs = list(infer_samples(inputs, ToyEngine(), journal))  # type: ignore[arg-type]
    (predicted,), (rejected,) = (output.rows for output in outputs)
    assert isinstance(predicted, PredictionRecord)
    assert (predicted.segment_id, predicted.has_video, predicted.has_audio) == ("good", True, False)
    assert rejected == RejectedRecord(item_id="faulty", stage="infer", reason="damaged")
    assert in_flight(tmp_path / "journal") == ()


def test_a_changed_transcript_or_media_is_predicted_again() -> None:
    changed = replace(SAMPLES[0], content_digest="another")
    assert expected_items([SAMPLES[0]]) != expected_items([changed])
