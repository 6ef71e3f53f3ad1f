import subprocess
from pathlib import Path

import pytest

from infra.zoo.sources import BEEP_SECONDS, audio
from infra.zoo.truth import beeps_in
from tasks.media.audio.wav import read_audio


@pytest.mark.parametrize("starts", [(0.5,), (0.25, 1.25)])
def test_generated_audio_beeps_when_requested(tmp_path: Path, starts: tuple[float, ...]) -> None:
    path = tmp_path / "beeps.wav"
    command = ["ffmpeg", "-v", "error", *audio(2, *starts), "-ac", "1", "-ar", "16000", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
    assert beeps_in(read_audio(path)) == pytest.approx(starts, abs=BEEP_SECONDS / 10)
