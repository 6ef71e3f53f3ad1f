import io
import json
import shutil
from pathlib import Path

import pytest

from storage.errors import ModelError
from storage.records import RejectedRecord, SegmentId, VideoId
from storage.results import PredictionRecord
from storage.store import Store
from storage.variant import ItemOutput
from tasks.infer import InferConfig, InferResources, infer_missing, variant_of, wanted_of
from tasks.omni.infer_child import Progress
from tasks.omni.inputs import InputConfig
from tasks.stage import Shard


def output(number: int, answer_mass: float = 1.0) -> ItemOutput:
    row = PredictionRecord(
        segment_id=SegmentId(str(number)),
        video_id=VideoId("video"),
        p_ah=0.5,
        logp_yes=-1.0,
        logp_no=-1.0,
        answer_mass=answer_mass,
        num_text_tokens=1,
        num_picture_tokens=1,
        num_sound_tokens=1,
    )
    return ItemOutput(item_id=str(number), rows=(row,))


def rejected(number: int) -> ItemOutput:
    row = RejectedRecord(item_id=str(number), stage="infer", reason="damaged")
    return ItemOutput(item_id=str(number), rows=(row,))


def test_progress_passes_every_result_on_and_counts_them() -> None:
    lines = io.StringIO()
    progress = Progress(lines)
    outputs = [output(number) for number in range(3)]
    assert list(progress.watch(iter(outputs), 0)) == outputs
    progress.show()
    assert lines.getvalue().splitlines() == ["done 1", "done 3"]


def test_no_more_is_asked_once_too_many_are_rejected() -> None:
    outputs = (rejected(number) if number % 2 else output(number) for number in range(100))
    progress = Progress(io.StringIO())
    assert len(list(progress.watch(outputs, 2))) == 6
    assert progress.is_given_up


@pytest.mark.slow
def test_a_model_whose_answer_is_not_one_token_is_one_clear_sentence(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples, tiny_omni: Path
) -> None:
    model = shutil.copytree(tiny_omni, tmp_path / "model")
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    split_the_word(tokenizer, "Yes")
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    store = Store(str(tmp_path / "store"))
    samples = toy_samples(store, 2)
    variant = variant_of(store, InferConfig(), InputConfig(), "fingerprint")
    wanted = wanted_of(samples)
    with pytest.raises(ModelError, match=r"splits the answer 'Yes' into \d tokens") as caught:
        infer_missing(
            Shard(name="1 of 1", wanted=wanted),
            {sample.segment_id: sample for sample in samples},
            model,
            InferConfig(),
            InputConfig(),
            InferResources(),
            variant,
        )
    assert "\n" not in str(caught.value)
    log = Path(str(caught.value).split("The engine's log: ")[1])
    assert "ModelError" in log.read_text()
    assert variant.pending(wanted) == list(wanted)


def split_the_word(tokenizer: dict, word: str) -> None:  # type: ignore[type-arg]
    """Make a byte-level BPE tokenizer forget one whole word."""
    model = tokenizer["model"]
    model["vocab"][f"<no {word}>"] = model["vocab"].pop(word)
    model["merges"] = [
        merge for merge in model["merges"] if "".join(merge) != word and word not in merge
    ]
