import json
from contextlib import closing
from pathlib import Path

import pytest

from storage import errors
from storage.errors import LeakageError, ModelError, StageError, StoreError
from tasks.processes.error_file import ErrorFile, error_path_of, read_error


@pytest.mark.parametrize("error_class", [ModelError, StoreError, StageError, errors.CrashError])
def test_an_error_is_read_with_its_class_and_its_whole_message(tmp_path: Path, error_class) -> None:
    job_path = tmp_path / "job.json"
    with closing(ErrorFile(job_path)) as error_file:
        error_file.write(error_class("No room:\n free some — now."))
    error = read_error(job_path)
    assert type(error) is error_class
    assert str(error) == "No room:\n free some — now."
    assert list(tmp_path.iterdir()) == [error_path_of(job_path)]


def test_of_several_processes_of_a_job_the_first_error_counts(tmp_path: Path) -> None:
    job_path = tmp_path / "job.json"
    files = [ErrorFile(job_path) for _ in range(2)]
    files[1].write(ModelError("the cause"))
    files[0].write(StageError("the other process is gone"))
    assert str(read_error(job_path)) == "the cause"


def test_details_which_name_people_are_not_written(tmp_path: Path) -> None:
    job_path = tmp_path / "job.json"
    ErrorFile(job_path).write(LeakageError("A leak.", details=("participant ann",)))
    assert "ann" not in error_path_of(job_path).read_text()


def test_an_error_can_be_reported_when_the_disk_is_full(tmp_path: Path) -> None:
    job_path = tmp_path / "job.json"
    with closing(ErrorFile(job_path)) as error_file:
        (reserved,) = tmp_path.iterdir()
        inode, num_blocks = reserved.stat().st_ino, reserved.stat().st_blocks
        assert num_blocks * 512 >= 4096
        error_file.write(StoreError("No space left."))
    assert error_path_of(job_path).stat().st_ino == inode, "the reserved file itself"
    assert str(read_error(job_path)) == "No space left."


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"error": "ModelError"}', json.dumps("ModelError: no")]
)
def test_a_damaged_report_is_no_report(tmp_path: Path, content: str) -> None:
    error_path_of(tmp_path / "job.json").write_text(content)
    assert read_error(tmp_path / "job.json") is None
    assert read_error(tmp_path / "another job.json") is None


@pytest.mark.parametrize("name", ["WaverErro", "Path", "__name__", "a b"])
def test_an_unknown_class_becomes_a_failed_stage(tmp_path: Path, name: str) -> None:
    content = json.dumps({"error": name, "message": "It is gone."})
    error_path_of(tmp_path / "job.json").write_text(content)
    error = read_error(tmp_path / "job.json")
    assert (type(error), str(error)) == (StageError, "It is gone.")
