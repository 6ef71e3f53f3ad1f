import pytest
import torch

from infra.sandbox.whisper.batches import IGNORED, NUM_MELS, Batch
from infra.sandbox.whisper.model import Trainee
from infra.sandbox.whisper.vocabulary import Vocabulary, build_tokenizer, read_vocabulary

WORDS = ("yes", "um", "maybe")


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return read_vocabulary(build_tokenizer(WORDS), WORDS)


def toy_batch(vocabulary: Vocabulary) -> Batch:
    """Two windows of one word each, distinguished by which half of the bands is loud."""
    features = torch.zeros(2, NUM_MELS, 40)
    features[0, :40, 10:30], features[1, 40:, 10:30] = 1, 1
    tokens = torch.tensor([vocabulary.words["yes"], vocabulary.words["maybe"]])
    ends = torch.full((2,), vocabulary.end)
    starts, quiet = torch.full((2,), vocabulary.start), torch.full((2,), vocabulary.no_timestamps)
    words = torch.zeros(2, 20, dtype=torch.long)
    words[0, 5:15], words[1, 5:15] = 1, 3
    heard = torch.zeros(2, 3, 20)
    heard[:, 1, 5:15] = 0.1
    return Batch(
        features=features,
        inputs=torch.stack([starts, quiet, tokens], 1),
        targets=torch.stack([torch.full((2,), IGNORED), tokens, ends], 1),
        heard=heard,
        near=(heard > 0).float(),
        words=words,
        previous_words=torch.zeros_like(words),
        frame_weight=torch.ones(2, 20),
    )


def test_a_few_steps_teach_the_words_their_frames_and_where_to_look(
    vocabulary: Vocabulary,
) -> None:
    torch.manual_seed(0)
    trainee, batch = Trainee(vocabulary), toy_batch(vocabulary)
    optimizer = torch.optim.AdamW(trainee.parameters(), lr=3e-3)
    first = trainee(batch).parts
    for _ in range(60):
        optimizer.zero_grad()
        losses = trainee(batch)
        losses.total.backward()
        optimizer.step()
    assert losses.parts["accuracy"] == 1
    assert losses.parts["frame"] < 0.3 * first["frame"]
    assert losses.parts["pointing"] < first["pointing"] - 0.3


def test_training_on_short_windows_encodes_as_the_whole_model_does_on_full_ones(
    vocabulary: Vocabulary,
) -> None:
    torch.manual_seed(0)
    trainee = Trainee(vocabulary).eval()
    features = torch.randn(1, NUM_MELS, 3000)
    with torch.no_grad():
        ours = trainee._encode(features)
        theirs = trainee.whisper.model.encoder(features).last_hidden_state
    assert (ours - theirs).abs().max() < 0.1  # bfloat16 against float32
