from pathlib import Path

import pytest

from storage.errors import StageError
from storage.records import RejectedRecord
from storage.store.store import Store
from storage.store.variant import open_variant
from tasks.inference.failures import Failures
from tasks.prompting.model_input import InputConfig
from tests.tasks.ablation.toys import sample


def failures(folder: Path, count: int, max_fraction: float) -> Failures:
    variant = open_variant(Store(str(folder)), "infer", version=1, settings={})
    samples = [sample(f"{number}.mp4") for number in range(count)]
    return Failures(
        stage="infer", variant=variant, samples=samples, input_config=InputConfig(),
        expected={row.segment_id: row.content_digest for row in samples}, max_fraction=max_fraction,
        prefix="In the arm 'x' ",
    )  # fmt: skip


def test_segments_that_crash_the_engine_are_rejected_until_there_are_too_many(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failed = failures(tmp_path, 40, 0.3)
    segments = list(failed.expected)
    failed.reject(dict.fromkeys(segments[:12], "killed by signal 9"))
    rows = failed.variant.read(RejectedRecord, failed.expected)
    assert {(row.stage, row.reason) for row in rows} == {
        ("infer", "the engine died on it twice: killed by signal 9")
    }
    assert (failed.max_failures, failed.count_left()) == (12, 0)
    failed.check()
    failed.warn()
    assert "12 of 40 segments are rejected, most often for: the engine died" in caplog.text
    failed.reject({segments[12]: "killed by signal 9"})
    with pytest.raises(StageError, match=r"In the arm 'x' 13 of 40 .*at most 12.* --force infer"):
        failed.check()


def test_a_few_may_always_fail(tmp_path: Path) -> None:
    assert failures(tmp_path, 3, 0.0).count_left() == 10
