"""Which processes are killed, and in which stages each of them exists."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flows.context.stage_names import STAGES, StageName
from infra.benchmarks.chaos.cluster import find_head, find_node, find_task
from infra.benchmarks.chaos.processes import Process

_ON_NODES: tuple[StageName, ...] = ("segment", "transcribe", "infer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """A kind of process: ``program`` is a part of its command line, the run's own if empty.

    ``is_deployed`` runs are started by a worker; ``owns_server`` runs start a server of their own;
    ``is_on_cluster`` runs are spread over the nodes of a Ray cluster, of whose processes
    ``find_in_cluster`` returns the victim.
    """

    name: str
    program: str = ""
    stages: tuple[StageName, ...] = STAGES
    is_deployed: bool = False
    owns_server: bool = False
    is_on_cluster: bool = False
    find_in_cluster: Callable[[Sequence[Process]], int | None] | None = None

    def find(
        self, processes: Sequence[Process], own: int, cluster: Sequence[Process] = ()
    ) -> int | None:
        """Return the id of the newest such process; ``own`` is the command that was started."""
        if self.find_in_cluster is not None:
            return self.find_in_cluster(cluster)
        if not self.program:
            return own if any(process.process_id == own for process in processes) else None
        found = [process.process_id for process in processes if self.program in process.command]
        return found[-1] if found else None


VICTIMS = (
    Victim(name="command"),
    Victim(name="training child", program="tasks.training.child", stages=("finetune",)),
    Victim(name="inference child with the engine", program="tasks.inference.child",
           stages=("infer",)),
    Victim(name="ffmpeg", program="ffmpeg ", stages=("segment",)),
    Victim(name="Prefect server", program="flows.server.process", owns_server=True),
    Victim(name="worker of a deployment", is_deployed=True),
    Victim(name="flow of a deployment", program="prefect.engine", is_deployed=True),
    Victim(name="Ray node", stages=_ON_NODES, is_on_cluster=True, find_in_cluster=find_node),
    Victim(name="Ray task", stages=_ON_NODES, is_on_cluster=True, find_in_cluster=find_task),
    Victim(name="Ray head", stages=_ON_NODES, is_on_cluster=True, find_in_cluster=find_head),
    Victim(name="command on Ray", stages=_ON_NODES, is_on_cluster=True),
)  # fmt: skip
