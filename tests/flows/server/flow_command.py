"""A command of tests that runs a flow with a subflow as `waver run` does, until it is ended."""

_RUN = """
from pathlib import Path
from flows.server.environment import prepare_environment
prepare_environment(Path("history"))
from rich.console import Console
from flows.cli import main

def work(console):
    from prefect import flow, task
    from flows.commands.progress import with_prefect
    from tasks.processes.child_process import run_child

    @task
    def busy():
        run_child(["sleep", "98765"], on_line=print)

    @flow(name="inner")
    def inner():
        print("started", flush=True)
        WORK

    @flow(name="outer")
    def outer():
        inner()

    with with_prefect():
        outer()

def run(prog_name):
    from flows.commands.progress import show_progress
    console = Console()
    with show_progress(console):
        work(console)

main.app = run
main.main()
"""

_IN_CHILDREN = "from flows.running.submit import submit_all; submit_all(busy, [{}])"
_IN_REQUESTS = """
        from prefect.artifacts import create_markdown_artifact
        while True: create_markdown_artifact("text")
"""
IN_CHILDREN = _RUN.replace("WORK", _IN_CHILDREN)  # its task waits for a child process
IN_REQUESTS = _RUN.replace("WORK", _IN_REQUESTS)  # it sends requests to the server
