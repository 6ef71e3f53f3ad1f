import pytest
import torch

from tasks.prompting.model_input import InputConfig, collate_rows, make_input, to_model_row
from tasks.training.data.prefix import reuse_prefix
from tasks.training.model.trainable import open_for_training
from tasks.training.settings import TrainingSettings

pytestmark = pytest.mark.slow

CONFIG = InputConfig(max_pixels=64 * 64)
WITH_ALL, WITHOUT_AUDIO, WITHOUT_VIDEO, TRANSCRIPT_ONLY = (
    (True, True),
    (True, False),
    (False, True),
    (False, False),
)


@pytest.fixture(scope="module")
def opened(tiny_omni):
    opened = open_for_training(tiny_omni, TrainingSettings(precision="float32"))
    torch.manual_seed(0)
    for name, parameter in opened.trained.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, 0, 0.05)
    return opened


@pytest.fixture
def lengths(opened):
    """The numbers of rows and positions in the first decoder layer, per forward pass."""
    shapes = []
    layer = opened.top.thinker.model.layers[0]
    hook = layer.register_forward_pre_hook(
        lambda _layer, arguments: shapes.append(tuple(arguments[0].shape[:2]))
    )
    yield shapes
    hook.remove()


@pytest.fixture
def enable_reuse(opened):
    """Enable prefix reuse, and disable it at the end."""
    hooks = []

    def enable():
        hooks.append(reuse_prefix(opened.top.thinker))

    yield enable
    for hook in hooks:
        hook.remove()


def row_of(processor, seed: int, *, has_video: bool, has_audio: bool) -> dict[str, torch.Tensor]:
    import numpy as np

    random = np.random.default_rng(seed)
    frames = (
        random.integers(0, 256, (2 + 2 * (seed % 3), 64, 64, 3), np.uint8) if has_video else None
    )
    audio = random.normal(0, 0.1, 8_000 + 3_200 * seed).astype(np.float32) if has_audio else None
    return to_model_row(
        processor, make_input(CONFIG, frames=frames, audio=audio, transcript="may " * seed)
    )


def batch_of(opened, kinds):
    rows = [
        row_of(opened.processor, seed, has_video=has_video, has_audio=has_audio)
        for seed, (has_video, has_audio) in enumerate(kinds)
    ]
    return collate_rows(rows, opened.processor.tokenizer.pad_token_id)


def logits_and_gradients(opened, batch):
    opened.trained.zero_grad()
    logits = opened.trained(**batch, use_cache=False).logits[:, -1]
    logits.logsumexp(-1).sum().backward()
    grads = [p.grad.flatten() for p in opened.trained.parameters() if p.grad is not None]
    return logits.detach(), torch.cat(grads)


@pytest.mark.parametrize(
    "kinds",
    [
        (WITH_ALL, WITH_ALL, WITH_ALL),
        (WITH_ALL, WITHOUT_AUDIO, WITHOUT_VIDEO, TRANSCRIPT_ONLY),
        (TRANSCRIPT_ONLY,) * 2,
    ],
    ids=["all the same", "mixed", "transcript only"],
)
def test_a_reused_prefix_gives_the_logits_and_gradients_of_full_rows(
    opened, lengths, enable_reuse, kinds
):
    batch = batch_of(opened, kinds)
    full = logits_and_gradients(opened, batch)
    enable_reuse()
    split = logits_and_gradients(opened, batch)
    torch.testing.assert_close(split[0], full[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(split[1], full[1], rtol=1e-4, atol=1e-6)
    assert full[1].abs().max() > 0
    (num_rows, length), (one, prefix), (rest_rows, rest) = lengths
    assert (one, rest_rows) == (1, num_rows)
    assert prefix + rest == length
    assert prefix > 50


def test_the_prefix_of_identical_rows_ends_before_their_video(opened, lengths, enable_reuse):
    row = row_of(opened.processor, 1, has_video=True, has_audio=True)
    batch = collate_rows([row, row], opened.processor.tokenizer.pad_token_id)
    full = logits_and_gradients(opened, batch)[0]
    enable_reuse()
    torch.testing.assert_close(logits_and_gradients(opened, batch)[0], full, rtol=1e-5, atol=1e-5)
    video = opened.top.config.thinker_config.video_token_id
    assert lengths[1] == (1, int((row["input_ids"] == video).nonzero()[0]))


def test_a_single_row_is_not_split(opened, lengths, enable_reuse):
    enable_reuse()
    logits_and_gradients(opened, batch_of(opened, (WITH_ALL,)))
    assert len(lengths) == 1


def test_prefix_reuse_is_off_with_gradient_checkpointing(tiny_omni, opened):
    from tasks.training.settings import FinetuneResources

    checkpointing = open_for_training(
        tiny_omni,
        TrainingSettings(precision="float32"),
        FinetuneResources(gradient_checkpointing=True),
    )
    checkpointing.trained.load_state_dict(opened.trained.state_dict())
    batch = batch_of(opened, (WITH_ALL, WITHOUT_AUDIO))
    full = logits_and_gradients(opened, batch)
    reuse_prefix(checkpointing.top.thinker)
    checkpointing.trained.train()
    torch.testing.assert_close(
        logits_and_gradients(checkpointing, batch)[1], full[1], rtol=1e-4, atol=1e-6
    )
