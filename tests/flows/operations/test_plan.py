import json

from flows.context.overrides import read_overrides
from flows.context.request import RunRequest
from flows.operations.plan import show_plan
from tests.flows.toys import QUICK


def test_the_screen_fits_eighty_columns_and_gives_the_reasons(
    finished: RunRequest, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    changed = finished.model_copy(update={"settings": read_overrides((*QUICK, "segment.crf=20"))})
    show_plan(changed, as_json=False)
    output = capsys.readouterr().out
    assert max(map(len, output.splitlines())) <= 80
    for text in ("segment.crf: 23 → 20", "other results of segment", "~16", "no rate yet"):
        assert text in output


def test_a_run_with_nothing_to_do_is_one_sentence(finished: RunRequest, capsys) -> None:
    show_plan(finished, as_json=False)
    output = capsys.readouterr().out
    assert "Nothing to compute" in output
    assert "Why" not in output


def test_json_has_typed_records(finished: RunRequest, capsys) -> None:
    show_plan(finished.model_copy(update={"force": ("transcribe",)}), as_json=True)
    document = json.loads(capsys.readouterr().out)
    transcribe = document["stages"][1]
    assert transcribe["num_missing"] == 8
    assert transcribe["reasons"] == [
        {"kind": "forced", "detail": "--force transcribe", "count": 8}
    ]  # fmt: skip
    assert transcribe["seconds"] is None
    assert (
        document["without_rate"]
        == ["transcribe"] + ["aggregate"] * document["stages"][4]["is_estimate"]
    )
