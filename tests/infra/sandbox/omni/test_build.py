import numpy as np
import pytest
import torch
from transformers import AutoProcessor, Qwen3OmniMoeForConditionalGeneration

from infra.sandbox.omni.build import FRAME_SIZE, build_model, build_processor, save
from infra.sandbox.omni.questions import all_texts
from tasks.model.model_folder import check_model
from tasks.prompting.model_input import InputConfig, make_input, to_model_batch

CONFIG = InputConfig(min_pixels=FRAME_SIZE["shortest_edge"], max_pixels=FRAME_SIZE["longest_edge"])


@pytest.fixture(scope="module")
def processor():
    return build_processor(list(all_texts()))


@pytest.fixture(scope="module")
def model(processor):
    return build_model(processor.tokenizer, seed=0)


@pytest.mark.parametrize("shape", [(480, 640), (336, 448), (240, 320)])
def test_sandbox_frames_of_any_size_become_sixty_four_pixels_square(processor, shape) -> None:
    frames = np.zeros((2, *shape, 3), np.uint8)
    batch = to_model_batch(
        processor, [make_input(CONFIG, frames=frames, audio=None, transcript="")]
    )
    assert batch["video_grid_thw"].tolist() == [[1, 4, 4]]


def test_the_model_is_tiny_and_answers_from_all_three_inputs(processor, model) -> None:
    assert 1_000_000 < sum(p.numel() for p in model.parameters()) < 2_000_000
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (4, 48, 64, 3), np.uint8)
    audio = rng.normal(0, 0.1, 16_000).astype(np.float32)
    changed = [
        make_input(CONFIG, frames=frames, audio=audio, transcript="i am sure"),
        make_input(CONFIG, frames=255 - frames, audio=audio, transcript="i am sure"),
        make_input(CONFIG, frames=frames, audio=audio[::-1].copy(), transcript="i am sure"),
        make_input(CONFIG, frames=frames, audio=audio, transcript="i am afraid"),
    ]
    with torch.no_grad():
        logits = model.thinker.eval()(**to_model_batch(processor, changed)).logits[:, -1]
    assert all((logits[0] - other).abs().max() > 1e-3 for other in logits[1:])


def test_the_same_seed_gives_the_same_weights(processor, model) -> None:
    again = build_model(processor.tokenizer, seed=0)
    pairs = zip(model.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(first, second) for first, second in pairs)


def test_what_was_saved_is_a_model_and_loads_unchanged(processor, model, tmp_path) -> None:
    save(model, processor, tmp_path)
    assert check_model(str(tmp_path)) == tmp_path.resolve()
    loaded = Qwen3OmniMoeForConditionalGeneration.from_pretrained(tmp_path)
    pairs = zip(model.state_dict().values(), loaded.state_dict().values(), strict=True)
    assert all(torch.equal(first, second) for first, second in pairs)
    reopened = AutoProcessor.from_pretrained(tmp_path)
    text = "<|im_start|>user\ni am sure"
    assert reopened.tokenizer.encode(text) == processor.tokenizer.encode(text)
