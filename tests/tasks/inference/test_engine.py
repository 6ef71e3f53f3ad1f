from types import SimpleNamespace

import pytest

from storage.errors import ModelError
from tasks.inference.engine import Engine


def test_an_adapter_by_which_no_answer_differs_is_refused() -> None:
    def run_alone(token_ids: list[int], lora: object) -> object:
        assert len(token_ids) == 16
        asked.append(lora)
        by_token = {5: SimpleNamespace(logprob=-0.5), 7: SimpleNamespace(logprob=answers.pop())}
        return SimpleNamespace(outputs=[SimpleNamespace(logprobs=[by_token])])

    engine, asked = Engine.__new__(Engine), list[object]()
    lora = SimpleNamespace(lora_path="an adapter")
    vars(engine).update(_answer_ids=(5, 7), _lora=lora, _run_alone=run_alone)
    answers = [-1.0, -1.0]
    with pytest.raises(ModelError, match=r"'an adapter' changes no answer.*infer\.adapter=merge"):
        engine._check_adapter()
    answers = [-1.0, -1.00001]
    engine._check_adapter()
    assert asked == [None, lora] * 2
