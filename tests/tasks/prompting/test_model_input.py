import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.prompting.model_input import (
    HOP_SAMPLES,
    MIN_AUDIO_SAMPLES,
    InputConfig,
    collate_rows,
    even_frames,
    make_input,
    to_vllm_request,
    whole_hops,
)
from tasks.prompting.prompt import AUDIO_MARKER, VIDEO_MARKER


def gray_frames(num_frames: int) -> np.ndarray:
    return np.arange(num_frames, dtype=np.uint8)[:, None, None, None] * np.ones(
        (1, 4, 4, 3), np.uint8
    )


def test_an_unknown_setting_and_an_unknown_prompt_are_rejected() -> None:
    with pytest.raises(ValidationError, match="color"):
        InputConfig(color=True)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="unknown prompt 'poem'"):
        InputConfig(prompt="poem")


def test_switching_everything_off_is_rejected() -> None:
    with pytest.raises(ValidationError, match="switch one on"):
        InputConfig(prompt="paper", video=False, audio=False, transcript=True)
    assert InputConfig(prompt="definition-transcript", video=False, audio=False).shows_transcript


def test_the_form_of_the_answer_is_a_setting() -> None:
    media = {"frames": gray_frames(2), "audio": None, "transcript": "yes"}
    plain, tagged = (
        make_input(InputConfig(answer=answer), **media).text for answer in ("word", "tag")
    )
    assert tagged == plain + "<answer>"
    with pytest.raises(ValidationError, match="'word' or 'tag'"):
        InputConfig(answer="json")  # type: ignore[arg-type]


def test_swapped_pixel_bounds_are_rejected() -> None:
    with pytest.raises(ValidationError, match="exceeds max_pixels"):
        InputConfig(min_pixels=4096, max_pixels=2048)


def test_the_last_of_an_odd_number_of_frames_is_repeated() -> None:
    assert even_frames(gray_frames(3))[:, 0, 0, 0].tolist() == [0, 1, 2, 2]
    assert even_frames(gray_frames(4)) is not None
    assert len(even_frames(gray_frames(4))) == 4


@given(st.integers(1, 20_000))
def test_audio_comes_in_whole_hops_and_never_too_short(num_samples: int) -> None:
    kept = whole_hops(np.ones(num_samples, np.float32))
    assert kept.size % HOP_SAMPLES == 0
    assert kept.size >= MIN_AUDIO_SAMPLES
    assert abs(kept.size - max(num_samples, MIN_AUDIO_SAMPLES)) < HOP_SAMPLES


@pytest.mark.parametrize("has_video", [True, False])
@pytest.mark.parametrize("has_audio", [True, False])
def test_markers_and_media_always_agree(has_video: bool, has_audio: bool) -> None:
    built = make_input(
        InputConfig(),
        frames=gray_frames(5) if has_video else None,
        audio=np.zeros(16_000, np.float32) if has_audio else None,
        transcript="well",
    )
    assert (VIDEO_MARKER in built.text) == (built.frames is not None) == has_video
    assert (AUDIO_MARKER in built.text) == (built.audio is not None) == has_audio
    media = to_vllm_request(built).get("multi_modal_data", {})
    assert ("video" in media, "audio" in media) == (has_video, has_audio)


def test_a_modality_that_is_switched_off_is_left_out() -> None:
    config = InputConfig(video=False, transcript=False)
    config = config.model_copy(update={"prompt": "definition-context"})
    media = {"frames": gray_frames(4), "audio": np.zeros(16_000, np.float32)}
    built = make_input(config, **media, transcript="secret", transcript_before="secret")
    assert built.frames is None
    assert built.audio is not None
    assert "secret" not in built.text


def test_vllm_gets_the_same_arrays_and_does_not_sample_them_again() -> None:
    config = InputConfig(fps=4.0, min_pixels=1024, max_pixels=2048)
    built = make_input(
        config, frames=gray_frames(6), audio=np.zeros(1_600, np.float32), transcript=""
    )
    request = to_vllm_request(built)
    frames, metadata = request["multi_modal_data"]["video"][0]
    assert frames is built.frames
    assert metadata["do_sample_frames"] is False
    assert metadata["total_num_frames"] == 6
    assert request["multi_modal_data"]["audio"][0] == (built.audio, 16_000)
    options = request["mm_processor_kwargs"]
    assert options["size"] == {"shortest_edge": 1024, "longest_edge": 2048}
    assert options["fps"] == 4.0
    assert options["use_audio_in_video"] is False


def test_rows_are_padded_on_the_left_and_may_lack_media() -> None:
    full = {
        "input_ids": torch.tensor([5, 6, 7]),
        "pixel_values_videos": torch.ones(4, 2),
        "video_grid_thw": torch.tensor([[1, 2, 2]]),
        "video_second_per_grid": torch.tensor([1.0]),
        "input_features": torch.ones(2, 3),
    }
    longer = {"input_ids": torch.tensor([1, 2, 3, 4]), "input_features": torch.ones(2, 5)}
    batch = collate_rows([full, longer, {"input_ids": torch.tensor([9])}], pad_token_id=0)
    assert batch["input_ids"].tolist() == [[0, 5, 6, 7], [1, 2, 3, 4], [0, 0, 0, 9]]
    assert batch["attention_mask"].sum(1).tolist() == [3, 4, 1]
    assert batch["input_features"].shape == (2, 2, 5)
    assert batch["feature_attention_mask"].sum(1).tolist() == [3, 5]
    assert batch["video_grid_thw"].shape == (1, 3)


def test_rows_without_any_media_make_a_batch_of_text() -> None:
    batch = collate_rows([{"input_ids": torch.tensor([1, 2])}], pad_token_id=0)
    assert set(batch) == {"input_ids", "attention_mask"}
