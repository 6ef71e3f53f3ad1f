"""Compare a file's length with what its container declares."""

from storage.errors import ItemFault
from tasks.media.probe import SourceMedia

WARN_SECONDS = 0.5  # containers, encoders and muxers round or pad by less


def check_length(source: SourceMedia, min_fraction: float) -> list[str]:
    """Compare the length that the container declares with where its frames (or audio) end.

    Returns:
        Warnings about a video that is shorter than declared.

    Raises:
        ItemFault: less than ``min_fraction`` of the declared length is present.
    """
    declared, found = source.declared_seconds, source.duration_seconds
    message = f"the container declares {declared:.2f} s of video, its frames end at {found:.2f} s"
    if source.video_stream is None:
        message = f"the container declares {declared:.2f} s of audio, it ends at {found:.2f} s"
    if found < min_fraction * declared:
        raise ItemFault(f"truncated: {message}")
    return [message] if declared - found > WARN_SECONDS else []
