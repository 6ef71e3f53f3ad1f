from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tasks.evaluation import bootstrap
from tasks.evaluation.bootstrap import BootstrapSettings, bootstrap_difference, bootstrap_intervals
from tasks.evaluation.metrics import METRICS, compute_metrics

BOOTSTRAP = BootstrapSettings(draws=400, level=0.95, seed=3)


def toy(num_clusters: int = 12, each: int = 3) -> tuple[np.ndarray, np.ndarray, list[str]]:
    dice = np.random.default_rng(0)
    labels = dice.integers(0, 2, num_clusters * each).astype(float)
    p_ah = np.clip(0.5 + 0.3 * (labels - 0.5) + dice.normal(0, 0.25, len(labels)), 0, 1)
    return labels, p_ah, [f"p{index // each}" for index in range(len(labels))]


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others() -> None:
    labels, p_ah, clusters = toy()
    first = bootstrap_intervals(labels, p_ah, 0.5, clusters, BOOTSTRAP)
    assert first == bootstrap_intervals(labels, p_ah, 0.5, clusters, BOOTSTRAP)
    assert first != bootstrap_intervals(labels, p_ah, 0.5, clusters, replace(BOOTSTRAP, seed=4))


def test_intervals_hold_their_figures_and_stay_in_bounds() -> None:
    labels, p_ah, clusters = toy()
    values = compute_metrics(labels, p_ah, 0.5)
    for name, spread in bootstrap_intervals(labels, p_ah, 0.5, clusters, BOOTSTRAP).items():
        low, high = spread
        assert 0 <= low <= values[name] <= high <= 1
        assert low < high


def test_an_interval_is_that_of_figures_computed_draw_by_draw() -> None:
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
    alone = [f"row {index}" for index in range(len(rows))]
    together = [f"participant {index}" for index in rows]
    independent = bootstrap_intervals(labels[rows], p_ah[rows], 0.5, alone, BOOTSTRAP)["accuracy"]
    clustered = bootstrap_intervals(labels[rows], p_ah[rows], 0.5, together, BOOTSTRAP)["accuracy"]
    assert clustered[1] - clustered[0] > 2 * (independent[1] - independent[0])


def test_one_participant_gives_no_interval_rather_than_a_certain_one() -> None:
    labels, p_ah, _ = toy()
    spread = bootstrap_intervals(labels, p_ah, 0.5, ["p0"] * len(labels), BOOTSTRAP)
    assert spread == dict.fromkeys(METRICS)


def test_a_figure_undefined_in_most_draws_has_no_interval() -> None:
    labels, p_ah = np.ones(6), np.linspace(0.1, 0.9, 6)
    spread = bootstrap_intervals(labels, p_ah, 0.5, list("abcdef"), BOOTSTRAP)
    assert spread["macro_f1"] is None
    assert spread["average_precision"] is None
    assert spread["accuracy"] is not None


def test_the_size_of_the_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, p_ah, clusters = toy()
    whole = bootstrap_intervals(labels, p_ah, 0.5, clusters, BOOTSTRAP)
    monkeypatch.setattr(bootstrap, "_BLOCK_CELLS", 7 * len(labels))
    in_blocks = bootstrap_intervals(labels, p_ah, 0.5, clusters, BOOTSTRAP)
    for name in METRICS:
        assert in_blocks[name] == pytest.approx(whole[name])


def test_a_difference_is_that_of_two_figures_on_the_same_draws() -> None:
    labels, p_ah, clusters = toy()
    other = np.random.default_rng(5).uniform(0, 1, len(labels))
    names, cluster_index = np.unique(clusters, return_inverse=True)
    draws = np.random.default_rng(3).multinomial(len(names), np.full(12, 1 / 12), size=60)
    apart = [
        f1_score(labels, p_ah >= 0.5, sample_weight=weights, average="macro")
        - f1_score(labels, other >= 0.4, sample_weight=weights, average="macro")
        for weights in draws[:, cluster_index]
    ]
    few = replace(BOOTSTRAP, draws=60)
    found = bootstrap_difference(labels, (p_ah, 0.5), (other, 0.4), clusters, few)
    assert found["macro_f1"] == pytest.approx(tuple(np.quantile(apart, [0.025, 0.975])))


def test_nothing_differs_from_itself_and_of_one_participant_nothing_is_known() -> None:
    labels, p_ah, clusters = toy()
    same = (p_ah, 0.5)
    found = bootstrap_difference(labels, same, same, clusters, BOOTSTRAP)
    assert found == dict.fromkeys(METRICS, (0.0, 0.0))
    alone = bootstrap_difference(labels, same, same, ["p"] * len(labels), BOOTSTRAP)
    assert alone == dict.fromkeys(METRICS)
