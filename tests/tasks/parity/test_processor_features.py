from pathlib import Path

import numpy as np
import pytest

from tasks.parity.processor_features import open_transformers_processor
from tasks.prompting.model_input import InputConfig, make_input

INPUT = InputConfig(min_pixels=64 * 64, max_pixels=64 * 64)


@pytest.mark.slow
def test_each_modality_has_a_digest_of_its_own(tiny_omni: Path) -> None:
    digest_features = open_transformers_processor(tiny_omni)
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (4, 64, 64, 3), np.uint8)
    audio = random.normal(0, 0.1, 16_000).astype(np.float32)
    media = {"frames": frames, "audio": audio, "transcript": "maybe"}

    def differing(**changed: object) -> set[str]:
        digests = digest_features(make_input(INPUT, **(media | changed)))
        return {name for name in full if digests[name] != full[name]}

    full = digest_features(make_input(INPUT, **media))
    assert set(full) == {"ids_digest", "video_digest", "audio_digest"}
    assert differing() == set()
    assert differing(frames=255 - frames) == {"video_digest"}
    assert differing(audio=-audio[::-1]) == {"audio_digest"}
    assert differing(transcript="maybe not") == {"ids_digest"}
    assert digest_features(make_input(INPUT, **(media | {"audio": None})))["audio_digest"] is None
