from dataclasses import replace
from pathlib import Path

import pytest

from storage.results import MemberRecord
from storage.schema import to_table, write_parquet
from tasks.aggregate import AggregateConfig
from tasks.evaluation.evaluation import evaluate
from tasks.evaluation.members import measure_members
from tests.tasks.evaluation.conftest import ToyWorld


@pytest.fixture
def members(split_world: ToyWorld, tmp_path: Path) -> dict[tuple[str, str], MemberRecord]:
    """Metrics of the model that made the toy predictions and of one that inverts them."""
    samples_path, same_path = split_world.write()
    inverted_path = tmp_path / "inverted.parquet"
    rows = [replace(row, p_ah=1 - row.p_ah) for row in split_world.predictions]
    write_parquet(to_table(type(rows[0]), rows), inverted_path)
    plan = AggregateConfig(bootstrap_draws=20).plan()
    evaluation = evaluate(samples_path, same_path, split_world.videos, plan)
    paths = {"same": same_path, "inverted": inverted_path}
    rows_of_members = measure_members(samples_path, paths, evaluation, plan)
    return {(row.model, row.split): row for row in rows_of_members}


def test_each_model_has_metrics_on_every_split_under_the_ensemble_s_pooling_rule(
    members: dict[tuple[str, str], MemberRecord],
) -> None:
    splits = ("train", "val", "test")
    assert set(members) == {(name, split) for name in ("same", "inverted") for split in splits}
    assert len({row.pooling_rule for row in members.values()}) == 1
    assert {row.num_rows for row in members.values()} == {12}


def test_each_model_has_a_threshold_of_its_own_and_the_better_one_ranks_higher(
    members: dict[tuple[str, str], MemberRecord],
) -> None:
    same, inverted = members["same", "test"], members["inverted", "test"]
    assert same.threshold != inverted.threshold
    assert same.threshold == members["same", "val"].threshold
    assert (same.average_precision or 0) > (inverted.average_precision or 0)
