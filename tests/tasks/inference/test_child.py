import io
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from storage.errors import ModelError
from storage.records import RejectedRecord, SegmentId
from storage.store.store import Store
from storage.store.variant import ItemOutput
from tasks.infer import infer_missing, variant_of
from tasks.inference.child import PredictionCounter
from tasks.inference.samples import expected_items
from tasks.inference.settings import InferConfig, InferResources
from tasks.prompting.model_input import InputConfig
from tasks.stage import Shard
from tests.builders import a_prediction, a_sample

SAMPLES = [a_sample("video", segment_id=SegmentId(str(n))) for n in range(100)]


def output(number: int, *, has_audio: bool = True) -> ItemOutput:
    row = a_prediction(str(number), has_audio=has_audio)
    return ItemOutput(item_id=str(number), rows=(row,))


def rejected(number: int) -> ItemOutput:
    row = RejectedRecord(item_id=str(number), stage="infer", reason="damaged")
    return ItemOutput(item_id=str(number), rows=(row,))


def test_every_output_is_counted_and_passed_on() -> None:
    lines = io.StringIO()
    progress = PredictionCounter(lines)
    outputs = [output(number) for number in range(3)]
    assert list(progress.track(iter(outputs), 0, SAMPLES, InputConfig())) == outputs
    progress.show()
    assert lines.getvalue().splitlines() == ["done 1", "done 3"]


@pytest.mark.parametrize("failed", [rejected, partial(output, has_audio=False)])
def test_predicting_stops_once_too_many_are_rejected_or_lack_damaged_media(
    failed: Callable[[int], ItemOutput],
) -> None:
    def tracked(config: InputConfig) -> tuple[int, bool]:
        outputs = (failed(number) if number % 2 else output(number) for number in range(100))
        progress = PredictionCounter(io.StringIO())
        return len(list(progress.track(outputs, 2, SAMPLES, config))), progress.is_given_up

    assert tracked(InputConfig()) == (6, True)
    if failed is not rejected:
        assert tracked(InputConfig(audio=False)) == (100, False)


@pytest.mark.slow
def test_a_model_without_an_answer_token_is_one_clear_error(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples, tiny_omni: Path
) -> None:
    model = shutil.copytree(tiny_omni, tmp_path / "model")
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    split_the_word(tokenizer, "Yes")
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    store = Store(str(tmp_path / "store"))
    samples = toy_samples(store, 2)
    variant = variant_of(store, InferConfig(), InputConfig(), "fingerprint")
    expected = expected_items(samples)
    with pytest.raises(ModelError, match=r"splits the answer 'Yes' into \d tokens") as caught:
        infer_missing(
            Shard(name="1 of 1", expected=expected),
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
    assert variant.pending(expected) == list(expected)


def split_the_word(tokenizer: dict, word: str) -> None:  # type: ignore[type-arg]
    """Remove one whole word from a byte-level BPE tokenizer."""
    model = tokenizer["model"]
    model["vocab"][f"<no {word}>"] = model["vocab"].pop(word)
    model["merges"] = [
        merge for merge in model["merges"] if "".join(merge) != word and word not in merge
    ]
