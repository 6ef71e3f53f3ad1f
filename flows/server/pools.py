"""The work pools of Waver's deployments."""

import httpx

from flows.server.connection import post

CPU_POOL, GPU_POOL = "waver-cpu", "waver-gpu"
# At most how many runs a worker of `waver serve` takes at once: one model process per GPU.
WORKER_LIMITS: dict[str, int | None] = {CPU_POOL: None, GPU_POOL: 1}


def ensure_pools(client: httpx.Client) -> list[str]:
    """Create the pools that the server lacks, of the process type; returns their names."""
    from prefect.workers.process import ProcessWorker

    by_name = {"work_pools": {"name": {"any_": [*WORKER_LIMITS]}}}
    present = {pool["name"] for pool in post(client, "/work_pools/filter", by_name)}
    missing = [name for name in WORKER_LIMITS if name not in present]
    for name in missing:
        template = ProcessWorker.get_default_base_job_template()
        pool = {"name": name, "type": "process", "base_job_template": template}
        post(client, "/work_pools/", pool)
    return missing
