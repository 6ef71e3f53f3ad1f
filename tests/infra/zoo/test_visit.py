import pytest

from infra.zoo import visit as visited
from infra.zoo.__main__ import main
from infra.zoo.inputs import Cut, Damaged, Rejected
from infra.zoo.visit import visit

NAMES = ["line\nbreak.mp4", "one-frame.mp4", "pipe.mp4", "a-little-rotten.mp4"]


def test_the_table_lists_the_outcome_of_every_input(tmp_path, capsys):
    assert main(["--out", str(tmp_path), "--only", *NAMES]) == 0
    table = capsys.readouterr().out
    assert "| line\\nbreak.mp4 | segments 1, frames 5, samples 3200 |" in table
    assert "| one-frame.mp4 | segments 1, frames 1, samples 0 |" in table
    reason = "not a regular file but a pipe or device, which may never end"
    assert f"| pipe.mp4 | rejected: {reason} |" in table
    assert "samples 128000; warning: 20 of 200 frames are damaged (ffmpeg: " in table
    assert "4 inputs, 0 wrong outcomes" in table


@pytest.mark.parametrize(
    ("name", "expected", "fault"),
    [
        ("one-frame.mp4", Rejected(reason="too short"), "it must be rejected with 'too short'"),
        ("one-frame.mp4", Cut(beeps=None, warning="dark"), "expected the warning 'dark'"),
        ("one-frame.mp4", Damaged(warning="dark"), "expected the warning 'dark'"),
        ("empty.mp4", Cut(beeps=None), "it must not be rejected"),
        ("empty.mp4", Rejected(reason="too short"), "it must be rejected with 'too short'"),
        ("very-short.mp4", Cut(beeps=(0.1,)), "beeps are at"),
    ],
)
def test_an_unexpected_outcome_is_a_fault(tmp_path, monkeypatch, name, expected, fault):
    monkeypatch.setattr(visited, "INPUTS", {name: expected})
    (outcome,) = visit([name], tmp_path)
    assert fault in "; ".join(outcome.faults)


def test_a_fault_is_shown_and_is_the_exit_status(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(visited.INPUTS, "empty.mp4", Cut(beeps=None))
    assert main(["--out", str(tmp_path), "--only", "empty.mp4"]) == 1
    assert "**WRONG: it must not be rejected** |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--only", "giraffe.mp4"], "the zoo has no 'giraffe.mp4'"), ([], "is not empty")],
)
def test_a_wrong_argument_is_reported_before_any_work(tmp_path, capsys, arguments, message):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path), *arguments])
    assert message in capsys.readouterr().err
