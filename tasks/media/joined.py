"""Detect files that were joined byte by byte, of which ffmpeg reads only the first part."""

import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from storage.errors import ItemFault

_BOX_HEADER = 8
_LARGE_BOX_HEADER = 16
_VERSION_AND_FLAGS = 4
_FLV_SIGNATURE = b"FLV\x01"
_TAG_HEADER = 11
_TAG_END = 4  # the size of the tag before, after each tag and after the file's header


def check_not_joined(path: Path, format_names: Collection[str]) -> None:
    """Raise if an MP4, QuickTime or FLV file contains the start of another file.

    ``format_names`` are ffprobe's. Only headers are read. A part of the file whose structure is
    damaged ends the search.

    Raises:
        ItemFault: the file contains several files.
    """
    with path.open("rb") as stream:
        offset = None
        if "mov" in format_names:
            offset = _second_movie(stream, path.stat().st_size)
        elif "flv" in format_names:
            offset = _second_flash(stream)
    if offset is not None:
        raise ItemFault(
            f"another file starts at byte {offset} of {path.stat().st_size}, and ffmpeg reads only "
            "the part before: split the file there, or join the parts with ffmpeg's concat demuxer"
        )


def _second_movie(stream: BinaryIO, num_bytes: int) -> int | None:
    """Return where a second ``moov``, or a file type after the first one, starts.

    Recorders may repeat both among the fragments (``moof``) of one file: then another file starts
    there only if the fragments' numbers start over.
    """
    second, has_movie, last_fragment = None, False, None
    for at, kind in _top_level_boxes(stream, num_bytes):
        if kind == b"moof":
            number = _fragment_number(stream, at)
            if second is not None and last_fragment is not None and number > last_fragment:
                second = None
            elif second is not None:
                return second
            last_fragment = number
        if second is None and has_movie and kind in (b"moov", b"ftyp"):
            second = at
        has_movie |= kind == b"moov"
    return second


def _top_level_boxes(stream: BinaryIO, num_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield offset and kind of each box, up to the first that has no plausible size."""
    at = 0
    while at + _BOX_HEADER <= num_bytes:
        stream.seek(at)
        header = stream.read(_LARGE_BOX_HEADER)
        size, kind = struct.unpack(">I4s", header[:_BOX_HEADER])
        if size == 1 and len(header) == _LARGE_BOX_HEADER:
            size = int.from_bytes(header[_BOX_HEADER:], "big")
        yield at, kind
        if size < _BOX_HEADER:
            break
        at += size


def _fragment_number(stream: BinaryIO, at: int) -> int:
    """Read the number in the header (``mfhd``, the first box) of the fragment at a byte."""
    stream.seek(at + 2 * _BOX_HEADER + _VERSION_AND_FLAGS)
    return int.from_bytes(stream.read(4), "big")


def _second_flash(stream: BinaryIO) -> int | None:
    """Return where a second FLV header starts in place of a tag."""
    header = stream.read(9)
    if len(header) < 9 or not header.startswith(_FLV_SIGNATURE):
        return None
    at = int.from_bytes(header[5:], "big") + _TAG_END
    while True:
        stream.seek(at)
        tag = stream.read(_TAG_HEADER)
        if tag.startswith(_FLV_SIGNATURE):
            return at
        size = _TAG_HEADER + int.from_bytes(tag[1:4], "big")
        if len(tag) < _TAG_HEADER:
            return None
        stream.seek(at + size)
        if int.from_bytes(stream.read(_TAG_END), "big") not in (size, 0):
            return None
        at += size + _TAG_END
