"""Toy data sets with labels and predictions, as evaluation reads them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pytest

from storage.records import Interval, SampleRecord, VideoRecord
from storage.results import PredictionRecord
from storage.schema import to_table, write_parquet
from tasks.evaluation.pooling import POOLING_RULES, SegmentTable
from tests.builders import a_prediction, a_video, sample_of

TOY_WORDS = "unspeakable"

Pool = Callable[..., dict[str, list[float | None]]]


@dataclass
class ToyWorld:
    """A growing data set and its Parquet files."""

    folder: Path
    videos: list[VideoRecord] = field(default_factory=list)
    samples: list[SampleRecord] = field(default_factory=list)
    predictions: list[PredictionRecord] = field(default_factory=list)

    def add(
        self,
        name: str,
        p_ah: Sequence[float | None],
        *,
        split: str | None = "test",
        label: int | None = None,
        labels: Sequence[int | None] = (),
        participant: str | None = None,
        question: int | None = None,
        intervals: tuple[Interval, ...] = (),
    ) -> None:
        """Add a video with one segment per probability; ``None`` is a missing prediction."""
        video = a_video(
            name, participant_id=participant, split=split, question=question, label=label,
            intervals=intervals,
        )  # fmt: skip
        self.videos.append(video)
        for index, probability in enumerate(p_ah):
            segment_label = labels[index] if labels else None
            self.samples.append(_sample(video, index, len(p_ah), segment_label))
            if probability is not None:
                self.predictions.append(a_prediction(self.samples[-1].segment_id, probability))

    def write(self) -> tuple[Path, Path]:
        """Write samples and predictions as Parquet files."""
        samples_path, predictions_path = (
            self.folder / "samples.parquet", self.folder / "predictions.parquet",
        )  # fmt: skip
        write_parquet(to_table(SampleRecord, self.samples), samples_path)
        write_parquet(to_table(PredictionRecord, self.predictions), predictions_path)
        return samples_path, predictions_path


def _sample(video: VideoRecord, index: int, num_segments: int, label: int | None) -> SampleRecord:
    return sample_of(
        video, index, num_segments=num_segments, label=label, transcript=TOY_WORDS,
        transcript_before=TOY_WORDS,
    )  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> ToyWorld:
    """An empty toy data set."""
    return ToyWorld(tmp_path)


@pytest.fixture
def split_world(world: ToyWorld) -> ToyWorld:
    """Three splits of twelve videos and six participants; predictions correlate with labels."""
    for split, offset in (("train", 0), ("val", 100), ("test", 200)):
        for number in range(12):
            label = number % 2
            high = 0.9 - 0.05 * number if label else 0.1 + 0.04 * number
            world.add(
                f"{split}/video {number:02d}.mp4",
                [0.05, high, 0.02 * number],
                split=split,
                label=label,
                labels=[0, label, 0],
                participant=str(offset + number // 2),
                question=1 + number % 3,
                intervals=(Interval(start_ms=4_200, end_ms=7_900),) if label else (),
            )
    return world


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """A function that pools videos, given as lists of probabilities, under every rule."""
    folder = tmp_path_factory.mktemp("pooling")
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:

        def pool_videos(
            videos: Sequence[Sequence[float | None]], top_k: int = 2
        ) -> dict[str, list[float | None]]:
            toy = ToyWorld(folder)
            for number, p_ah in enumerate(videos):
                toy.add(f"{number}.mp4", p_ah)
            samples_path, predictions_path = toy.write()
            segments = SegmentTable(connection)
            connection.execute("DROP TABLE IF EXISTS segments")
            segments.run("segments", samples=str(samples_path), predictions=str(predictions_path))
            pooled = {rule: segments.pool(rule, top_k) for rule in POOLING_RULES}
            return {
                rule: [p_ah.get(f"{number}.mp4") for number in range(len(videos))]
                for rule, p_ah in pooled.items()
            }

        yield pool_videos
