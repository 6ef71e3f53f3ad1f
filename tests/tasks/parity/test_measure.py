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
from tasks.parity.job import BackendPrediction
from tasks.parity.measure import Parity, allowed_in, compare, measure_parity
from tasks.parity.pooled import PooledFlips
from tasks.parity.table import parity_table
from tasks.prompting.model_input import InputConfig


def prediction(name: str, p_ah: float) -> BackendPrediction:
    return BackendPrediction(
        segment_id=SegmentId(name), p_ah=p_ah, num_text_tokens=9, num_video_tokens=4,
        num_audio_tokens=13, ids_digest="ids", video_digest="pixels", audio_digest="mel",
    )  # fmt: skip


FIRST, SECOND = prediction("a", 0.25), prediction("b", 0.5)


def compared(*engine: BackendPrediction, allowed: float = 1e-3) -> Parity:
    return compare([FIRST, SECOND], engine, 0.5, "float32", allowed)


def printed(parity: Parity) -> str:
    console = Console(width=110)
    with console.capture() as captured:
        console.print(parity_table(parity, "a model"))
    return "\n".join(" ".join(line.split()) for line in captured.get().splitlines())


def test_equal_backends_have_no_mismatch() -> None:
    parity = compared(SECOND, replace(FIRST, p_ah=0.2505))
    assert parity.mismatches() == []
    assert parity.max_difference == pytest.approx(0.0005)
    assert parity.mean_difference == pytest.approx(0.00025)
    assert "The backends agree (tolerance 1e-03)" in printed(parity)
    assert "segments with bit-identical input 2 of 2" in printed(parity)


def test_audio_that_never_reaches_a_backend_is_a_mismatch_however_close_the_predictions() -> None:
    parity = compared(FIRST, replace(SECOND, num_audio_tokens=0, audio_digest=None))
    tokens, features = parity.mismatches()
    assert tokens.startswith("1 of 2 segments have different numbers of audio tokens")
    assert features.endswith("different pixels or audio features")
    (line,) = [line for line in printed(parity).splitlines() if line.startswith("audio ")]
    assert line.split() == ["audio", "26", "13", "1"]
    assert f"✗ {tokens}" in printed(parity)


@pytest.mark.parametrize("kind", ["text", "video"])
def test_different_token_counts_of_any_kind_are_a_mismatch(kind: str) -> None:
    changed = {f"num_{kind}_tokens": 5}
    (mismatch,) = compared(FIRST, replace(SECOND, **changed)).mismatches()  # type: ignore[arg-type]
    assert f"different numbers of {kind} tokens" in mismatch


def test_as_many_but_different_token_ids_are_a_mismatch() -> None:
    (mismatch,) = compared(FIRST, replace(SECOND, ids_digest="others")).mismatches()
    assert "different token ids" in mismatch


@pytest.mark.parametrize("modality", ["video", "audio"])
def test_features_that_differ_in_a_bit_are_a_mismatch_however_close_the_predictions(
    modality: str,
) -> None:
    changed = {f"{modality}_digest": "others"}
    parity = compared(FIRST, replace(SECOND, **changed))  # type: ignore[arg-type]
    (mismatch,) = parity.mismatches()
    assert mismatch == "1 of 2 segments have different pixels or audio features"
    assert "segments with bit-identical input 1 of 2" in printed(parity)


def test_a_difference_beyond_the_tolerance_is_a_mismatch_and_flips_are_counted() -> None:
    apart = (FIRST, replace(SECOND, p_ah=0.49))
    (mismatch,) = compared(*apart).mismatches()
    assert "1.0e-02, more than the 1e-03 allowed in float32" in mismatch
    assert "verdicts on segments that flip at .500 1 of 2" in printed(compared(*apart))
    assert compared(*apart, allowed=0.05).mismatches() == []
    assert allowed_in("float32") == 1e-3 < allowed_in("bfloat16")


def test_flipped_verdicts_on_videos_are_shown_beside_those_on_segments() -> None:
    videos = PooledFlips(rule="top_k_mean", num_videos=9, num_flips=2)
    message = printed(replace(compared(FIRST, SECOND), videos=videos))
    assert "verdicts on their videos (top-k mean) that flip at .500 2 of 9" in message


def test_a_segment_rejected_by_one_backend_alone_is_a_mismatch() -> None:
    too_long = BackendPrediction(segment_id=FIRST.segment_id, rejected="too long")
    (mismatch,) = compared(too_long, SECOND).mismatches()
    assert mismatch == "1 segments are rejected by one backend alone"


def test_a_segment_rejected_by_both_is_left_out_and_counted() -> None:
    damaged = BackendPrediction(segment_id=FIRST.segment_id, rejected="damaged")
    parity = compare([damaged, SECOND], [damaged, SECOND], 0.5, "float32", 1e-3)
    assert (len(parity.records), parity.num_rejected, parity.mismatches()) == (1, 1, [])
    with pytest.raises(StageError, match=r"None of 1 segments was predicted .*: damaged"):
        compare([damaged], [damaged], 0.5, "float32", 1e-3)


# A stand-in for a backend's process: its parent sees only its files and its exit status.
FAILS = """#!/bin/sh
echo "quoted words" > "${3%.json}.log"
echo '{"error": "ModelError", "message": "No weights."}' > "${3%.json}.error.json"
exit 2
"""


@pytest.mark.parametrize("has_store", [True, False])
def test_the_log_of_a_failed_backend_is_kept_where_erasing_finds_it(  # type: ignore[no-untyped-def]
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


@pytest.mark.gpu
def test_the_engine_on_a_gpu_predicts_like_transformers(  # type: ignore[no-untyped-def]
    tmp_path: Path, tiny_omni: Path, toy_samples
) -> None:
    store = Store(str(tmp_path / "store"))
    parity = measure_parity(
        toy_samples(store, 6), store_url=store.url, model_path=tiny_omni, dtype="float32",
        input_config=InputConfig(max_pixels=64 * 64), resources=InferResources(num_decoders=0),
        plan=AggregateConfig().plan(), threshold=0.5, folder=tmp_path, variant=None,
    )  # fmt: skip
    assert len(parity.records) == 6
    assert parity.mismatches() == []
