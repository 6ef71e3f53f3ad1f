"""Detect files that were joined byte by byte, of which ffmpeg reads only the first part."""

import struct
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from storage.errors import ItemFault

_BOX_HEADER = 8
_LARGE_BOX_HEADER = 16
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

    ffmpeg reads all fragments (``moof``) of a fragmented file, whatever is repeated among them.
    """
    at, second, has_movie = 0, None, False
    while at + _BOX_HEADER <= num_bytes:
        stream.seek(at)
        header = stream.read(_LARGE_BOX_HEADER)
        size, kind = struct.unpack(">I4s", header[:_BOX_HEADER])
        if size == 1 and len(header) == _LARGE_BOX_HEADER:
            size = int.from_bytes(header[_BOX_HEADER:], "big")
        if kind == b"moof":
            return None
        if second is None and has_movie and kind in (b"moov", b"ftyp"):
            second = at
        has_movie |= kind == b"moov"
        if size < _BOX_HEADER:
            break
        at += size
    return second


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
