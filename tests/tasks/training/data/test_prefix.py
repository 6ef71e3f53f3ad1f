import pytest
import torch

from tasks.prompting.model_input import InputConfig, collate_rows, make_input, to_model_row
from tasks.training.data.prefix import reuse_prefix
from tasks.training.model.trainable import open_for_training
from tasks.training.settings import TrainingSettings

pytestmark = pytest.mark.slow

CONFIG = InputConfig(max_pixels=64 * 64)
WITH_ALL, WITHOUT_AUDIO, WITHOUT_VIDEO, WORDS_ALONE = (
    (True, True),
    (True, False),
    (False, True),
    (False, False),
)


@pytest.fixture(scope="module")
def opened(tiny_omni):
    found = open_for_training(tiny_omni, TrainingSettings(precision="float32"))
    torch.manual_seed(0)
    for name, parameter in found.trained.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, 0, 0.05)
    return found


@pytest.fixture
def lengths(opened):
    """What the first decoder layer gets: the number of rows and of positions, pass by pass."""
    seen = []
    layer = opened.top.thinker.model.layers[0]
    hook = layer.register_forward_pre_hook(
        lambda _layer, arguments: seen.append(tuple(arguments[0].shape[:2]))
    )
    yield seen
    hook.remove()


@pytest.fixture
def shared(opened):
    """Turn sharing on, and off at the end."""
    hooks = []

    def turn_on():
        hooks.append(reuse_prefix(opened.top.thinker))

    yield turn_on
    for hook in hooks:
        hook.remove()


def row_of(processor, seed: int, *, sees: bool, hears: bool) -> dict[str, torch.Tensor]:
    import numpy as np

    random = np.random.default_rng(seed)
    frames = random.integers(0, 256, (2 + 2 * (seed % 3), 64, 64, 3), np.uint8) if sees else None
    audio = random.normal(0, 0.1, 8_000 + 3_200 * seed).astype(np.float32) if hears else None
    return to_model_row(
        processor, make_input(CONFIG, frames=frames, audio=audio, transcript="may " * seed)
    )


def batch_of(opened, kinds):
    rows = [
        row_of(opened.processor, seed, sees=sees, hears=hears)
        for seed, (sees, hears) in enumerate(kinds)
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
        (WITH_ALL, WITHOUT_AUDIO, WITHOUT_VIDEO, WORDS_ALONE),
        (WORDS_ALONE,) * 2,
    ],
    ids=["all the same", "mixed", "words alone"],
)
def test_a_shared_beginning_gives_the_logits_and_gradients_of_whole_rows(
    opened, lengths, shared, kinds
):
    batch = batch_of(opened, kinds)
    whole = logits_and_gradients(opened, batch)
    shared()
    split = logits_and_gradients(opened, batch)
    torch.testing.assert_close(split[0], whole[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(split[1], whole[1], rtol=1e-4, atol=1e-6)
    assert whole[1].abs().max() > 0
    (num_rows, length), (one, started), (rest_rows, rest) = lengths
    assert (one, rest_rows) == (1, num_rows)
    assert started + rest == length
    assert started > 50


def test_rows_that_are_alike_throughout_keep_their_videos_and_their_answer(opened, lengths, shared):
    row = row_of(opened.processor, 1, sees=True, hears=True)
    batch = collate_rows([row, row], opened.processor.tokenizer.pad_token_id)
    whole = logits_and_gradients(opened, batch)[0]
    shared()
    torch.testing.assert_close(logits_and_gradients(opened, batch)[0], whole, rtol=1e-5, atol=1e-5)
    video = opened.top.config.thinker_config.video_token_id
    assert lengths[1] == (1, int((row["input_ids"] == video).nonzero()[0]))


def test_one_row_shares_nothing(opened, lengths, shared):
    shared()
    logits_and_gradients(opened, batch_of(opened, (WITH_ALL,)))
    assert len(lengths) == 1


def test_layers_that_are_computed_twice_for_memory_are_given_whole_rows(tiny_omni, opened, shared):
    from tasks.training.settings import FinetuneResources

    sparing = open_for_training(
        tiny_omni,
        TrainingSettings(precision="float32"),
        FinetuneResources(gradient_checkpointing=True),
    )
    sparing.trained.load_state_dict(opened.trained.state_dict())
    batch = batch_of(opened, (WITH_ALL, WITHOUT_AUDIO))
    whole = logits_and_gradients(opened, batch)
    reuse_prefix(sparing.top.thinker)
    sparing.trained.train()
    torch.testing.assert_close(
        logits_and_gradients(sparing, batch)[1], whole[1], rtol=1e-4, atol=1e-6
    )
