from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tasks.evaluation import bootstrap
from tasks.evaluation.bootstrap import BootstrapSettings, bootstrap_difference, bootstrap_intervals
from tasks.evaluation.metrics import METRICS, compute_metrics

BOOTSTRAP = BootstrapSettings(draws=400, level=0.95, seed=3)


def toy(num_clusters: int = 12, each: int = 3) -> tuple[np.ndarray, np.ndarray, list[str]]:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, num_clusters * each).astype(float)
    p_ah = np.clip(0.5 + 0.3 * (labels - 0.5) + generator.normal(0, 0.25, len(labels)), 0, 1)
    return labels, p_ah, [f"p{index // each}" for index in range(len(labels))]


def test_equal_seeds_give_equal_intervals() -> None:
    labels, p_ah, clusters = toy()
    first = bootstrap_intervals(labels, p_ah, 0.5, clusters, BOOTSTRAP)
    assert first == bootstrap_intervals(labels, p_ah, 0.5, clusters, BOOTSTRAP)
    assert first != bootstrap_intervals(labels, p_ah, 0.5, clusters, replace(BOOTSTRAP, seed=4))


def test_intervals_contain_their_metrics_and_stay_in_bounds() -> None:
    labels, p_ah, clusters = toy()
    values = compute_metrics(labels, p_ah, 0.5)
    for name, spread in bootstrap_intervals(labels, p_ah, 0.5, clusters, BOOTSTRAP).items():
        low, high = spread
        assert 0 <= low <= values[name] <= high <= 1
        assert low < high


def test_an_interval_equals_that_of_metrics_computed_draw_by_draw() -> None:
    labels, p_ah, clusters = toy()
    names, cluster_index = np.unique(clusters, return_inverse=True)
    uniform = np.full(len(names), 1 / len(names))
    draws = np.random.default_rng(3).multinomial(len(names), uniform, size=400)
    scores = [
        f1_score(labels, p_ah >= 0.5, sample_weight=weights, average="macro")
        for weights in draws[:, cluster_index]
    ]
    low, high = bootstrap_intervals(labels, p_ah, 0.5, clusters, BOOTSTRAP)["macro_f1"]
    assert (low, high) == pytest.approx(tuple(np.quantile(scores, [0.025, 0.975])))


def test_a_wider_level_gives_a_wider_interval() -> None:
    labels, p_ah, clusters = toy()
    wide = bootstrap_intervals(labels, p_ah, 0.5, clusters, BOOTSTRAP)["accuracy"]
    half = replace(BOOTSTRAP, level=0.5)
    narrow = bootstrap_intervals(labels, p_ah, 0.5, clusters, half)["accuracy"]
    assert wide[0] < narrow[0] <= narrow[1] < wide[1]


def test_rows_of_one_participant_are_not_counted_as_independent() -> None:
    labels = np.array([0.0, 1.0] * 4)
    p_ah = np.array([0.2, 0.9, 0.8, 0.1] * 2)
    rows = np.repeat(np.arange(8), 20)
    by_row = [f"row {index}" for index in range(len(rows))]
    by_person = [f"participant {index}" for index in rows]
    independent = bootstrap_intervals(labels[rows], p_ah[rows], 0.5, by_row, BOOTSTRAP)["accuracy"]
    clustered = bootstrap_intervals(labels[rows], p_ah[rows], 0.5, by_person, BOOTSTRAP)["accuracy"]
    assert clustered[1] - clustered[0] > 2 * (independent[1] - independent[0])


def test_one_participant_has_no_interval() -> None:
    labels, p_ah, _ = toy()
    spread = bootstrap_intervals(labels, p_ah, 0.5, ["p0"] * len(labels), BOOTSTRAP)
    assert spread == dict.fromkeys(METRICS)


def test_a_metric_undefined_in_most_draws_has_no_interval() -> None:
    labels, p_ah = np.ones(6), np.linspace(0.1, 0.9, 6)
    spread = bootstrap_intervals(labels, p_ah, 0.5, list("abcdef"), BOOTSTRAP)
    assert spread["macro_f1"] is None
    assert spread["average_precision"] is None
    assert spread["accuracy"] is not None


def test_the_block_size_does_not_change_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, p_ah, clusters = toy()
    whole = bootstrap_intervals(labels, p_ah, 0.5, clusters, BOOTSTRAP)
    monkeypatch.setattr(bootstrap, "_BLOCK_CELLS", 7 * len(labels))
    in_blocks = bootstrap_intervals(labels, p_ah, 0.5, clusters, BOOTSTRAP)
    for name in METRICS:
        assert in_blocks[name] == pytest.approx(whole[name])


def test_a_difference_is_computed_on_the_same_draws() -> None:
    labels, p_ah, clusters = toy()
    other = np.random.default_rng(5).uniform(0, 1, len(labels))
    names, cluster_index = np.unique(clusters, return_inverse=True)
    draws = np.random.default_rng(3).multinomial(len(names), np.full(12, 1 / 12), size=60)
    differences = [
        f1_score(labels, p_ah >= 0.5, sample_weight=weights, average="macro")
        - f1_score(labels, other >= 0.4, sample_weight=weights, average="macro")
        for weights in draws[:, cluster_index]
    ]
    few = replace(BOOTSTRAP, draws=60)
    interval = bootstrap_difference(labels, (p_ah, 0.5), (other, 0.4), clusters, few)
    assert interval["macro_f1"] == pytest.approx(tuple(np.quantile(differences, [0.025, 0.975])))


def test_a_difference_from_itself_is_zero_and_undefined_for_one_participant() -> None:
    labels, p_ah, clusters = toy()
    same = (p_ah, 0.5)
    interval = bootstrap_difference(labels, same, same, clusters, BOOTSTRAP)
    assert interval == dict.fromkeys(METRICS, (0.0, 0.0))
    single = bootstrap_difference(labels, same, same, ["p"] * len(labels), BOOTSTRAP)
    assert single == dict.fromkeys(METRICS)
