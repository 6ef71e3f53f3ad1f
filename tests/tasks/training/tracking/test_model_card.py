import re
from dataclasses import replace

import pytest
import yaml

from tasks.evaluation.metrics import METRICS
from tasks.labels.class_plan import ClassRule, plan_classes
from tasks.training.job import TrainingJob, TrainingResult, ValidationPrediction, read_job
from tasks.training.tracking.model_card import (
    CARD_NAME,
    card_metrics,
    public_name,
    split_facts,
    write_card,
)

RESULT = TrainingResult(
    num_steps=20, best_step=10, trained={"attention": 1200, "experts": 34}, num_parameters=99_000
)


@pytest.fixture
def rows(labeled):
    """Three participants per split; one declined publication, one gave no answer."""
    consents = (True, False, None)
    return [
        replace(
            row,
            participant_id=f"{row.split}-{index % 3}-unspeakable",
            consent_publications=consents[index % 3],
        )
        for index, row in enumerate(labeled)
    ]


@pytest.fixture
def predictions(rows):
    """Correct for all validation segments but one."""
    val = [row for row in rows if row.split == "val"]
    return [
        ValidationPrediction(segment_id=row.segment_id, p_ah=0.9 if row.label or not index else 0.1)
        for index, row in enumerate(reversed(val))
    ]


def card_of(
    make_job, tmp_path, rows, predictions, base="Qwen/Qwen3-Omni-30B-A3B-Instruct", **settings
):
    job, _ = read_job(make_job("carded", **settings))
    described = {"base_name": base, "base_fingerprint": "f00d", "source_path": "manifest/abc"}
    job = TrainingJob.model_validate({**job.model_dump(), **described})
    write_card(tmp_path, job, RESULT, rows, predictions)
    text = (tmp_path / CARD_NAME).read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def test_the_card_contains_data_settings_metrics_consent_and_loading(
    make_job, tmp_path, rows, predictions
):
    front, body = card_of(make_job, tmp_path, rows, predictions, rank=4)
    assert front["base_model"] == "Qwen/Qwen3-Omni-30B-A3B-Instruct"
    assert (front["library_name"], front["license"]) == ("peft", "other")
    (result,) = front["model-index"][0]["results"]
    published = {metric["type"]: metric["value"] for metric in result["metrics"]}
    metrics = {metric.key: metric for metric in card_metrics(rows, predictions)}
    assert published == {key: round(metric.value, 4) for key, metric in metrics.items()}
    assert set(published) <= set(METRICS)
    assert published["accuracy"] == round(5 / 6, 4)

    train, val = split_facts(rows)
    assert f"| train | 12 | 4 | 12 | 3 | `{train.digest}` |" in body
    assert f"| val | 6 | 2 | 6 | 3 | `{val.digest}` |" in body
    low, high = metrics["accuracy"].interval
    assert f"| accuracy | 0.833 | {low:.3f} to {high:.3f} |" in body
    assert low < 5 / 6 <= high
    assert "| publications | 2 | 2 | 2 |" in body
    assert (
        "\n**Not all participants agreed to use in publications: do not publish this model** "
        in body
    )
    assert "\nParticipants may request erasure" in body
    assert "| rank | 4 |" in body
    assert "| parts | attention, experts |" in body
    assert "| method | lora |" in body
    assert "{media}" in body
    assert 'PeftModel.from_pretrained(base.thinker, "adapter")' in body
    assert "1,234 of 99,000 parameters" in body


def test_a_hub_accepts_the_front_matter(make_job, tmp_path, rows, predictions):
    from huggingface_hub import ModelCard

    card_of(make_job, tmp_path, rows, predictions)
    card = ModelCard.load(tmp_path / CARD_NAME)
    assert card.data.base_model == "Qwen/Qwen3-Omni-30B-A3B-Instruct"
    assert {row.metric_type for row in card.data.eval_results} <= set(METRICS)


def test_the_card_contains_no_person_and_no_local_path(
    make_job, tmp_path, rows, predictions, tiny_omni
):
    front, body = card_of(make_job, tmp_path, rows, predictions, base=str(tiny_omni))
    text = str(front) + body
    assert "base_model" not in front
    assert "unspeakable" not in text
    assert str(tiny_omni.parent) not in text
    assert str(tmp_path) not in text
    assert not any(
        row.video_id in text or (row.transcript and row.transcript in text) for row in rows
    )


def test_the_card_of_a_full_model_without_validation_states_it_and_has_no_adapter(
    make_job, tmp_path, rows
):
    consenting = [replace(row, consent_publications=True) for row in rows if row.in_training]
    front, body = card_of(make_job, tmp_path, consenting, [], method="full", validation=False)
    assert "model-index" not in front
    assert front["library_name"] == "transformers"
    assert "trained without validation" in body
    assert "PeftModel" not in body
    assert "do not publish" not in body
    assert not re.search(r"\n{4}", body)


def test_split_digests_depend_on_content_and_labels_but_not_on_order(rows):
    digests = [facts.digest for facts in split_facts(rows)]
    assert [facts.digest for facts in split_facts(rows[::-1])] == digests
    changed = [replace(rows[0], label=1 - (rows[0].label or 0)), *rows[1:]]
    assert split_facts(changed)[0].digest != digests[0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Qwen/Qwen3-Omni", "Qwen/Qwen3-Omni"), ("/models/mine", None), ("~/mine", None)],
)
def test_only_a_name_on_the_hub_is_published(name, expected):
    assert public_name(name) == expected


def test_metrics_of_a_single_label_are_undefined_and_without_interval(rows, predictions):
    one = next(row for row in rows if row.split == "val")
    prediction = next(p for p in predictions if p.segment_id == one.segment_id)
    metrics = {metric.key: metric for metric in card_metrics([one], [prediction])}
    assert metrics["macro_f1"].value is None
    assert all(metric.interval is None for metric in metrics.values())
    assert plan_classes([one], ClassRule()) == ()
