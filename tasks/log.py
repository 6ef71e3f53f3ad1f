"""The logger of all stages, which flows show in the terminal and in the Prefect UI.

Transcripts, details about participants and names of videos are never logged.
"""

import logging

LOGGER = logging.getLogger("waver")
# Set here and not in the CLI, which a worker that runs a deployment never calls.
LOGGER.setLevel(logging.INFO)
