"""Edits of a container's bytes that no ffmpeg option makes."""

import random
from collections.abc import Iterator

_TS_PACKET = 188
_PMT_PID = 0x1000  # ffmpeg's first program
_FIRST_STREAM_PID = 0x100
_PRIVATE_TYPE = 0xA0
_TS_POLYNOMIAL = 0x04C11DB7
_MATROSKA_LENGTH = 18  # 00:00:06.000000000


def with_untyped_stream(content: bytes, index: int) -> bytes:
    """Turn a stream of a transport stream into private data that no decoder recognizes."""
    edited, noise = bytearray(content), random.Random(1)
    for at, pid in _ts_packets(content):
        if pid == _PMT_PID:
            _set_type(edited, _payload_at(edited, at) + 1, index)
        elif pid == _FIRST_STREAM_PID + index:
            start = _payload_at(edited, at)
            if edited[at + 1] & 0x40:  # the packet starts with a PES header
                start += 9 + edited[start + 8]
            edited[start : at + _TS_PACKET] = noise.randbytes(at + _TS_PACKET - start)
    return bytes(edited)


def with_length_tag(content: bytes, tag: str) -> bytes:
    """Replace the length that Matroska's tags declare for every stream, such as 00:00:06.000."""
    edited, at = bytearray(content), content.find(b"DURATION")
    while at >= 0:
        start = content.index(b"00:0", at)
        edited[start : start + _MATROSKA_LENGTH] = tag.encode().ljust(_MATROSKA_LENGTH, b"\0")
        at = content.find(b"DURATION", start)
    return bytes(edited)


def with_lost_packets(content: bytes, count: int) -> bytes:
    """Remove packets of the first stream of a transport stream, not those of its first tenth."""
    offsets = [at for at, pid in _ts_packets(content) if pid == _FIRST_STREAM_PID]
    lost = set(random.Random(1).sample(offsets[len(offsets) // 10 :], count))
    kept = (at for at, _ in _ts_packets(content) if at not in lost)
    return b"".join(content[at : at + _TS_PACKET] for at in kept)


def _ts_packets(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield the offset and the stream's id (PID) of each packet."""
    for at in range(0, len(content), _TS_PACKET):
        yield at, int.from_bytes(content[at + 1 : at + 3], "big") & 0x1FFF


def _payload_at(content: bytearray, at: int) -> int:
    """Return where a packet's payload starts, after its adaptation field."""
    return at + 4 + (1 + content[at + 4] if content[at + 3] & 0x20 else 0)


def _set_type(content: bytearray, table: int, index: int) -> None:
    """Set the type of one stream in a program map table, and the table's checksum."""
    end = table + 3 + _length_at(content, table + 1) - 4
    entry = table + 12 + _length_at(content, table + 10)
    for _ in range(index):
        entry += 5 + _length_at(content, entry + 3)
    content[entry] = _PRIVATE_TYPE
    content[end : end + 4] = _checksum(content[table:end]).to_bytes(4, "big")


def _length_at(content: bytearray, at: int) -> int:
    return int.from_bytes(content[at : at + 2], "big") & 0x0FFF


def _checksum(content: bytes | bytearray) -> int:
    """Return the CRC-32 of MPEG-2 systems: most significant bit first, not inverted."""
    value = 0xFFFFFFFF
    for byte in content:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (_TS_POLYNOMIAL if value & 0x80000000 else 0)) & 0xFFFFFFFF
    return value
