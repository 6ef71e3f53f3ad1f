from dataclasses import replace
from pathlib import Path

from rich.console import Console

from tasks.aggregate import AggregateConfig
from tasks.prediction.document import SCHEMA, Model, PredictionDocument
from tasks.prediction.table import prediction_table
from tasks.prediction.verdicts import assemble_videos, score_videos
from tests.tasks.prediction.toys import OUTPUTS


def render(prediction: PredictionDocument) -> str:
    console = Console(width=120)
    with console.capture() as captured:
        console.print(prediction_table(prediction))
    return captured.get()


def test_the_table_shows_verdicts_transcripts_reasons_and_the_rule(tmp_path: Path) -> None:
    rule, verdicts = score_videos(OUTPUTS, AggregateConfig().plan(), None, tmp_path)
    prediction = PredictionDocument(
        schema=SCHEMA, waver_version="1", created_at="now", model=Model(name="m", fingerprint="f"),
        profile="default", variants={}, rule=rule, warnings=("a [warning]",),
        videos=assemble_videos(OUTPUTS, verdicts),
    )  # fmt: skip
    for line in (
        "/in/good [1].mp4: no A/H (.400 < .500)",
        "2.0–4.0     .600   words [1]",
        "/in/bad.mp4: rejected: not a video",
        "/in/half.mp4: A/H (.900 ≥ .500)",
        "a damaged part",
        "rejected: no frame can be decoded",
        "Pooling rule mean, threshold .500 (0.5, because validation has no labels, and no",
        "a [warning]",
    ):
        assert line in render(prediction)
    video = prediction.videos[0]
    verdict = replace(video.verdict, present=None, p_ah=None)
    without_verdict = replace(prediction, videos=(replace(video, verdict=verdict),))
    assert "/in/good [1].mp4: no verdict" in render(without_verdict)
