from types import SimpleNamespace

import pytest
import torch

from storage.errors import StageError
from tasks.training.data.batches import IGNORE_INDEX
from tasks.training.distributed.ranks import Ranks
from tasks.training.evaluate import ValidationMetrics, evaluate

YES, NO, VOCABULARY = 2, 3, 5


class MarginModel(torch.nn.Module):
    """Predicts with the margin between Yes and No given as input."""

    def forward(self, input_ids: torch.Tensor, use_cache: bool) -> SimpleNamespace:
        logits = torch.zeros(len(input_ids), 1, VOCABULARY)
        logits[:, 0, YES] = input_ids[:, 0].float()
        return SimpleNamespace(logits=logits)


def batch(margins: list[float], labels: list[int]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    targets = torch.tensor([YES if label else NO for label in labels])
    return {"input_ids": torch.tensor(margins)[:, None]}, targets


def test_metrics_are_computed_over_all_batches():
    model = MarginModel()
    batches = [batch([2, -1], [1, 0]), batch([1, -3], [0, 0])]
    metrics = evaluate(model, batches, token_yes=YES, token_no=NO, ranks=Ranks(cpu=True))
    # Present: 1 true and 1 false positive (F1 2/3); absent: 2 of 3 recalled (F1 4/5).
    assert metrics.macro_f1 == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert metrics.average_precision == 1.0
    logits = torch.tensor([[0, 0, margin, 0, 0] for margin in (2.0, -1.0, 1.0, -3.0)])
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor([YES, NO, NO, NO]))
    assert metrics.loss == pytest.approx(float(loss))
    assert model.training


def test_ignored_rows_change_no_metric():
    model, ranks = MarginModel(), Ranks(cpu=True)
    batches = [batch([2, -1], [1, 0]), batch([1, -3], [0, 0])]
    blank = (batch([5], [1])[0], torch.tensor([IGNORE_INDEX]))
    metrics, expected = (
        evaluate(model, each, token_yes=YES, token_no=NO, ranks=ranks)
        for each in ([blank, *batches, blank], batches)
    )
    assert metrics == expected


def test_a_single_label_leaves_metrics_undefined():
    batches = [batch([2, -1], [1, 1])]
    metrics = evaluate(MarginModel(), batches, token_yes=YES, token_no=NO, ranks=Ranks(cpu=True))
    assert (metrics.macro_f1, metrics.average_precision) == (None, None)


def test_losses_that_are_not_finite_and_no_targets_at_all_are_clear_errors():
    blank = (batch([5], [1])[0], torch.tensor([IGNORE_INDEX]))
    wrong = [batch([2, -1, float("nan")], [1, 0, 0])]
    cases = {
        r"loss of 1 of 3 validation samples is not finite. Lower": wrong,
        r"None of the validation samples .*--force segment": [],
        r"None of the validation .*--force segment": [blank],
    }
    for sentence, batches in cases.items():
        with pytest.raises(StageError, match=sentence):
            evaluate(MarginModel(), batches, token_yes=YES, token_no=NO, ranks=Ranks(cpu=True))


def test_ties_are_broken_by_the_lower_loss():
    low, high = (
        ValidationMetrics(loss=loss, macro_f1=0.9, average_precision=0.1) for loss in (0.1, 0.2)
    )
    better = ValidationMetrics(loss=0.5, macro_f1=0.95, average_precision=0.1)
    assert low.score("macro_f1") > high.score("macro_f1")
    assert better.score("macro_f1") > low.score("macro_f1")
    assert better.score("loss") < low.score("loss")
