import os
import subprocess
import sys
import time

from infra.benchmarks.chaos.clocks import shift_files, with_shifted_clock


def test_a_process_sees_the_shifted_clock_and_files_can_be_moved_with_it(tmp_path) -> None:
    environment = with_shifted_clock(os.environ, -86_400, tmp_path / "clock")
    code = "import time; print(time.time(), time.time_ns() / 1e9)"
    shown = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert all(abs(float(each) - time.time() + 86_400) < 60 for each in shown.split())
    before = (tmp_path / "clock" / "sitecustomize.py").stat().st_mtime
    shift_files(tmp_path, -86_400)
    assert (tmp_path / "clock" / "sitecustomize.py").stat().st_mtime == before - 86_400
