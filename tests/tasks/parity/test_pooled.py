from pathlib import Path

from storage.records import SampleRecord
from storage.results import PredictionRecord
from storage.schema import to_table, write_parquet
from tasks.aggregate import AggregateConfig
from tasks.parity.job import BackendPrediction
from tasks.parity.pooled import PooledFlips, count_flips
from tests.builders import a_prediction, a_sample

PLAN = AggregateConfig().plan()


def write(folder: Path, backend: str, *rows: PredictionRecord) -> Path:
    predictions = [BackendPrediction(segment_id=row.segment_id, p_ah=row.p_ah) for row in rows]
    path = folder / f"{backend}.parquet"
    write_parquet(to_table(BackendPrediction, predictions), path)
    return path


def test_a_segment_may_flip_without_its_video_and_a_video_without_its_segments(
    tmp_path: Path,
) -> None:
    samples = [a_sample(name, index) for name in ("a", "b", "c") for index in (0, 1)]
    samples_path = tmp_path / "samples.parquet"
    write_parquet(to_table(SampleRecord, samples), samples_path)
    first = write(
        tmp_path, "first", a_prediction("a#0000", 0.49), a_prediction("a#0001", 0.9),
        a_prediction("b#0000", 0.2), a_prediction("b#0001", 0.79), a_prediction("c#0000", 0.9),
    )  # fmt: skip
    second = write(
        tmp_path, "second", a_prediction("a#0000", 0.51), a_prediction("a#0001", 0.9),
        a_prediction("b#0000", 0.22), a_prediction("b#0001", 0.79),
    )  # fmt: skip
    flips = count_flips(samples_path, (first, second), PLAN, 0.5)
    assert flips == PooledFlips(rule="top_k_mean", num_videos=2, num_flips=1)
