from dataclasses import replace

import pytest
import torch

from tasks.prompting.model_input import InputConfig, collate_rows, make_input, to_model_row
from tasks.training.data.decoding import MediaRowMaker
from tasks.training.data.features import FeatureFolder, feature_key
from tasks.training.data.reading import FeatureRowMaker
from tasks.training.data.towers import (
    accept_features,
    are_towers_frozen,
    bytes_per_token,
    collate_features,
    encode_rows,
    with_positions,
)
from tasks.training.model.trainable import open_for_training
from tasks.training.settings import TrainingSettings

CONFIG = InputConfig(max_pixels=64 * 64)
WITH_ALL, WITHOUT_AUDIO, WITHOUT_VIDEO, TRANSCRIPT_ONLY = (
    (True, True),
    (True, False),
    (False, True),
    (False, False),
)


@pytest.fixture(scope="module")
def opened(tiny_omni):
    return open_for_training(tiny_omni, TrainingSettings(precision="float32"))


@pytest.fixture(scope="module")
def thinker(opened):
    accept_features(opened.top.thinker)
    return opened.top.thinker


def row_of(processor, seed: int, *, has_video: bool, has_audio: bool) -> dict[str, torch.Tensor]:
    import numpy as np

    random = np.random.default_rng(seed)
    frames = (
        random.integers(0, 256, (2 + 2 * (seed % 3), 64, 64, 3), np.uint8) if has_video else None
    )
    audio = random.normal(0, 0.1, 8_000 + 3_200 * seed).astype(np.float32) if has_audio else None
    inputs = make_input(CONFIG, frames=frames, audio=audio, transcript="maybe not")
    return to_model_row(processor, inputs)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kinds",
    [
        (WITH_ALL, WITH_ALL, WITH_ALL),
        (WITH_ALL, WITHOUT_AUDIO, WITHOUT_VIDEO, TRANSCRIPT_ONLY),
        (WITHOUT_AUDIO,),
        (TRANSCRIPT_ONLY,),
    ],
    ids=["all the same", "mixed", "no audio", "transcript only"],
)
def test_features_give_the_logits_and_gradients_of_pixels_and_mels(opened, thinker, kinds):
    pad = opened.processor.tokenizer.pad_token_id
    rows = [
        row_of(opened.processor, seed, has_video=has_video, has_audio=has_audio)
        for seed, (has_video, has_audio) in enumerate(kinds)
    ]
    features = encode_rows(thinker, rows, pad)
    assert not any("pixel_values_videos" in row or "input_features" in row for row in features)
    positioned = [with_positions(thinker, row) for row in features]
    results = []
    for batch in (
        collate_rows(rows, pad),
        collate_features(features, pad),
        collate_features(positioned, pad),
    ):
        opened.trained.zero_grad()
        logits = opened.trained(**batch, use_cache=False).logits[:, -1]
        logits.logsumexp(-1).sum().backward()
        grads = [p.grad for p in opened.trained.parameters() if p.grad is not None]
        results.append((logits.detach(), torch.cat([grad.flatten() for grad in grads])))
    for logits, gradients in results[1:]:
        torch.testing.assert_close(logits, results[0][0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(gradients, results[0][1], rtol=1e-4, atol=1e-6)
    assert results[0][1].abs().max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("has_transcript", [True, False])
def test_media_and_features_give_the_same_prompt_with_preceding_transcript(
    opened, thinker, toy_store, toy_samples, tmp_path, has_transcript
):
    settings = {"prompt": "definition-context", "transcript": has_transcript}
    config, processor = CONFIG.model_copy(update=settings), opened.processor
    (sample,) = toy_samples(toy_store, 1)
    sample = replace(sample, transcript_before="so far so good")
    row = MediaRowMaker(store_url=toy_store.url, processor=processor, config=config)(sample)
    (encoded,) = encode_rows(thinker, [row], processor.tokenizer.pad_token_id)
    features = FeatureFolder(tmp_path)
    features.write({feature_key(sample, config): encoded})
    make = FeatureRowMaker(thinker=thinker, features=features, processor=processor, config=config)
    again = replace(sample, transcript="no", transcript_before="")
    assert torch.equal(make(sample)["input_ids"], row["input_ids"])
    assert torch.equal(make(again)["input_ids"], row["input_ids"]) == (not has_transcript)
    assert ("so far so good" in processor.tokenizer.decode(row["input_ids"])) == has_transcript


@pytest.mark.slow
def test_features_have_the_estimated_bytes_per_token(opened, thinker):
    row = row_of(opened.processor, 1, has_video=True, has_audio=True)
    (features,) = encode_rows(thinker, [row], opened.processor.tokenizer.pad_token_id)
    video_bytes, audio_bytes = bytes_per_token(thinker, torch.float32)
    config = opened.top.config.thinker_config
    num_video = int((row["input_ids"] == config.video_token_id).sum())
    num_audio = int((row["input_ids"] == config.audio_token_id).sum())
    assert features["video_features"].nbytes == num_video * video_bytes > 0
    assert features["audio_features"].nbytes == num_audio * audio_bytes > 0


@pytest.mark.slow
def test_towers_are_frozen_only_if_none_of_their_parameters_is_trained(tiny_omni, thinker):
    assert are_towers_frozen(thinker)
    settings = TrainingSettings(method="full", parts=("projector",), precision="float32")
    assert not are_towers_frozen(open_for_training(tiny_omni, settings).top.thinker)
