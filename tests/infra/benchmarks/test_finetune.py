from infra.benchmarks.finetune import ROWS, report
from infra.benchmarks.finetune_ways import WAYS, Measured


def measured(seconds: float, wait_fraction: float = 0.01) -> Measured:
    return Measured(
        seconds=seconds, num_samples=224, num_tokens=39_000, wait_fraction=wait_fraction,
        padding_fraction=0.05, peak_mib=800.0, cpu_seconds=12.0,
    )  # fmt: skip


def found(plain: float, ours: float, wait_fraction: float = 0.01) -> dict[str, list[Measured]]:
    rounds = {name: [measured(9.0)] * 3 for name in ROWS}
    rounds["transformers Trainer"] = [measured(plain)] * 3
    rounds["waver"] = [measured(ours, wait_fraction)] * 3
    return rounds


def test_every_row_is_trained_in_a_way_that_there_is():
    assert {row.way for row in ROWS.values()} == set(WAYS)


def test_the_targets_hold_or_not_by_ratio_and_waiting(capsys):
    assert report(found(plain=30.0, ours=9.0)) == 0
    assert "ours is 3.33 times as fast" in capsys.readouterr().out
    assert report(found(plain=20.0, ours=9.0)) == 1
    assert report(found(plain=30.0, ours=9.0, wait_fraction=0.2)) == 1


def test_the_table_lists_samples_and_tokens_per_second(capsys):
    report(found(plain=30.0, ours=8.0))
    assert (
        "| waver | 8.0 | 3.75 | 12.0 | 28.0 | 4875 | 800 | 1.0% | 5.0% |" in capsys.readouterr().out
    )
