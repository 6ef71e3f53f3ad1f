"""The one logger of all stages; the flows show it in the terminal and in the Prefect UI.

No transcript, no participant's detail and no video's name is ever logged.
"""

import logging

LOGGER = logging.getLogger("waver")
# Here and not in the command line: a worker that runs a deployment never passes through that.
LOGGER.setLevel(logging.INFO)
