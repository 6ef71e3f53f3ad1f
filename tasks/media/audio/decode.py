"""Decode a file's audio stream to 16 kHz mono samples, and write it segment by segment."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from storage.errors import ItemFault
from storage.records import AUDIO_SAMPLE_RATE
from tasks.media.audio.command import AUDIO_NAME, audio_command, audio_name
from tasks.media.audio.wav import read_audio, write_audio
from tasks.media.ffmpeg import error_cause, run_ffmpeg
from tasks.media.plan import PlannedSegment
from tasks.media.probe import SourceMedia
from tasks.processes.tool import ToolLimits

Samples = npt.NDArray[np.int16]
NO_SAMPLES: Samples = np.zeros(0, np.int16)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedAudio:
    """A file's 16 kHz mono samples, from the first frame of the video.

    ``num_errors`` is the number of lines that ffmpeg logged, ``cause`` the last of them.
    """

    samples: Samples
    num_errors: int
    cause: str


def decode_audio(source: SourceMedia, folder: Path, limits: ToolLimits) -> DecodedAudio:
    """Decode the audio stream of ``source``, with temporary files in ``folder``.

    Raises:
        ItemFault: the decoder timed out, or a file without video has no audio that decodes.
        StageError: ffmpeg was killed.
        ToolError: ffmpeg is not installed.
        OSError: the folder's disk is full.
    """
    result = run_ffmpeg(audio_command(source), folder, limits)
    cause = error_cause(result, limits)
    samples = read_audio(folder / AUDIO_NAME)
    (folder / AUDIO_NAME).unlink(missing_ok=True)
    if not len(samples) and source.video_stream is None:
        raise ItemFault(f"damaged: no audio could be decoded (ffmpeg: {cause or 'no message'})")
    return DecodedAudio(
        samples=_from_time(samples, source.start_time),
        num_errors=result.num_stderr_lines,
        cause=cause,
    )


def _from_time(samples: Samples, seconds: float) -> Samples:
    """Shift samples that start with the container's clock to start at ``seconds``."""
    offset = round(seconds * AUDIO_SAMPLE_RATE)
    return samples[offset:] if offset >= 0 else np.pad(samples, (-offset, 0))


def write_segments(plan: Sequence[PlannedSegment], samples: Samples, folder: Path) -> None:
    """Write each segment's samples; audio that ends early is padded with silence."""
    samples = np.pad(samples, (0, max(0, plan[-1].end_sample - len(samples))))
    for segment in plan:
        part = samples[segment.first_sample : segment.end_sample]
        write_audio(folder / audio_name(segment.index), part)
