"""A writer of field-coded H.264, as AVCHD camcorders record it: each field by itself.

ffmpeg has no encoder that codes the two fields of a frame by themselves. Here every macroblock is
I_PCM, uncompressed, so that the decoded pixels are exactly the given ones; only the parameter sets
(SPS, PPS) and slice headers remain to be written. Names and order of their elements are those of
ITU-T H.264, clauses 7.3.2 and 7.3.3.
"""

import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

GOP = 12  # frames from one key frame to the next
_MACROBLOCK = 16
_NUMBER_BITS = 4  # of frame_num and pic_order_cnt_lsb
_MAIN_PROFILE, _LEVEL = 77, 40
_I_SLICES, _I_PCM = 7, 25
_DELIMITER, _SPS, _PPS, _IDR, _NON_IDR = 0x09, 0x67, 0x68, 0x65, 0x61
_PCM_HEADER = b"\x0d\x00"  # mb_type I_PCM after a whole byte, and bits up to the next one
_EMULATION = re.compile(rb"\0\0(?=[\0-\3])")

Plane = npt.NDArray[np.uint8]


def write_fields(frames: bytes, width: int, height: int) -> bytes:
    """Code frames as a field-coded stream of NAL units in the format of Annex B, top field first.

    Args:
        frames: Raw yuv420p frames, one after the other.
        width: Of a frame in pixels; a multiple of 16.
        height: Of a frame in pixels; a multiple of 32.

    Raises:
        ValueError: the size is no multiple of a field's macroblocks, or of the number of bytes.
    """
    size = width * height * 3 // 2
    if width % _MACROBLOCK or height % (2 * _MACROBLOCK) or not frames or len(frames) % size:
        raise ValueError(f"{len(frames)} bytes are no frames of {width}x{height} macroblocks")
    parts = []
    for index in range(len(frames) // size):
        planes = _planes(frames[index * size : (index + 1) * size], width, height)
        for bottom in (0, 1):
            parts.append(_unit(_DELIMITER, b"\xf0"))
            if index % GOP == 0 and not bottom:
                parts += [_unit(_SPS, _sps(width, height)), _unit(_PPS, _pps())]
            is_idr = index % GOP == 0 and not bottom
            slice_data = b"".join(_slice(planes, index, bottom, is_idr))
            parts.append(_unit(_IDR if is_idr else _NON_IDR, slice_data))
    return b"".join(parts)


def _planes(frame: bytes, width: int, height: int) -> tuple[Plane, ...]:
    """Split a frame into luma [height, width] and chroma [height / 2, width / 2]."""
    values = np.frombuffer(frame, np.uint8)
    ends = (width * height, width * height * 5 // 4)
    luma, blue, red = np.split(values, ends)
    half = (height // 2, width // 2)
    return luma.reshape(height, width), blue.reshape(half), red.reshape(half)


def _unit(header: int, payload: bytes) -> bytes:
    return b"\0\0\0\1" + bytes([header]) + _EMULATION.sub(b"\0\0\3", payload)


def _slice(planes: tuple[Plane, ...], index: int, bottom: int, is_idr: bool) -> Iterator[bytes]:
    """Yield the slice of a field: its header, then its macroblocks."""
    number = index % GOP
    header = _ue(0) + _ue(_I_SLICES) + _ue(0) + _u(number % (1 << _NUMBER_BITS), _NUMBER_BITS)
    header += "1" + str(bottom)  # field_pic_flag, bottom_field_flag
    header += _ue(index // GOP % 2) if is_idr else ""
    header += _u((2 * number + bottom) % (1 << _NUMBER_BITS), _NUMBER_BITS)
    header += "00" if is_idr else "0"  # dec_ref_pic_marking
    header += _ue(0)  # slice_qp_delta
    yield _bytes_of(header + _ue(_I_PCM))
    blocks = [_blocks(plane[bottom::2], _MACROBLOCK >> (k > 0)) for k, plane in enumerate(planes)]
    macroblocks = np.concatenate(blocks, axis=1)
    yield _PCM_HEADER.join(row.tobytes() for row in macroblocks)
    yield b"\x80"


def _blocks(plane: Plane, side: int) -> Plane:
    """Cut a plane into square blocks [blocks, pixels], row by row."""
    rows, columns = (length // side for length in plane.shape)
    return plane.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(rows * columns, -1)


def _sps(width: int, height: int) -> bytes:
    bits = _u(_MAIN_PROFILE, 8) + _u(0, 8) + _u(_LEVEL, 8) + _ue(0)
    bits += _ue(_NUMBER_BITS - 4) + _ue(0) + _ue(_NUMBER_BITS - 4)  # numbers, order of output
    bits += _ue(1) + "0"  # reference frames, without gaps
    bits += _ue(width // _MACROBLOCK - 1) + _ue(height // (2 * _MACROBLOCK) - 1)
    bits += "0" + "0"  # frame_mbs_only_flag, mb_adaptive_frame_field_flag
    bits += "1" + "0" + "0"  # direct_8x8_inference_flag, no cropping, no VUI
    return _bytes_of(bits + "1")


def _pps() -> bytes:
    bits = _ue(0) + _ue(0) + "0" + "0" + _ue(0)  # CAVLC, one slice group
    bits += _ue(0) + _ue(0) + "0" + "00" + _ue(0) * 3  # one reference, no weights, QP 26
    return _bytes_of(bits + "000" + "1")


def _u(value: int, length: int) -> str:
    return f"{value:0{length}b}"


def _ue(value: int) -> str:
    """Write an unsigned number as an Exp-Golomb code."""
    bits = f"{value + 1:b}"
    return "0" * (len(bits) - 1) + bits


def _bytes_of(bits: str) -> bytes:
    """Fill up with zeros to whole bytes."""
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")
