import pytest

from infra.benchmarks import runner
from infra.benchmarks.runner import Compared, Cost, command_of, main, write_videos
from tests.command_checks import check_waver


def compared(num_videos: int, local: float, ray: float, cpu: float = 8) -> Compared:
    return Compared(
        work="all videos", num_videos=num_videos, local=Cost(local, 4), ray=Cost(ray, cpu)
    )


@pytest.mark.parametrize(
    ("num_videos", "local", "ray", "is_within"),
    [
        (100, 100.0, 102.9, True), (100, 100.0, 103.1, False), (100, 10.0, 10.9, True),
        (100, 10.0, 11.1, False), (0, 5.0, 4.0, True), (0, 5.0, 6.0, False),
    ],
)  # fmt: skip
def test_ray_may_add_three_percent_or_ten_milliseconds_a_video(num_videos, local, ray, is_within):
    assert compared(num_videos, local, ray).is_within_target is is_within


def test_a_further_video_costs_what_is_left_without_the_start():
    single = compared(1, 5.0, 9.0, cpu=6.0)
    further = compared(101, 55.0, 64.0, cpu=26.0).further_videos(single)
    assert further.local == Cost(0.5, 0.0)
    assert further.ray == Cost(0.55, 0.2)


def test_the_table_shows_seconds_and_what_ray_adds():
    assert compared(100, 10.0, 12.0).line() == (
        "| all videos | 100 | 10 | 12 | +20% | 4 | 8 | +100% | +20 |"
    )


def test_a_missed_target_is_the_exit_status(monkeypatch, capsys):
    for ray, status in ((10.5, 0), (20.0, 1)):
        rows = [compared(0, 4.0, 4.0), compared(1, 5.0, 9.0), compared(100, 10.0, ray)]
        monkeypatch.setattr(runner, "measure", lambda *_, rows=rows: rows)
        assert main(["--videos", "100"]) == status
        assert f"| all videos | 100 | 10 | {ray:.3g} |" in capsys.readouterr().out


def test_the_measured_command_exists(tmp_path, monkeypatch):
    for name in ("local", "ray"):
        check_waver([*command_of(name, "127.0.0.1:6379"), "--data", str(tmp_path)], monkeypatch)


def test_no_two_videos_are_alike(tmp_path):
    write_videos(tmp_path / "videos", 3)
    contents = {path.read_bytes() for path in (tmp_path / "videos").iterdir()}
    assert len(contents) == 3
