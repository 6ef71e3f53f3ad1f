import logging
import subprocess
import sys

from tasks.log import LOGGER


def test_progress_is_logged_in_a_process_that_never_ran_the_command_line() -> None:
    code = "import logging; from tasks.log import LOGGER; print(LOGGER.getEffectiveLevel())"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, timeout=60
    )
    assert int(ended.stdout) == logging.INFO == LOGGER.level
