"""Which of a cluster's processes are killed; `test_campaign` and `make chaos` start clusters."""

from infra.benchmarks.chaos.cluster import find_head, find_node, find_task
from infra.benchmarks.chaos.processes import Process

HEAD = [
    Process(process_id=50, command="/ray/core/src/ray/gcs/gcs_server --log_dir=/tmp "),
    Process(process_id=900, command="/ray/core/src/ray/raylet/raylet --resource_dir=/tmp "),
]
NODE = [Process(process_id=70, command="/ray/core/src/ray/raylet/raylet --resource_dir=/tmp ")]
WORK = [
    Process(process_id=71, command="ray::IDLE"),
    Process(process_id=72, command="ray::segment"),
    Process(process_id=12, command="ray::infer"),
    Process(process_id=73, command="ffmpeg -i file:segment.mp4 "),
]


def test_the_node_that_was_started_after_the_head_is_lost_and_not_that_of_the_head() -> None:
    assert find_node([*HEAD, *NODE, *WORK]) == 70
    assert find_head([*HEAD, *NODE, *WORK]) == 50
    assert find_task([*HEAD, *NODE, *WORK]) == 12


def test_nothing_is_killed_if_the_victim_is_not_there() -> None:
    assert find_node(HEAD) is None
    assert find_head(NODE) is None
    assert find_task([*HEAD, *NODE, WORK[0], WORK[3]]) is None
