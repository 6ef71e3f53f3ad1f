import pytest

from infra.benchmarks.infer import fraction_of_bare, print_table
from infra.benchmarks.infer_ways import Measured


def measured(seconds: float, **others: float) -> Measured:
    figures = {"thread_seconds": 1.0, "cpu_seconds": 2.0, "idle_fraction": 0.0, "open_seconds": 9.0}
    return Measured(num_segments=100, seconds=seconds, peak_mib=500, **{**figures, **others})


def test_the_fraction_of_the_bare_engine_is_the_median_of_rounds() -> None:
    found = {
        "waver": [measured(10), measured(20), measured(12)],
        "bare": [measured(9), measured(10), measured(12)],
    }
    assert fraction_of_bare(found) == pytest.approx(0.9)
    assert fraction_of_bare({"waver": found["waver"]}) == 1.0


def test_the_table_holds_every_way(capsys) -> None:  # type: ignore[no-untyped-def]
    print_table({"waver": [measured(10, idle_fraction=0.05)], "bare": [measured(8)]})
    output = capsys.readouterr().out
    assert "| waver | 10.0 | 0.80 | 5% | 10.0 | 20.0 | 9.0 | 500 |" in output
    assert "| bare | 12.5 | 1.00 |  | 10.0 |" in output
