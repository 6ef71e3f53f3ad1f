from types import SimpleNamespace

import pytest
import torch

from storage.errors import StageError
from tasks.training.data.batches import NO_ANSWER
from tasks.training.distributed.ranks import Ranks
from tasks.training.evaluate import Figures, evaluate

YES, NO, VOCABULARY = 2, 3, 5


class Answers(torch.nn.Module):
    """Answers with the margin between Yes and No that its input holds."""

    def forward(self, input_ids: torch.Tensor, use_cache: bool) -> SimpleNamespace:
        logits = torch.zeros(len(input_ids), 1, VOCABULARY)
        logits[:, 0, YES] = input_ids[:, 0].float()
        return SimpleNamespace(logits=logits)


def batch(margins: list[float], labels: list[int]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    answers = torch.tensor([YES if label else NO for label in labels])
    return {"input_ids": torch.tensor(margins)[:, None]}, answers


def test_figures_come_from_all_batches_together():
    model = Answers()
    batches = [batch([2, -1], [1, 0]), batch([1, -3], [0, 0])]
    found = evaluate(model, batches, token_yes=YES, token_no=NO, ranks=Ranks(cpu=True))
    # Present: one found, one too many (F1 2/3); absent: two of three found (F1 4/5).
    assert found.macro_f1 == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found.average_precision == 1.0
    whole = torch.tensor([[0, 0, margin, 0, 0] for margin in (2.0, -1.0, 1.0, -3.0)])
    loss = torch.nn.functional.cross_entropy(whole, torch.tensor([YES, NO, NO, NO]))
    assert found.loss == pytest.approx(float(loss))
    assert model.training


def test_rows_without_an_answer_change_no_figure():
    model, ranks = Answers(), Ranks(cpu=True)
    batches = [batch([2, -1], [1, 0]), batch([1, -3], [0, 0])]
    blank = (batch([5], [1])[0], torch.tensor([NO_ANSWER]))
    found, expected = (
        evaluate(model, each, token_yes=YES, token_no=NO, ranks=ranks)
        for each in ([blank, *batches, blank], batches)
    )
    assert found == expected


def test_one_label_alone_leaves_figures_undefined():
    batches = [batch([2, -1], [1, 1])]
    found = evaluate(Answers(), batches, token_yes=YES, token_no=NO, ranks=Ranks(cpu=True))
    assert (found.macro_f1, found.average_precision) == (None, None)


def test_answers_that_are_no_numbers_and_no_answers_at_all_are_told_in_a_sentence():
    blank = (batch([5], [1])[0], torch.tensor([NO_ANSWER]))
    wrong = [batch([2, -1, float("nan")], [1, 0, 0])]
    message = {
        r"loss of 1 of 3 validation samples is no number. Lower": wrong,
        r"None of the validation samples .*--force segment": [],
        r"None of the validation .*--force segment": [blank],
    }
    for sentence, batches in message.items():
        with pytest.raises(StageError, match=sentence):
            evaluate(Answers(), batches, token_yes=YES, token_no=NO, ranks=Ranks(cpu=True))


def test_of_equal_figures_the_lower_loss_is_better():
    low, high = (Figures(loss=loss, macro_f1=0.9, average_precision=0.1) for loss in (0.1, 0.2))
    better = Figures(loss=0.5, macro_f1=0.95, average_precision=0.1)
    assert low.score("macro_f1") > high.score("macro_f1")
    assert better.score("macro_f1") > low.score("macro_f1")
    assert better.score("loss") < low.score("loss")
