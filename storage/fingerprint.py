"""Digests that identify the content of rows, files and variants."""

import errno
import hashlib
import json
import stat
from pathlib import Path
from typing import Any, BinaryIO

_BLOCK_BYTES = 1 << 20


def digest_of(*parts: Any) -> str:
    """Digest JSON-like values, independent of the order of mappings.

    Returns 32 hexadecimal digits (BLAKE2b, 16 bytes).
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    encoded = text.encode(errors="surrogatepass")  # file names need not be valid Unicode
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()


def digest_bytes(content: bytes) -> str:
    """Digest bytes, like a file with this content."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def digest_stream(stream: BinaryIO) -> str:
    """Digest the rest of a binary stream, block by block."""
    state = hashlib.blake2b(digest_size=16)
    while block := stream.read(_BLOCK_BYTES):
        state.update(block)
    return state.hexdigest()


def digest_file(path: Path) -> str:
    """Digest a local file's content.

    Raises:
        OSError: it cannot be read, or is a pipe or device, which may never end.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.ESPIPE, "not a file but a pipe or a device", str(path))
    with path.open("rb") as stream:
        return digest_stream(stream)
