import sys
import time

import pytest

from infra.benchmarks import segment
from infra.benchmarks.segment import Cost, cpu_seconds_of, main, measure
from infra.benchmarks.ways import WAYS
from tasks.processes.tool import ToolLimits, run_tool


def cost(waver: float) -> Cost:
    return Cost(video="a", by_way={"pure decoding": 2.0, "the paper's way": 10.0, "waver": waver})


def test_the_time_of_a_child_counts_and_waiting_does_not():
    busy = "import time\nwhile time.process_time() < 0.5: pass"
    spent = cpu_seconds_of(
        lambda: run_tool([sys.executable, "-c", busy], limits=ToolLimits(seconds=60))
    )
    assert spent == pytest.approx(0.6, abs=0.2)
    assert cpu_seconds_of(lambda: time.sleep(0.3)) < 0.1


def test_ratios_are_to_decoding_and_to_the_paper():
    assert (cost(3.0).of_decoding, cost(3.0).of_paper) == (1.5, 0.3)


@pytest.mark.parametrize(("waver", "within"), [(4.0, True), (4.1, False), (6.0, False)])
def test_both_targets_must_hold(waver, within):
    assert cost(waver).is_within_targets is within


def test_every_way_is_measured_on_the_same_video(video):
    measured = measure(video("very-short.mp4"), repeats=1)
    assert set(measured.by_way) == set(WAYS)
    assert min(measured.by_way.values()) > 0


@pytest.mark.parametrize(("waver", "status"), [(3.0, 0), (9.0, 1)])
def test_a_missed_target_is_the_exit_status(video, monkeypatch, capsys, waver, status):
    monkeypatch.setattr(segment, "measure", lambda path, repeats: cost(waver))
    monkeypatch.setattr(segment, "make_video", lambda path, seconds: video("very-short.mp4"))
    assert main(["--folder-of", "3"]) == status
    output = capsys.readouterr().out
    assert f"| a | 2.00 | 10.00 | {waver:.2f} | {waver / 2:.2f} | {waver / 10:.2f} |" in output
    assert "3 videos side by side: " in output
