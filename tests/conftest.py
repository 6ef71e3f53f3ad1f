"""Fixtures of all tests: the zoo's videos, an empty history, and a finished run on the sandbox.

Each is made on first use, once a run and not once a worker.
"""

import fcntl
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from safetensors.numpy import save_file

from flows.server.local_server import prefect_server
from infra.sandbox.plan import WorldSettings
from infra.sandbox.world import make_world
from infra.zoo.shelf import Shelf
from tasks.model.gpu import has_gpu, has_gpu_driver
from tests.flows.commands.command_line import SandboxRun, run_alone
from tests.s3_server import S3Server, s3_on_loopback

# The same examples for everyone; look for new ones with --hypothesis-profile=explore.
settings.register_profile("steady", deadline=None, max_examples=50, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2_000)
settings.load_profile("steady")

# Files that take longest, longest first: they begin first, so that the workers end together. The
# first alone needs the sandbox run: a second one would wait while it is made.
LONG_FILES = (
    "flows/test_pipeline.py",
    "tasks/media/video/test_cut.py",
    "tasks/test_infer.py",
    "flows/test_pipeline_inputs.py",
    "flows/server/test_watch.py",
    "flows/running/test_holding.py",
    "flows/operations/test_runs.py",
    "tasks/test_finetune.py",
    "tasks/ablation/test_infer_arms.py",
    "flows/commands/test_parity.py",
    "tasks/training/distributed/test_fsdp.py",
    "tasks/training/distributed/test_ranks.py",
    "tasks/training/test_run.py",
    "tasks/test_segment.py",
    "flows/server/test_local_server.py",
    "infra/sandbox/whisper/test_train.py",
    "tasks/training/data/test_encoding.py",
    "infra/sandbox/omni/test_pretrain.py",
    "tasks/adapters/test_merge_cache.py",
    "tasks/inference/test_child.py",
    "infra/sandbox/test_world.py",
    "flows/server/test_history.py",
    "tasks/media/test_cut_video.py",
)

# Every worker has a core; threads of toy models that wait for one another take the others' time.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first; a file's tests keep their order."""
    order = {Path(__file__).parent / name: number for number, name in enumerate(LONG_FILES)}
    if missing := [str(path) for path in order if not path.is_file()]:
        raise pytest.UsageError(
            f"LONG_FILES in {__file__} lists files that do not exist: {missing}"
        )
    items.sort(key=lambda item: order.get(item.path, len(order)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip GPU tests without a CUDA device; torch is imported for no other test."""
    if item.get_closest_marker("gpu") and not (has_gpu_driver() and has_gpu()):
        pytest.skip("needs a CUDA device")


@contextmanager
def shared_folder(factory: pytest.TempPathFactory, name: str) -> Iterator[Path]:
    """Yield a folder common to all workers of a run, to one of them at a time."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the path of a small video by name; tests use the same files, so never write to one."""
    if shutil.which("ffmpeg") is None:
        pytest.fail("ffmpeg is not installed: run `make setup`")

    def make(name: str) -> Path:
        with shared_folder(tmp_path_factory, "videos") as folder:
            return Shelf(folder)(name)

    return make


@pytest.fixture(scope="session")
def write_adapter() -> Callable[..., Path]:
    """Write a peft adapter of random weights for the attention of the sandbox's small base."""

    def write(
        folder: Path, base: object = None, *, layer: str = "self_attn", **config: object
    ) -> Path:
        random, rank = np.random.default_rng(0), 3
        shapes = {"q_proj": (128, 128), "k_proj": (64, 128), "v_proj": (64, 128)}
        weights = dict[str, np.ndarray]()
        for name in (f"model.layers.{n}.{layer}.{part}" for n in range(3) for part in shapes):
            outputs, inputs = shapes[name.rpartition(".")[2]]
            prefix = f"base_model.model.{name}"
            for end, shape in (("A", (rank, inputs)), ("B", (outputs, rank))):
                weight = random.normal(0, 0.2, shape).astype(np.float32)
                weights[f"{prefix}.lora_{end}.weight"] = weight
        folder.mkdir(parents=True)
        save_file(weights, folder / "adapter_model.safetensors")
        written = {
            "peft_type": "LORA", "r": rank, "lora_alpha": 6, "target_modules": [*shapes],
            "exclude_modules": "^(visual|audio_tower).*",
            "base_model_name_or_path": str(base or "") or None,
        }  # fmt: skip
        (folder / "adapter_config.json").write_text(json.dumps(written | config))
        return folder

    return write


@pytest.fixture(scope="session")
def with_own_mounts() -> list[str]:
    """Return a command prefix for mounting disks; skip the test where that is not permitted."""
    prefix = ["unshare", "-rm"]
    probe = [*prefix, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if (
        shutil.which(prefix[0]) is None
        or subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode
    ):
        pytest.skip("no right to mount a small disk here")
    return prefix


@pytest.fixture(scope="session")
def sandbox_run(
    tmp_path_factory: pytest.TempPathFactory,
    new_history: Callable[[pytest.MonkeyPatch], Path],
) -> SandboxRun:
    """Six videos of three participants through the whole pipeline, as a user runs it."""
    with shared_folder(tmp_path_factory, "sandbox run") as folder:
        made = SandboxRun(folder / "a world", folder / "a store", "")
        if not (folder / "output").exists():
            settings = WorldSettings(num_participants=3, videos_per_participant=2)
            make_world(made.data, settings, workers=2)
            with pytest.MonkeyPatch.context() as patch:
                new_history(patch)
                output = run_alone(os.environ, made.data, made.store)
            (folder / "output").write_text(output)
        return replace(made, output=(folder / "output").read_text())


@pytest.fixture(scope="session")
def empty_history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Prefect home whose database has its tables: making them takes a server 10 s."""
    with shared_folder(tmp_path_factory, "empty history") as home:
        if not (home / "made").exists():
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("PREFECT_HOME", str(home))
                patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
                patch.delenv("PREFECT_API_URL", raising=False)
                with prefect_server():
                    pass
            (home / "server.log").unlink()
            (home / "made").touch()
        return home


@pytest.fixture(scope="session")
def new_history(
    empty_history: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[pytest.MonkeyPatch], Path]:
    """Return a factory of empty Prefect homes, each set as this process's."""

    def make(patch: pytest.MonkeyPatch) -> Path:
        home = tmp_path_factory.mktemp("history") / "prefect home"
        shutil.copytree(empty_history, home)
        patch.setenv("PREFECT_HOME", str(home))
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        patch.delenv("PREFECT_API_URL", raising=False)
        return home

    return make


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 server on loopback; `bucket` names an empty bucket on it."""
    with s3_on_loopback() as server:
        yield server


@pytest.fixture
def bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket, with this process's credentials and endpoint set for it."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server.new_bucket(f"bucket-{uuid.uuid4().hex[:8]}")
