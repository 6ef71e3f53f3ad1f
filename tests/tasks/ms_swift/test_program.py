import json
import os
from pathlib import Path

import pytest

from storage.errors import ModelError, ToolError
from tasks.ms_swift.program import check_no_code, check_swift, find_swift, swift_environment


def program(folder: Path, body: str, name: str = "swift") -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_a_missing_program_is_one_sentence_with_advice(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    for command in ("swift", str(tmp_path / "bin" / "swift")):
        with pytest.raises(ToolError, match=r"pip install ms-swift.*swift_command") as error:
            find_swift(command)
        assert "\n" not in str(error.value)


def test_the_program_is_found_by_name_and_by_path(tmp_path, monkeypatch):
    path = program(tmp_path, "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_swift("swift") == find_swift(str(path)) == str(path)


@pytest.mark.parametrize("body", ["exit 0", "echo usage; exit 1", "echo '--train_type'"])
def test_another_program_of_that_name_is_rejected(tmp_path, body):
    with pytest.raises(ToolError, match="does not respond"):
        check_swift(str(program(tmp_path, body)))


def test_the_program_is_checked_outside_of_our_python_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/ours")
    monkeypatch.setenv("KEPT", "yes")
    path = program(tmp_path, f'echo "$@" --tuner_type; env > {tmp_path}/environment')
    check_swift(str(path))
    environment = dict(
        line.split("=", 1) for line in (tmp_path / "environment").read_text().splitlines()
    )
    assert "PYTHONPATH" not in environment
    assert environment["KEPT"] == "yes"
    assert "PYTHONPATH" not in swift_environment()
    assert swift_environment()["KEPT"] == os.environ["KEPT"]


def test_a_model_that_contains_or_refers_to_code_is_rejected(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({}))
    check_no_code(tmp_path)
    (tmp_path / "modeling_x.py").write_text("")
    with pytest.raises(ModelError, match=r"modeling_x\.py"):
        check_no_code(tmp_path)
    (tmp_path / "modeling_x.py").unlink()
    (tmp_path / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "o/r--t.T"}}')
    with pytest.raises(ModelError, match=r"tokenizer_config\.json"):
        check_no_code(tmp_path)
