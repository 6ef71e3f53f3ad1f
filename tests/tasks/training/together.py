"""A training in this process, or in two forked from it: they import nothing again."""

import os
import signal
import socket
import traceback


def train_alone(job_path, say=lambda _line: None):
    from accelerate.state import AcceleratorState

    from tasks.training.run import run_job

    AcceleratorState._reset_state(reset_partial_state=True)
    run_job(job_path, say)


def train_together(job_path, at_line="nowhere", in_checkpoint="none"):
    """Run a job in two processes; gives how the first ended, and all that both said.

    One is killed when it says a line that begins with ``at_line``, or writes that checkpoint.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    message = job_path.parent / "said.txt"
    message.unlink(missing_ok=True)
    children = [fork(job_path, rank, port, at_line, in_checkpoint, message) for rank in (0, 1)]
    _, status = os.waitpid(children[0], 0)
    if status:
        os.kill(children[1], signal.SIGKILL)  # as the launcher would
    _, other = os.waitpid(children[1], 0)
    assert bool(status) == bool(other)
    return status, message.read_text()


def fork(job_path, rank, port, at_line, in_checkpoint, message):
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        env = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
        os.environ |= {name: str(value) for name, value in env.items()}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        os.environ["OMP_NUM_THREADS"] = "1"  # which the launcher always sets
        import torch

        from tasks.training.checkpoints import checkpoints

        flush = checkpoints._flush

        def flush_or_die(folder):
            flush(folder)
            die(folder.name == in_checkpoint)

        checkpoints._flush = flush_or_die
        with message.open("a", buffering=1) as out:

            def say(line):
                out.write(line + "\n")
                die(line.startswith(at_line))

            train_alone(job_path, say)
            torch.distributed.destroy_process_group()
        status = 0
    finally:
        if status:
            traceback.print_exc()
        os._exit(status)


def die(here):
    if here:
        os.kill(os.getpid(), signal.SIGKILL)
