"""The stages' names are known to a process that has imported nothing else of Waver."""

import subprocess
import sys

from flows.context.stage_names import STAGES


def test_the_names_import_no_library() -> None:
    code = (
        "import sys, flows.context.stage_names; "
        "sys.exit(bool({'prefect', 'pydantic', 'numpy'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert STAGES == ("segment", "transcribe", "manifest", "finetune", "infer", "aggregate")
