import pytest

from flows.planning.units import format_bytes, format_seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "?"), (0, "0 s"), (0.04, "0.04 s"), (0.5, "0.5 s"), (9.96, "10 s"), (119, "119 s"),
        (120, "2.0 min"), (7_200, "2.0 h"), (86_400 * 2, "2.0 days"), (3.2e9, "101 years"),
        (1e15, "31,688,088 years"),
    ],
)  # fmt: skip
def test_durations_have_the_largest_unit_of_which_there_are_two(seconds, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "?"), (0, "0 B"), (999, "999 B"), (999.6, "1.0 kB"), (1_500, "1.5 kB"),
        (229e6, "229 MB"), (999.6e6, "1.0 GB"), (2.3e15, "2.3 PB"), (5e21, "5,000 EB"),
    ],
)  # fmt: skip
def test_sizes_are_in_powers_of_a_thousand(size, text: str) -> None:
    assert format_bytes(size) == text
