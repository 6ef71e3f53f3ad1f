import json
from dataclasses import fields
from pathlib import Path

import pytest

from tasks.aggregate import AggregateConfig
from tasks.prediction import document
from tasks.prediction.document import SCHEMA, Model, PredictionDocument, flat_table, to_json
from tasks.prediction.verdicts import assemble_videos, score_videos
from tests.tasks.prediction.toys import BAD, GOOD, HALF, OUTPUTS


@pytest.fixture
def prediction(tmp_path: Path) -> PredictionDocument:
    rule, verdicts = score_videos(OUTPUTS, AggregateConfig().plan(), None, tmp_path)
    return PredictionDocument(
        schema=SCHEMA, waver_version="1", created_at="2026-11-22T15:00:00+00:00",
        model=Model(name="a model", fingerprint="f"), profile="default",
        variants={"infer": "v"}, rule=rule, warnings=("ü",),
        videos=assemble_videos(OUTPUTS, verdicts),
    )  # fmt: skip


def test_every_key_of_the_document_is_described(
    prediction: PredictionDocument,
) -> None:
    written = json.loads(to_json(prediction))
    assert set(written) == {field.name for field in fields(PredictionDocument)}
    video = written["videos"][0]
    keys = {*written, *written["model"], *written["rule"], *video, *video["verdict"]}
    keys |= set(video["segments"][0])
    undescribed = {key for key in keys if key not in (document.__doc__ or "")}
    assert not undescribed
    assert video["verdict"]["present"] is False
    assert written["videos"][1]["verdict"]["present"] is None
    assert "ü" in to_json(prediction)


def test_rejected_videos_and_segments_are_counted(prediction: PredictionDocument) -> None:
    assert prediction.num_rejected == 2


def test_the_flat_table_has_a_row_for_each_segment_and_one_for_a_rejected_video(
    prediction: PredictionDocument,
) -> None:
    rows = flat_table(prediction).to_pylist()
    assert [row["path"] for row in rows] == [GOOD, GOOD, BAD, HALF, HALF]
    assert [row["p_ah"] for row in rows] == [0.2, 0.6, None, None, 0.9]
    assert [row["verdict"] for row in rows] == [0, 0, None, 1, 1]
    assert [row["has_video"] for row in rows] == [True, True, None, False, True]
    assert [row["has_audio"] for row in rows] == [False, False, None, False, False]
    assert rows[2]["rejected"] == "not a video"
    assert rows[2]["start_ms"] is None
