from infra.zoo.inputs import DAMAGED, GOOD, ODD_NAMES, POOR, Rejected
from infra.zoo.visit import INPUTS


def test_every_input_has_one_expected_outcome() -> None:
    assert len(INPUTS) == len(GOOD) + len(DAMAGED) + len(POOR)
    assert set(INPUTS) == set(GOOD) | set(DAMAGED) | set(POOR)
    assert set(ODD_NAMES) <= set(GOOD)
    assert all(outcome.reason for outcome in DAMAGED.values() if isinstance(outcome, Rejected))
