from infra.benchmarks.chaos.table import table_lines
from infra.benchmarks.chaos.trial import Trial


def test_kills_are_summed_by_victim_and_signal() -> None:
    trials = [
        Trial(victim="flow", signal="SIGKILL", stage="segment", num_reruns=1, seconds=10),
        Trial(victim="flow", signal="SIGKILL", stage="infer", num_reruns=2, seconds=20,
              num_computed_after=5, problems=["it failed"]),
        Trial(victim="ffmpeg", signal="SIGTERM", stage="segment", num_finished_before=3),
    ]  # fmt: skip
    assert [line.count("|") for line in table_lines(trials)] == [10] * 5
    assert list(table_lines(trials))[2:] == [
        "| ffmpeg | SIGTERM | 1 | 0 | 3 | 0 | 0 | 0 | 0 |",
        "| flow | SIGKILL | 2 | 3 | 0 | 5 | 0 | 15 | 1 |",
        "| all |  | 3 | 3 | 3 | 5 | 0 | 10 | 1 |",
    ]
