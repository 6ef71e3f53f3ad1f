import subprocess
import sys
from pathlib import Path

import infra

CURE = Path(infra.__file__).parent / "torchvision_cpu"


def test_torchvision_imports_beside_this_torch_once_the_cure_is_at_work() -> None:
    code = "import torchvision_cpu; torchvision_cpu.install(); import torchvision.transforms.v2"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(CURE)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_start_up_hook_imports_nothing_heavy() -> None:
    code = (
        "import sys, torchvision_cpu; torchvision_cpu.install(); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(CURE)}, check=False)
    assert done.returncode == 0
