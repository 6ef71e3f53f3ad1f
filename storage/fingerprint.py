"""Fingerprints: the digests by which a row, a file or a variant is known to be the same."""

import errno
import hashlib
import json
import stat
from pathlib import Path
from typing import Any, BinaryIO

_BLOCK_BYTES = 1 << 20


def digest_of(*parts: Any) -> str:
    """Digest JSON-like values; equal values give equal digests whatever the order of mappings.

    Returns 32 hexadecimal digits (BLAKE2b, 16 bytes).
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    encoded = text.encode(errors="surrogatepass")  # names of files need not be valid Unicode
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()


def digest_bytes(content: bytes) -> str:
    """Digest bytes at hand; the same as of a file that holds them."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def digest_stream(stream: BinaryIO) -> str:
    """Digest what is left of a binary stream, a block at a time."""
    state = hashlib.blake2b(digest_size=16)
    while block := stream.read(_BLOCK_BYTES):
        state.update(block)
    return state.hexdigest()


def digest_file(path: Path) -> str:
    """Digest a local file's content.

    Raises:
        OSError: it cannot be read, or is a pipe or a device, which may never end.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.ESPIPE, "not a file but a pipe or a device", str(path))
    with path.open("rb") as stream:
        return digest_stream(stream)
