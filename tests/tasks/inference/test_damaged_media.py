from dataclasses import replace
from pathlib import Path

from storage.store.store import Store
from tasks.inference.damaged_media import count_damaged, damage_message
from tasks.prompting.model_input import InputConfig
from tests.builders import a_prediction


def test_only_files_that_exist_and_are_switched_on_count_as_damaged(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples
) -> None:
    samples = toy_samples(Store(str(tmp_path)), 6)
    samples[5] = replace(samples[5], video_path=None)
    whole = a_prediction(samples[0].segment_id)
    rows = [
        whole,
        replace(whole, segment_id=samples[1].segment_id, has_video=False),
        replace(whole, segment_id=samples[2].segment_id, has_audio=False),
        replace(whole, segment_id=samples[3].segment_id, has_audio=False),
        replace(whole, segment_id=samples[4].segment_id, has_audio=False),  # has none
        replace(whole, segment_id=samples[5].segment_id, has_video=False),  # has none
    ]
    assert count_damaged(rows, samples, InputConfig()) == (1, 2)
    assert count_damaged(rows, samples, InputConfig(audio=False)) == (1, 0)
    assert count_damaged(rows, samples, InputConfig(video=False)) == (0, 2)
    assert damage_message(1, 2, 5).startswith("of 5 segments 1 were predicted without their video")
    assert damage_message(0, 0, 5) == ""
