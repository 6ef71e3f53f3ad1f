"""Runs on a Ray cluster of two nodes, which are separate processes, with nodes and runs killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from types import SimpleNamespace
from typing import Any

import pytest

from flows.cluster.engines import ClusterEngines
from flows.cluster.ray_cluster import Node, python_of_nodes
from flows.cluster.tasks_on_nodes import NodeResources
from flows.context.context import Context, open_context
from flows.context.models import resolve_models
from flows.context.rows import expected_videos, read_manifest
from storage.errors import ConfigError
from storage.media_records import SegmentRecord
from storage.results import PredictionRecord
from storage.store.lease import LEASES
from storage.store.part import read_parts
from storage.store.variant import Variant
from tasks.inference.samples import expected_items
from tasks.inference.settings import InferResources
from tests.flows.commands.command_line import SandboxRun, Waver, arguments_of, computed, request_of

pytestmark = pytest.mark.timeout(1_500)


@dataclass
class TwoNodes:
    process: "subprocess.Popen[str]"
    address: str

    def options(self, *settings: str) -> list[str]:
        given = ("resources.runner=ray", f"resources.ray_address={self.address}", *settings)
        return [part for setting in given for part in ("--set", setting)]

    def kill_one(self) -> None:
        """Kill the second node; another one starts soon."""
        assert self.process.stdin is not None
        self.process.stdin.write("kill\n")
        self.process.stdin.flush()
        assert self.read() == "killed"

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@pytest.fixture(scope="module")
def nodes() -> Iterator[TwoNodes]:
    command = [sys.executable, "-m", "infra.benchmarks.chaos.two_nodes"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        found = TwoNodes(process, "")
        found.address = found.read()
        assert found.address
        yield found


def run_until(
    waver: Waver, arguments: list[str], is_time: Callable[[], bool], act: Callable[[int], None]
) -> tuple[int, str]:
    """Start a command, act on it once it is time, and return its exit code and output."""
    with TemporaryFile("w+") as output:
        process_id = waver.start(arguments, output.fileno(), output.fileno())
        while not is_time():
            assert Path(f"/proc/{process_id}").exists(), output.seek(0) or output.read()
            time.sleep(0.05)
        act(process_id)
        status = waver.wait()
        output.seek(0)
        return status, output.read()


def num_markers(store: Path, stage: str) -> int:
    return sum(1 for _ in (store / stage).glob("*/done/*.json"))


def items_in_parts(variant: Variant) -> list[str]:
    return sorted(item for part in read_parts(variant.store, variant.path) for item in part.items)


def segment_rows(context: Context) -> list[Any]:
    return context.segment.read(SegmentRecord, expected_videos(context))


def context_in(data: Path, store: Path) -> Context:
    return open_context(request_of(data, store))


@pytest.mark.operations
def test_a_killed_run_is_completed_by_the_next_one_in_which_a_node_is_killed(
    waver: Waver, nodes: TwoNodes, sandbox_run: SandboxRun, tmp_path: Path
) -> None:
    data, store = sandbox_run.data, tmp_path / "a store"
    arguments = arguments_of(data, store, "--only", "segment", *nodes.options())
    status, output = run_until(
        waver,
        arguments,
        lambda: num_markers(store, "segment") >= 1,
        lambda process_id: os.kill(process_id, signal.SIGKILL),
    )
    assert status == -signal.SIGKILL, output
    finished = num_markers(store, "segment")
    assert finished < 6, "the run was killed before its end"
    status, output = run_until(
        waver,
        arguments,
        lambda: num_markers(store, "segment") > finished,
        lambda _: nodes.kill_one(),
    )
    assert status == 0, output
    assert computed(output, "segment") <= 6 - finished, "finished videos are not cut again"
    context = context_in(data, store)
    assert items_in_parts(context.segment) == sorted(expected_videos(context)), "none twice"
    assert segment_rows(context) == segment_rows(context_in(data, sandbox_run.store))
    ended = waver(*arguments)
    assert ended.returncode == 0, ended.stderr
    assert computed(ended.stdout, "segment") == 0


@pytest.mark.operations
def test_a_run_that_gets_sigterm_ends_in_order_and_leaves_no_lease(
    waver: Waver, nodes: TwoNodes, sandbox_run: SandboxRun, tmp_path: Path
) -> None:
    data, store = sandbox_run.data, tmp_path / "a store"
    arguments = arguments_of(data, store, "--only", "segment", *nodes.options())
    status, output = run_until(
        waver,
        arguments,
        lambda: num_markers(store, "segment") >= 1,
        lambda process_id: os.kill(process_id, signal.SIGTERM),
    )
    assert status == 128 + signal.SIGTERM, output
    assert "SIGTERM received" not in output, "Ray's own handler prints stacks"
    assert not list((store / LEASES).glob("*"))


@pytest.mark.operations
def test_a_node_killed_while_engines_infer_costs_no_segment_and_predictions_are_the_same(
    waver: Waver, nodes: TwoNodes, sandbox_run: SandboxRun, tmp_path: Path
) -> None:
    data, store = sandbox_run.data, tmp_path / "a store"
    shutil.copytree(sandbox_run.store, store)
    shutil.rmtree(store / "infer")
    options = nodes.options("resources.infer.commit_seconds=0")
    status, output = run_until(
        waver,
        arguments_of(data, store, "--only", "infer", *options),
        lambda: num_markers(store, "infer") >= 1,
        lambda _: nodes.kill_one(),
    )
    assert status == 0, output
    tables = []
    for folder in (store, sandbox_run.store):
        context = context_in(data, folder)
        manifest = read_manifest(context)
        expected = expected_items(manifest.samples)
        variant = resolve_models(context, manifest).variant
        tables.append({row.segment_id: row for row in variant.read(PredictionRecord, expected)})
        assert items_in_parts(variant) == sorted(expected), "none lost and none twice"
    assert tables[0].keys() == tables[1].keys()
    for segment_id, row in tables[0].items():
        assert row.p_ah == pytest.approx(tables[1][segment_id].p_ah, abs=1e-5)


def a_node(num_cpus: int, num_gpus: int = 0) -> Node:
    return Node(node_id=f"{num_cpus}", address="", num_cpus=num_cpus, num_gpus=num_gpus)


@pytest.mark.parametrize("name", ["plain", "a folder", "it's $HOME"])
def test_python_of_a_folder_with_blanks_starts_by_the_command_line_of_ray(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / name / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(python))
    executable = python_of_nodes().get("py_executable", str(python))
    command = ["bash", "-c", f"exec {executable} -c 'print(7)'"]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"7\n"


@pytest.mark.parametrize(
    ("needs", "nodes", "fitted", "slots"),
    [
        ((1, 0), [a_node(64), a_node(2)], (1, 0), 66),
        ((4, 1), [a_node(64), a_node(2)], (2, 0), 33),
        ((4, 1), [a_node(64, 8), a_node(2)], (4, 1), 8),
        ((4, 1), [a_node(16, 8), a_node(8)], (2, 1), 8),
    ],
)
def test_needs_fit_every_node_that_may_take_over_a_lost_task(needs, nodes, fitted, slots) -> None:
    found = NodeResources(num_cpus=needs[0], num_gpus=needs[1]).fitted(nodes)
    assert (found.num_cpus, found.num_gpus) == fitted
    assert found.count_slots(nodes) == slots
    with pytest.raises(ConfigError, match="no node with CPUs"):
        found.fitted([])


@pytest.mark.parametrize(
    ("nodes", "num_gpus", "slots"),
    [
        ([a_node(64), a_node(4)], 1, [("64", 4, 0), ("4", 4, 0)]),
        ([a_node(16, 2), a_node(64)], 1, [("16", 8, 1), ("16", 8, 1)]),
        ([a_node(32, 4), a_node(8, 2)], 2, [("32", 8, 2), ("32", 8, 2), ("8", 8, 2)]),
    ],
)
def test_there_is_an_engine_for_every_gpus_or_one_per_node_without_any(
    nodes, num_gpus, slots, monkeypatch
) -> None:
    cluster = SimpleNamespace(nodes=lambda: nodes)
    monkeypatch.setattr("flows.cluster.engines.connect", lambda address: cluster)
    engines, resources = ClusterEngines("head:1"), InferResources(num_gpus=num_gpus)
    assert engines.count(resources) == len(slots)
    found = [(need.node_id, need.num_cpus, need.num_gpus) for need in engines._slots(resources)]
    assert found == slots
    monkeypatch.setattr(cluster, "nodes", lambda: [a_node(8, 1)])
    with pytest.raises(ConfigError, match=r"lower resources\.infer\.num_gpus"):
        engines.count(InferResources(num_gpus=4))
