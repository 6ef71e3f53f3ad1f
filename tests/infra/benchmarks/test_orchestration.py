import subprocess
import sys

import pytest

from flows.cli import main as cli
from infra.benchmarks import orchestration
from infra.benchmarks.orchestration import ALL_STAGES, ONE_STAGE, Measured, commands, main, run


def measured(num_videos: int, wall: float, peak_mib: float, command: str = ONE_STAGE) -> Measured:
    return Measured(command=command, num_videos=num_videos, wall=wall, cpu=9.5, peak_mib=peak_mib)


@pytest.mark.parametrize(
    ("num_videos", "wall", "peak_mib", "is_within"),
    [
        (1_427, 15, 300, True), (1_427, 15.1, 300, False), (100_000, 89, 2_048, True),
        (100_000, 91, 300, False), (100_000, 50, 2_049, False), (10_000, 1_000, 300, True),
    ],
)  # fmt: skip
def test_a_size_is_within_its_targets_of_time_and_memory(num_videos, wall, peak_mib, is_within):
    assert measured(num_videos, wall, peak_mib).is_within_targets is is_within


def test_a_look_has_one_target_at_any_size_and_all_stages_have_that_of_memory_alone():
    for size in (1_427, 10_000, 100_000):
        assert measured(size, 60, 300, "`gc`").is_within_targets
        assert not measured(size, 61, 300, "`gc`").is_within_targets
        assert measured(size, 1_000, 300, ALL_STAGES).is_within_targets
        assert not measured(size, 20, 2_049, ALL_STAGES).is_within_targets


def test_a_missed_target_is_the_exit_status(monkeypatch, capsys):
    for wall, status in ((10, 0), (20, 1)):
        monkeypatch.setattr(
            orchestration, "measure", lambda folder, size, wall=wall: [measured(size, wall, 200)]
        )
        assert main(["--sizes", "1427"]) == status
        assert f"| {ONE_STAGE} | 1,427 | {wall:.1f} | 9.5 | 200 |" in capsys.readouterr().out


def test_the_measured_commands_exist(tmp_path):
    for arguments in commands(tmp_path / "data", tmp_path / "store", 1).values():
        command = cli.typer.main.get_command(cli.app)
        command.make_context("waver", list(arguments), resilient_parsing=True)


def test_a_command_is_measured_with_its_memory_and_a_failure_raises(monkeypatch):
    wall, cpu, peak_mib = run(["--version"], {})
    assert 0 < cpu < wall + 5
    assert 20 < peak_mib < 500
    with pytest.raises(subprocess.CalledProcessError) as error:
        run(["run", "--data", "/nowhere"], {"PYTHONPATH": ":".join(sys.path)})
    assert b"no data folder" in error.value.output
