"""Training in this process, in two forks, which import nothing again, or launched as in use."""

import os
import signal
import socket
import sys
import traceback


def train_alone(job_path, report=lambda _line: None):
    from accelerate.state import AcceleratorState

    from tasks.training.run import run_job

    AcceleratorState._reset_state(reset_partial_state=True)
    run_job(job_path, report)


def train_launched(job_path):
    """Run a job in launched processes, which may use GPUs; returns the rows of its steps."""
    from tasks.processes.child_process import run_child
    from tasks.training.distributed.launch import launch_command
    from tasks.training.job import read_job, read_result

    command = launch_command(job_path, read_job(job_path)[0].resources)
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    run_child(command, on_line=print, job_path=job_path, environment=environment)
    return read_result(job_path.parent)[1]


def loss_and_gradients(opened):
    """A loss and the gradients of the trained parameters, on the host."""
    import torch

    model = opened.trained.train()
    ids = torch.arange(40, device=opened.trained.device).reshape(2, -1)
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    loss = logits.logsumexp(-1).sum()
    loss.backward()
    gradients = [p.grad.cpu() for p in model.parameters() if p.grad is not None]
    return float(loss.detach()), gradients


def train_together(job_path, at_line="nowhere", in_checkpoint="none"):
    """Run a job in two processes; returns the first one's wait status and the reported lines.

    A process kills itself when it reports a line that starts with ``at_line``, or writes that
    checkpoint.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lines_path = job_path.parent / "reported.txt"
    lines_path.unlink(missing_ok=True)
    children = [fork(job_path, rank, port, at_line, in_checkpoint, lines_path) for rank in (0, 1)]
    _, status = os.waitpid(children[0], 0)
    if status:
        os.kill(children[1], signal.SIGKILL)  # as the launcher does
    _, other = os.waitpid(children[1], 0)
    assert bool(status) == bool(other)
    return status, lines_path.read_text()


def fork(job_path, rank, port, at_line, in_checkpoint, lines_path):
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        env = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
        os.environ |= {name: str(value) for name, value in env.items()}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        os.environ["OMP_NUM_THREADS"] = "1"  # the launcher always sets it
        import torch

        from tasks.training.checkpoints import checkpoints

        replace_folder = checkpoints.replace_folder

        def replace_or_die(temporary, path):
            die(temporary.name == in_checkpoint)
            replace_folder(temporary, path)

        checkpoints.replace_folder = replace_or_die
        with lines_path.open("a", buffering=1) as out:

            def report(line):
                out.write(line + "\n")
                die(line.startswith(at_line))

            train_alone(job_path, report)
            torch.distributed.destroy_process_group()
        status = 0
    finally:
        if status:
            traceback.print_exc()
        os._exit(status)


def die(now):
    if now:
        os.kill(os.getpid(), signal.SIGKILL)
