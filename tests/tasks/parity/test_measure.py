import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from storage.errors import ModelError, StageError
from storage.records import SegmentId
from storage.store.store import Store
from storage.store.variant import open_variant
from tasks.aggregate import AggregateConfig
from tasks.inference.settings import InferResources
from tasks.parity.job import SidePrediction
from tasks.parity.measure import Parity, allowed_in, compare, measure_parity
from tasks.parity.pooled import PooledFlips
from tasks.parity.table import parity_table
from tasks.prompting.model_input import InputConfig


def answer(name: str, p_ah: float) -> SidePrediction:
    return SidePrediction(
        segment_id=SegmentId(name), p_ah=p_ah, num_text_tokens=9, num_video_tokens=4,
        num_audio_tokens=13, ids_digest="ids", video_digest="pixels", audio_digest="mel",
    )  # fmt: skip


FIRST, SECOND = answer("a", 0.25), answer("b", 0.5)


def compared(*engine: SidePrediction, allowed: float = 1e-3) -> Parity:
    return compare([FIRST, SECOND], engine, 0.5, "float32", allowed)


def shown(parity: Parity) -> str:
    console = Console(width=110)
    with console.capture() as captured:
        console.print(parity_table(parity, "a model"))
    return "\n".join(" ".join(line.split()) for line in captured.get().splitlines())


def test_equal_sides_have_no_fault() -> None:
    parity = compared(SECOND, replace(FIRST, p_ah=0.2505))
    assert parity.faults() == []
    assert parity.max_difference == pytest.approx(0.0005)
    assert parity.mean_difference == pytest.approx(0.00025)
    assert "The sides agree (at most 1e-03 apart)" in shown(parity)
    assert "segments read alike, bit by bit 2 of 2" in shown(parity)


def test_audio_that_is_silently_not_fed_is_a_fault_however_alike_the_answers_are() -> None:
    parity = compared(FIRST, replace(SECOND, num_audio_tokens=0, audio_digest=None))
    fault, other = parity.faults()
    assert fault.startswith("1 of 2 segments have other numbers of sound tokens")
    assert other.endswith("other pixels or other sound features")
    (line,) = [line for line in shown(parity).splitlines() if line.startswith("sound ")]
    assert line.split() == ["audio", "26", "13", "1"]
    assert f"✗ {fault}" in shown(parity)


@pytest.mark.parametrize("kind", ["text", "video"])
def test_other_counts_of_any_kind_are_a_fault(kind: str) -> None:
    changed = {f"num_{kind}_tokens": 5}
    (fault,) = compared(FIRST, replace(SECOND, **changed)).faults()  # type: ignore[arg-type]
    assert f"other numbers of {kind} tokens" in fault


def test_other_token_ids_of_the_same_number_are_a_fault() -> None:
    (fault,) = compared(FIRST, replace(SECOND, ids_digest="others")).faults()
    assert "other token ids" in fault


@pytest.mark.parametrize("medium", ["video", "audio"])
def test_media_that_differ_in_a_bit_are_a_fault_however_alike_the_answers_are(medium: str) -> None:
    changed = {f"{medium}_digest": "others"}
    parity = compared(FIRST, replace(SECOND, **changed))  # type: ignore[arg-type]
    (fault,) = parity.faults()
    assert fault == "1 of 2 segments have other pixels or other sound features"
    assert "segments read alike, bit by bit 1 of 2" in shown(parity)


def test_a_difference_beyond_what_is_allowed_is_a_fault_and_its_flips_are_counted() -> None:
    apart = (FIRST, replace(SECOND, p_ah=0.49))
    (fault,) = compared(*apart).faults()
    assert "1.0e-02, more than the 1e-03 allowed in float32" in fault
    assert "verdicts on segments that flip at .500 1 of 2" in shown(compared(*apart))
    assert compared(*apart, allowed=0.05).faults() == []
    assert allowed_in("float32") == 1e-3 < allowed_in("bfloat16")


def test_verdicts_on_videos_that_flip_are_shown_beside_those_on_segments() -> None:
    videos = PooledFlips(rule="top_k_mean", num_videos=9, num_flips=2)
    message = shown(replace(compared(FIRST, SECOND), videos=videos))
    assert "verdicts on their videos (top-k mean) that flip at .500 2 of 9" in message


def test_a_segment_that_one_side_alone_refuses_is_a_fault() -> None:
    too_long = SidePrediction(segment_id=FIRST.segment_id, fault="too long")
    (fault,) = compared(too_long, SECOND).faults()
    assert fault == "1 segments are refused by one side alone"


def test_a_damaged_segment_is_left_out_and_counted() -> None:
    damaged = SidePrediction(segment_id=FIRST.segment_id, fault="damaged")
    parity = compare([damaged, SECOND], [damaged, SECOND], 0.5, "float32", 1e-3)
    assert (len(parity.records), parity.num_faulty, parity.faults()) == (1, 1, [])
    with pytest.raises(StageError, match=r"None of 1 segments can be asked .*: damaged"):
        compare([damaged], [damaged], 0.5, "float32", 1e-3)


# A stand-in for a side's process: what it printed and how it ended is all that its parent sees.
FAILS = """#!/bin/sh
echo "quoted words" > "${3%.json}.log"
echo '{"error": "ModelError", "message": "No weights."}' > "${3%.json}.error.json"
exit 2
"""


@pytest.mark.parametrize("has_store", [True, False])
def test_the_log_of_a_side_that_fails_is_kept_where_forgetting_reaches_it(  # type: ignore[no-untyped-def]
    tmp_path: Path, tiny_omni: Path, toy_samples, monkeypatch: pytest.MonkeyPatch, has_store: bool
) -> None:
    store = Store(str(tmp_path / "store"))
    variant = open_variant(store, "manifest", version=1, settings={})
    for name, text in (("python", FAILS), ("folder", None), ("temporary", None)):
        (tmp_path / name).mkdir() if text is None else (tmp_path / name).write_text(text)
    (tmp_path / "python").chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with pytest.raises(ModelError, match=r"^No weights\. The libraries' log: ") as message:
        measure_parity(
            toy_samples(store, 1), store_url=store.url, model_path=tiny_omni, dtype="float32",
            input_config=InputConfig(), resources=InferResources(), plan=AggregateConfig().plan(),
            threshold=0.5, folder=tmp_path / "folder", variant=variant if has_store else None,
        )  # fmt: skip
    kept = Path(str(message.value).split("log: ")[1])
    logs = Path(store.full_path(variant.path), "logs") if has_store else tmp_path / "temporary"
    assert (kept.parent, kept.read_text()) == (logs, "quoted words\n")
