from types import SimpleNamespace

import pytest

from storage.errors import ModelError
from tasks.inference.engine import check_adapter_is_applied


def test_an_adapter_that_changes_no_prediction_is_rejected() -> None:
    lora = SimpleNamespace(lora_path="an adapter")
    requests: list[object] = []

    def log_probabilities(request: object) -> list[float]:
        requests.append(request)
        return [-0.5, -1.0 if request is None else logp_with_adapter]

    logp_with_adapter = -1.0
    with pytest.raises(ModelError, match=r"'an adapter' changes no .*infer\.adapter=merge"):
        check_adapter_is_applied(log_probabilities, lora)
    logp_with_adapter = -1.00001
    check_adapter_is_applied(log_probabilities, lora)
    assert requests == [None, lora] * 2
