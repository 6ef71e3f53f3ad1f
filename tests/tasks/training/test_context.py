from types import SimpleNamespace
from typing import Any

import pytest

from tasks.labels.class_plan import ClassRule, plan_classes
from tasks.training.context import TrainingContext
from tasks.training.settings import FinetuneResources, TrainingSettings
from tests.builders import a_sample

YES, NO = 7, 9


def test_each_label_is_trained_towards_its_token_with_the_weight_of_its_class() -> None:
    samples = [
        a_sample(f"{number}.mp4", split="train", label=int(number == 0), in_training=True)
        for number in range(4)
    ]
    absent: Any = None
    opened: Any = SimpleNamespace(token_yes=YES, token_no=NO)
    context = TrainingContext(
        settings=TrainingSettings(batch_size=2, epochs=3),
        plan=plan_classes(samples, ClassRule(class_weights="balanced", sampling="natural")),
        resources=FinetuneResources(),
        opened=opened, reader=absent, train_samples=samples, val_samples=[], checkpoints=absent,
        ranks=absent, report=print, callback=absent,
    )  # fmt: skip
    assert context.num_steps == 6
    assert context.answer_tokens == (NO, YES)
    assert context.token_weights[YES] == pytest.approx(3 * context.token_weights[NO])
    assert context.weight_of(samples[0]) == context.token_weights[YES]
    assert context.weight_of(samples[1]) == context.token_weights[NO]
