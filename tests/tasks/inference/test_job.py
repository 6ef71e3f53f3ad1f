import sys
import time
from pathlib import Path

import pytest

from storage.errors import ConfigError, CrashError, ModelError
from storage.store.store import Store
from storage.store.variant import open_variant
from tasks.inference import job as infer_job
from tasks.inference.job import InferJob, num_engines_for, run_engines
from tasks.inference.settings import InferResources
from tasks.model import gpu, gpu_lock
from tasks.prompting.model_input import InputConfig

# Stand-ins for a child: its parent sees only its output, journal, error file and exit status.
DIES = "import os; os.kill(os.getpid(), 11)"
FAILS = (
    "import sys; from pathlib import Path; from storage.errors import ModelError\n"
    "from tasks.processes.error_file import ErrorFile\n"
    "ErrorFile(Path(sys.argv[1])).write(ModelError('No weights.')); sys.exit(2)"
)
FIRST_FAILS = (
    "import os, sys, time\n"
    "print('started')\n"
    "time.sleep(60) if os.environ['CUDA_VISIBLE_DEVICES'] != '0' else time.sleep(1)\n" + FAILS
)
FIRST_DIES = "import os; os.environ['CUDA_VISIBLE_DEVICES'] != '0' or os.kill(os.getpid(), 11)"
WORKS = "import os; print('done 3', os.environ['CUDA_VISIBLE_DEVICES'])"


@pytest.fixture
def run(tmp_path, monkeypatch):  # type: ignore[no-untyped-def]
    variant = open_variant(Store(str(tmp_path)), "infer", version=1, settings={})
    (tmp_path / "journal").write_text('["started", "a"]\n["started", "b"]\n["finished", "a"]\n')

    def run(script: str, count: int = 1, num_gpus: int = 1):  # type: ignore[no-untyped-def]
        (tmp_path / "job.log").write_text("output of the libraries")
        (tmp_path / "child.py").write_text(script)
        jobs = [
          InferJob(
            store_url=str(tmp_path), variant_id="v", samples_path=tmp_path,
            claims_url=str(tmp_path),
            journal_path=tmp_path / "journal", job_path=tmp_path / "job.json", suspects=(),
            alone=(), shard_size=1, max_failures=1, model_path=tmp_path, dtype="float32",
            max_tokens=64, input=InputConfig(), resources=InferResources(num_gpus=num_gpus),
        )
        ] * count  # fmt: skip
        monkeypatch.setenv("PYTHONPATH", infer_job.__file__.rsplit("/", 3)[0])
        command = [sys.executable, str(tmp_path / "child.py")]
        lines: list[tuple[int, str]] = []
        crashes = run_engines(command, jobs, variant, lambda *line: lines.append(line))
        return crashes, lines

    return run


def test_a_dead_child_is_a_crash_with_its_items_in_flight_and_its_log(run) -> None:  # type: ignore[no-untyped-def]
    (crash,), _ = run(DIES)
    assert crash.in_flight == ("b",)
    assert isinstance(crash.error, CrashError)
    path = str(crash.message).split("The engine's log: ")[1]
    assert Path(path).read_text() == "output of the libraries"
    assert crash.reason.endswith("was killed by signal 11")
    assert "/" not in crash.reason, "it is stored, and must not name this host's folders"


def test_an_error_that_a_child_reports_ends_the_run(run) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ModelError, match=r"^No weights\. The engine's log: "):
        run(FAILS)


def test_the_first_reported_error_stops_the_other_engines(run) -> None:  # type: ignore[no-untyped-def]
    started = time.monotonic()
    with pytest.raises(ModelError, match=r"^No weights\."):
        run(FIRST_FAILS, count=2)
    assert time.monotonic() - started < 30


def test_the_other_engines_continue_after_a_crash(run) -> None:  # type: ignore[no-untyped-def]
    crashes, lines = run(FIRST_DIES + "; print('done 3')", count=2)
    assert len(crashes) == 1
    assert lines == [(1, "done 3")]


def test_each_engine_gets_its_own_visible_gpus(run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    crashes, lines = run(WORKS, count=2, num_gpus=2)
    assert crashes == []
    assert sorted(lines) == [(0, "done 3 4,5"), (1, "done 3 6,7")]
    _, lines = run(WORKS)
    assert lines == [(0, "done 3 4,5,6,7")], "one engine may use all visible GPUs"


def test_the_number_of_engines_is_the_setting_or_one_without_a_gpu(monkeypatch, tmp_path) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(gpu, "_DRIVER", tmp_path / "none")
    assert num_engines_for(InferResources(num_engines=3)) == 3
    assert num_engines_for(InferResources()) == 1


def test_engines_that_need_more_gpus_than_are_visible_are_rejected(monkeypatch, tmp_path) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(gpu, "_DRIVER", tmp_path)
    monkeypatch.setattr(infer_job, "count_gpus", lambda: 4)
    assert num_engines_for(InferResources(num_gpus=2)) == 2
    assert num_engines_for(InferResources(num_engines=1, num_gpus=2)) == 1
    with pytest.raises(ConfigError, match=r"3 engines of 2 GPU\(s\) each need more than the 4"):
        num_engines_for(InferResources(num_engines=3, num_gpus=2))


def test_engines_hold_the_locks_of_their_gpus_and_their_processes_inherit_them(
    run, tmp_path, monkeypatch
) -> None:
    named = []
    locks = tmp_path / "locks"
    locks.mkdir()
    locks.chmod(0o777)
    monkeypatch.setattr(gpu_lock, "_FOLDERS", (locks,))
    monkeypatch.setattr(infer_job, "names_of_gpus", lambda n: named.append(n) or ["A", "B"][:n])
    shows_locks = (
        "import os\n"
        "for number in os.listdir('/proc/self/fd'):\n"
        "    try: path = os.readlink(f'/proc/self/fd/{number}')\n"
        "    except OSError: continue\n"
        "    if path.endswith('.lock'): print('done', os.path.basename(path))\n"
    )
    crashes, lines = run(shows_locks, count=1, num_gpus=2)
    assert (crashes, named) == ([], [2])
    assert sorted(line for _, line in lines) == ["done waver-gpu-A.lock", "done waver-gpu-B.lock"]
