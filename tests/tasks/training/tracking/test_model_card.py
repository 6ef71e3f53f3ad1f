import re
from dataclasses import replace

import pytest
import yaml

from tasks.evaluation.metrics import METRICS
from tasks.labels.class_plan import ClassRule, plan_classes
from tasks.training.job import TrainingJob, TrainingResult, ValidationPrediction, read_job
from tasks.training.tracking.model_card import (
    CARD_NAME,
    figures_of,
    public_name,
    split_facts,
    write_card,
)

RESULT = TrainingResult(
    num_steps=20, best_step=10, trained={"attention": 1200, "experts": 34}, num_parameters=99_000
)


@pytest.fixture
def rows(labelled):
    """Three participants a side, of whom one said no and one nothing about publications."""
    answers = (True, False, None)
    return [
        replace(
            row,
            participant_id=f"{row.split}-{index % 3}-unspeakable",
            consent_publications=answers[index % 3],
        )
        for index, row in enumerate(labelled)
    ]


@pytest.fixture
def answers(rows):
    """Right about all validation segments but one."""
    val = [row for row in rows if row.split == "val"]
    return [
        ValidationPrediction(segment_id=row.segment_id, p_ah=0.9 if row.label or not index else 0.1)
        for index, row in enumerate(reversed(val))
    ]


def card_of(make_job, tmp_path, rows, answers, base="Qwen/Qwen3-Omni-30B-A3B-Instruct", **settings):
    job, _ = read_job(make_job("carded", **settings))
    described = {"base_name": base, "base_fingerprint": "f00d", "source_path": "manifest/abc"}
    job = TrainingJob.model_validate({**job.model_dump(), **described})
    write_card(tmp_path, job, RESULT, rows, answers)
    text = (tmp_path / CARD_NAME).read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def test_the_card_tells_data_settings_figures_consent_and_loading(
    make_job, tmp_path, rows, answers
):
    front, body = card_of(make_job, tmp_path, rows, answers, rank=4)
    assert front["base_model"] == "Qwen/Qwen3-Omni-30B-A3B-Instruct"
    assert (front["library_name"], front["license"]) == ("peft", "other")
    (result,) = front["model-index"][0]["results"]
    message = {metric["type"]: metric["value"] for metric in result["metrics"]}
    figures = {figure.key: figure for figure in figures_of(rows, answers)}
    assert message == {key: round(figure.value, 4) for key, figure in figures.items()}
    assert set(message) <= set(METRICS)
    assert message["accuracy"] == round(5 / 6, 4)

    train, val = split_facts(rows)
    assert f"| train | 12 | 4 | 12 | 3 | `{train.digest}` |" in body
    assert f"| val | 6 | 2 | 6 | 3 | `{val.digest}` |" in body
    low, high = figures["accuracy"].interval
    assert f"| accuracy | 0.833 | {low:.3f} to {high:.3f} |" in body
    assert low < 5 / 6 <= high
    assert "| publications | 2 | 2 | 2 |" in body
    assert "\n**Not everybody agreed to a use in publications: do not publish this model** " in body
    assert "\nA participant may ask to be forgotten" in body
    assert "| rank | 4 |" in body
    assert "| parts | attention, experts |" in body
    assert "| method | lora |" in body
    assert "{media}" in body
    assert 'PeftModel.from_pretrained(base.thinker, "adapter")' in body
    assert "1,234 of 99,000 parameters" in body


def test_a_hub_accepts_the_front_matter(make_job, tmp_path, rows, answers):
    from huggingface_hub import ModelCard

    card_of(make_job, tmp_path, rows, answers)
    card = ModelCard.load(tmp_path / CARD_NAME)
    assert card.data.base_model == "Qwen/Qwen3-Omni-30B-A3B-Instruct"
    assert {row.metric_type for row in card.data.eval_results} <= set(METRICS)


def test_the_card_names_nobody_and_no_place_of_this_machine(
    make_job, tmp_path, rows, answers, tiny_omni
):
    front, body = card_of(make_job, tmp_path, rows, answers, base=str(tiny_omni))
    message = str(front) + body
    assert "base_model" not in front
    assert "unspeakable" not in message
    assert str(tiny_omni.parent) not in message
    assert str(tmp_path) not in message
    assert not any(
        row.video_id in message or (row.transcript and row.transcript in message) for row in rows
    )


def test_a_full_model_without_validation_says_so_and_has_no_adapter(make_job, tmp_path, rows):
    everybody = [replace(row, consent_publications=True) for row in rows if row.in_training]
    front, body = card_of(make_job, tmp_path, everybody, [], method="full", validation=False)
    assert "model-index" not in front
    assert front["library_name"] == "transformers"
    assert "trained without validation" in body
    assert "PeftModel" not in body
    assert "do not publish" not in body
    assert not re.search(r"\n{4}", body)


def test_digests_of_splits_follow_content_and_labels_and_not_their_order(rows):
    digests = [facts.digest for facts in split_facts(rows)]
    assert [facts.digest for facts in split_facts(rows[::-1])] == digests
    changed = [replace(rows[0], label=1 - (rows[0].label or 0)), *rows[1:]]
    assert split_facts(changed)[0].digest != digests[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [("Qwen/Qwen3-Omni", "Qwen/Qwen3-Omni"), ("/models/mine", None), ("~/mine", None)],
)
def test_only_a_name_on_the_hub_is_told(name, message):
    assert public_name(name) == message


def test_figures_are_undefined_and_without_interval_where_they_must_be(rows, answers):
    one = next(row for row in rows if row.split == "val")
    answer = next(answer for answer in answers if answer.segment_id == one.segment_id)
    figures = {figure.key: figure for figure in figures_of([one], [answer])}
    assert figures["macro_f1"].value is None
    assert all(figure.interval is None for figure in figures.values())
    assert plan_classes([one], ClassRule()) == ()
