"""One run of the pipeline and its restarts, as a command or as runs of a deployment."""

import subprocess
import uuid
from pathlib import Path
from uuid import UUID

from flows.context.stage_names import StageName
from flows.server.worker import stop_group
from infra.benchmarks.chaos.cluster import TwoNodes
from infra.benchmarks.chaos.deployment import read_run, start_run, start_worker
from infra.benchmarks.chaos.processes import Process, end_marked, find_marked
from infra.benchmarks.chaos.sandbox import Sandbox, marked

_ROOT = Path(__file__).parents[3]
_FLOW = "prefect.engine"


class DisturbedRun:
    """A run whose processes all carry one mark; it can be started again after each kill."""

    def __init__(
        self,
        sandbox: Sandbox,
        store: Path,
        folder: Path,
        deployment: UUID | None = None,
        only: StageName | None = None,
        cluster: TwoNodes | None = None,
    ) -> None:
        self.mark = uuid.uuid4().hex
        self._sandbox, self._store, self._folder = sandbox, store, folder
        self._deployment, self._only, self._cluster = deployment, only, cluster
        self._run_id: UUID | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._num_starts = 0

    @property
    def process_id(self) -> int:
        """The id of the command, or of the deployment's worker."""
        assert self._process is not None, "the run has not been started"
        return self._process.pid

    @property
    def _output(self) -> Path:
        """One file per start, or that of the worker, which takes all runs of the deployment."""
        return self._folder / ("output" if self._deployment else f"output-{self._num_starts}")

    def start(self, environment: dict[str, str]) -> None:
        """Start the run, or start it again."""
        environment = marked(environment, self.mark)
        self._num_starts += 1
        if self._deployment is not None:
            if self._process is None:
                self._process = start_worker(environment, self._output)
            request = self._sandbox.request(self._store, self._only).model_dump(mode="json")
            self._run_id = start_run(self._deployment, request)
            return
        settings = self._cluster.settings() if self._cluster is not None else ()
        sandbox = self._sandbox.with_settings(settings)
        with self._output.open("wb") as stream:
            self._process = subprocess.Popen(
                sandbox.arguments(self._store, self._only), cwd=_ROOT, env=environment,
                stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    def has_ended(self) -> bool:
        """Return whether the command has ended, or the deployment's flow has."""
        is_running = self._process is not None and self._process.poll() is None
        if self._run_id is None:
            return not is_running
        if any(_FLOW in process.command for process in find_marked(self.mark)):
            return False
        state = read_run(self._run_id).state
        return not is_running or (state is not None and state.is_final())

    def succeeded(self) -> bool:
        """Return whether the run, which has ended, is complete."""
        if self._run_id is None:
            return self._process is not None and self._process.returncode == 0
        state = read_run(self._run_id).state
        return state is not None and state.is_completed()

    def stop(self) -> None:
        """Stop a worker as `waver serve` does."""
        if self._run_id is not None and self._process is not None:
            stop_group(self._process.pid)
            self._wait()
            self._process = None

    def work_on_nodes(self) -> list[Process]:
        """List what computes for the run on the nodes of its cluster."""
        return self._cluster.work() if self._cluster is not None else []

    def cluster_processes(self) -> list[Process]:
        """List the processes of its cluster."""
        return self._cluster.processes() if self._cluster is not None else []

    def kill(self) -> None:
        """End whatever is left of the run."""
        end_marked(self.mark)
        self._wait()

    def _wait(self) -> None:
        if self._process is not None:
            with self._process:  # closes its pipe, too
                pass

    def output(self) -> str:
        """Return what the last start has printed so far."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""
