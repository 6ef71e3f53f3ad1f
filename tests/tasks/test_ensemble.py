import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import StageError
from storage.records import RejectedRecord
from storage.results import PredictionRecord
from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant, open_variant
from tasks.ensemble import ensemble_shard, mean_of, variant_of
from tasks.stage import Shard, ShardResult
from tests.builders import a_prediction

EXPECTED = {"a": "1", "b": "2", "c": "3"}
SHARD = Shard(name="1 of 1", expected=EXPECTED)


def row(item: str, p_ah: float, mass: float = 1.0) -> PredictionRecord:
    return a_prediction(
        item, p_ah, logp_yes=math.log(p_ah * mass), logp_no=math.log((1 - p_ah) * mass),
        answer_mass=mass, num_audio_tokens=3, has_audio=False,
    )  # fmt: skip


def models(store: Store, *p_ahs: dict[str, float]) -> list[Variant]:
    variants = [
        open_variant(store, "infer", version=1, settings={"seed": n}) for n in range(len(p_ahs))
    ]
    for variant, by_item in zip(variants, p_ahs, strict=True):
        outputs = [ItemOutput(item_id=item, rows=(row(item, p),)) for item, p in by_item.items()]
        variant.commit(outputs, EXPECTED)
    return variants


probabilities = st.floats(min_value=1e-6, max_value=1 - 1e-6)


@given(st.lists(st.tuples(probabilities, probabilities), min_size=1, max_size=5))
def test_the_mean_is_of_log_odds_for_any_answer_mass(pairs) -> None:  # type: ignore[no-untyped-def]
    mean = mean_of([row("a", p, mass) for p, mass in pairs])
    odds = sum(math.log(p / (1 - p)) for p, _ in pairs) / len(pairs)
    assert mean.p_ah == pytest.approx(1 / (1 + math.exp(-odds)), rel=1e-6)
    assert mean.answer_mass == pytest.approx(sum(mass for _, mass in pairs) / len(pairs))
    assert (mean.num_audio_tokens, mean.has_audio) == (3, False)


def test_several_models_predict_as_one_and_a_second_run_computes_nothing(tmp_path) -> None:  # type: ignore[no-untyped-def]
    store = Store(str(tmp_path))
    variants = models(store, {"a": 0.2, "b": 0.9, "c": 0.5}, {"a": 0.8, "b": 0.9, "c": 0.5})
    combined = variant_of(store, variants)
    assert ensemble_shard.fn(SHARD, variants, combined).data == ShardResult(
        num_cached=0, num_computed=3
    )
    assert [r.p_ah for r in combined.read(PredictionRecord, EXPECTED)] == pytest.approx(
        [0.5, 0.9, 0.5]
    )
    assert ensemble_shard.fn(SHARD, variants, combined).name == "Cached"
    assert variant_of(store, variants[:1]).variant_id != combined.variant_id
    assert variant_of(store, variants[::-1]).variant_id == combined.variant_id


def test_a_segment_rejected_by_one_model_is_rejected_and_a_missing_prediction_stops_the_run(
    tmp_path,
) -> None:  # type: ignore[no-untyped-def]
    store = Store(str(tmp_path))
    variants = models(store, {"a": 0.2, "b": 0.9}, {"a": 0.8})
    rejected = RejectedRecord(item_id="b", stage="infer", reason="the engine died on it")
    variants[1].commit([ItemOutput(item_id="b", rows=(rejected,))], EXPECTED)
    combined = variant_of(store, variants)
    with pytest.raises(StageError, match="2 of 2 models have not predicted"):
        ensemble_shard.fn(SHARD, variants, combined)
    assert combined.read(RejectedRecord, EXPECTED) == [rejected]
    assert [r.segment_id for r in combined.read(PredictionRecord, EXPECTED)] == ["a"]


def test_a_model_s_new_predictions_enter_the_next_mean(tmp_path) -> None:  # type: ignore[no-untyped-def]
    store = Store(str(tmp_path))
    variants = models(store, {"a": 0.2, "b": 0.9, "c": 0.5}, {"a": 0.8, "c": 0.5})
    rejected = RejectedRecord(item_id="b", stage="infer", reason="the engine died on it")
    variants[1].commit([ItemOutput(item_id="b", rows=(rejected,))], EXPECTED)
    combined = variant_of(store, variants)
    ensemble_shard.fn(SHARD, variants, combined)
    variants[1].invalidate({"b": "2"})
    variants[1].commit([ItemOutput(item_id="b", rows=(row("b", 0.9),))], EXPECTED)
    assert ensemble_shard.fn(SHARD, variants, combined).data == ShardResult(
        num_cached=2, num_computed=1
    )
    assert combined.read(RejectedRecord, EXPECTED) == []
    assert len(combined.read(PredictionRecord, EXPECTED)) == 3
