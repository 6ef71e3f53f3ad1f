"""Videos cut once a session, for the tests that look at them from several sides."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from tasks.media.cut import picture_name, read_sound, sound_name
from tasks.media.damage import CutRules, CutVideo, cut_what_decodes

RULES = CutRules(max_segment_ms=5_000, long_side=448, crf=23, min_decoded_share=0.9)


@dataclass(frozen=True)
class Cut:
    """A cut video, and what can be read back of its segments."""

    done: CutVideo
    folder: Path
    source_before: bytes

    def pictures(self) -> list[list[tuple[float, npt.NDArray[np.uint8]]]]:
        """Decode every segment: times in seconds, and grey frames of 40 by 30."""
        return [decode(self.folder / picture_name(s.index)) for s in self.done.plan]

    def sounds(self) -> list[npt.NDArray[np.int16]]:
        """Read every segment's samples."""
        return [read_sound(self.folder / sound_name(s.index)) for s in self.done.plan]


def decode(path: Path, stream: int = 0) -> list[tuple[float, npt.NDArray[np.uint8]]]:
    with av.open(str(path)) as container:
        return [
            (float(frame.time or 0), frame.reformat(40, 30, "gray").to_ndarray())
            for frame in container.decode(video=stream)
        ]


@pytest.fixture(scope="session")
def cut_video(
    video: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Cut]:
    """Cut a video of the shelf into segments of at most 5 s."""

    @cache
    def cut(name: str) -> Cut:
        path, folder = video(name), tmp_path_factory.mktemp("cut")
        before = path.read_bytes()
        return Cut(cut_what_decodes(path, folder, RULES, 4096), folder, before)

    return cut
