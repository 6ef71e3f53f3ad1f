import subprocess
import sys
from pathlib import Path

import pytest

import infra.sandbox

BASE = Path(infra.sandbox.__file__).parent / "models" / "omni-base"


@pytest.mark.slow
def test_vllm_reads_every_segment_as_transformers_does() -> None:
    command = [sys.executable, "-m", "infra.sandbox.omni.parity", "--model", str(BASE)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(infra.__file__).parents[1], check=False
    )
    assert "12 of 12 segments are read alike" in done.stdout, done.stdout + done.stderr[-2000:]
    assert done.returncode == 0
