"""Videos cut once per session and shared by the tests."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from infra.zoo.truth import WrittenSegment
from tasks.media.audio.command import audio_name
from tasks.media.audio.wav import read_audio
from tasks.media.cut_video import CutVideo, cut_video
from tasks.media.rules import CutRules
from tasks.media.video.command import video_name

RULES = CutRules(max_segment_ms=5_000, long_side=448, crf=23, min_decoded_fraction=0.9)


@dataclass(frozen=True)
class CutOnce:
    """A cut video and its written segments."""

    path: Path
    result: CutVideo
    folder: Path
    source_before: tuple[bytes, int]

    def segments(self) -> list[WrittenSegment]:
        """Return every segment's files with its planned bounds."""
        written = [audio.is_written for audio in self.result.audio] or repeat(False)
        return [
            WrittenSegment(
                start_ms=planned.start_ms,
                end_ms=planned.end_ms,
                num_frames=planned.num_frames,
                num_samples=planned.num_samples,
                video_path=self.folder / video_name(planned.index) if planned.has_video else None,
                audio_path=self.folder / audio_name(planned.index) if has_audio else None,
            )
            for planned, has_audio in zip(self.result.plan, written, strict=False)
        ]

    def audios(self) -> list[npt.NDArray[np.int16]]:
        """Read every segment's samples."""
        return [read_audio(self.folder / audio_name(s.index)) for s in self.result.plan]


@pytest.fixture(scope="session")
def cut_once(
    video: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], CutOnce]:
    """Cut a video of the zoo into segments of at most 5 s."""

    @cache
    def cut(name: str) -> CutOnce:
        path, folder = video(name), tmp_path_factory.mktemp("cut")
        before = path.read_bytes(), path.stat().st_mtime_ns
        return CutOnce(path, cut_video(path, folder, RULES, 4096), folder, before)

    return cut
