"""The zoo's videos by name, generated once each: by a recipe, or from another video."""

import os
import random
import re
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

from infra.zoo.edits import with_length_tag, with_lost_packets, with_untyped_stream
from infra.zoo.field_coded import write_fields
from infra.zoo.inputs import ODD_NAMES
from infra.zoo.recipes import RECIPES
from infra.zoo.sources import audio, video

_SMALL_SIZE = (64, 48)
_FIELD_CODED_SIZE = (128, 64)
_SPARSE_BYTES = 1 << 40
_PNG_SIZE = re.compile(rb"IHDR.{8}(.{5}).{4}", re.DOTALL)
_UNITS_PER_INCH = b"\0\x48\0\0"  # follows width and height in a QuickTime sample description


class Shelf:
    """Videos of the zoo in a folder; called with a name, it generates a missing video."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str) -> Path:
        """Return the path of a video, generating it if it is missing."""
        path = self._folder / name
        if not os.path.lexists(path):
            self._make(path)
        return path

    def _make(self, path: Path) -> None:
        if path.name in RECIPES:
            _ffmpeg(*RECIPES[path.name], f"file:{path}")
        elif path.name in _GENERATED:
            _GENERATED[path.name](path)
        elif path.name in _DERIVED:
            _DERIVED[path.name](self, path)
        elif path.name in ODD_NAMES:
            path.write_bytes(self("very-short.mp4").read_bytes())
        else:
            raise KeyError(f"The zoo has no {path.name!r}.")


def _ffmpeg(*arguments: str) -> None:
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-y", *arguments]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=200)


def _turned(shelf: Shelf, path: Path) -> None:
    copy = ("-c", "copy", "-metadata:s:v:0", "rotate=90")
    _ffmpeg("-i", str(shelf("cfr25.mp4")), "-t", "3", *copy, str(path))


def _joined(*names: str) -> Callable[[Shelf, Path], None]:
    def make(shelf: Shelf, path: Path) -> None:
        listed = path.with_suffix(".txt")
        listed.write_text("".join(f"file 'file:{shelf(name)}'\n" for name in names))
        _ffmpeg("-f", "concat", "-safe", "0", "-i", str(listed), "-c", "copy", str(path))
        listed.unlink()

    return make


def _twice(name: str) -> Callable[[Shelf, Path], None]:
    """Return what appends a file to itself, so that its clock restarts."""
    return _edited(name, lambda content: content + content)


def _with_damaged_audio(shelf: Shelf, path: Path) -> None:
    damage = ("-bsf:a", "noise=amount=1")
    _ffmpeg("-i", str(shelf("intact-audio.mp4")), "-c", "copy", *damage, str(path))


def _trimmed(shelf: Shelf, path: Path) -> None:
    _ffmpeg("-ss", "1.3", "-i", str(shelf("cfr25.mp4")), "-c", "copy", str(path))


def _first_part(name: str, fraction: float) -> Callable[[Shelf, Path], None]:
    def make(shelf: Shelf, path: Path) -> None:
        content = shelf(name).read_bytes()
        path.write_bytes(content[: int(len(content) * fraction)])

    return make


def _rotten(name: str, count: int) -> Callable[[Shelf, Path], None]:
    def make(shelf: Shelf, path: Path) -> None:
        content = bytearray(shelf(name).read_bytes())
        dice = random.Random(1)
        for _ in range(count):
            content[dice.randrange(len(content) // 3, len(content))] ^= 0xFF
        path.write_bytes(content)

    return make


def _edited(name: str, edit: Callable[[bytes], bytes]) -> Callable[[Shelf, Path], None]:
    def make(shelf: Shelf, path: Path) -> None:
        path.write_bytes(edit(shelf(name).read_bytes()))

    return make


def _claiming(side: int) -> Callable[[Path], None]:
    """Return what writes a tiny file whose header claims square frames of ``side`` pixels."""

    def make(path: Path) -> None:
        size = "x".join(map(str, _SMALL_SIZE))
        _ffmpeg("-f", "lavfi", "-i", f"testsrc2=s={size}:d=0.2", "-c:v", "png", str(path))
        in_container = struct.pack(">HH", *_SMALL_SIZE) + _UNITS_PER_INCH
        content = path.read_bytes().replace(
            in_container, struct.pack(">HH", side, side) + _UNITS_PER_INCH
        )
        path.write_bytes(_PNG_SIZE.sub(lambda found: _png_size(side, found[1]), content))

    return make


def _png_size(side: int, rest: bytes) -> bytes:
    """Write a PNG's size, the ``rest`` of its first chunk, and the check sum of both."""
    chunk = b"IHDR" + struct.pack(">II", side, side) + rest
    return chunk + struct.pack(">I", zlib.crc32(chunk))


def _single_image(path: Path) -> None:
    image = path.with_suffix(".png")
    _ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48", "-frames:v", "1", str(image))
    image.rename(path)


def _field_coded(path: Path) -> None:
    raw, fields = path.with_suffix(".yuv"), path.with_suffix(".264")
    width, height = _FIELD_CODED_SIZE
    _ffmpeg(*video(6, size=f"{width}x{height}"), "-f", "rawvideo", str(raw))
    fields.write_bytes(write_fields(raw.read_bytes(), width, height))
    copy = ("-c:v", "copy", "-c:a", "ac3", "-f", "mpegts")
    _ffmpeg("-framerate", "25", "-i", str(fields), *audio(6, 2, 5.5), *copy, str(path))
    raw.unlink()
    fields.unlink()


def _remuxed(name: str, *options: str) -> Callable[[Shelf, Path], None]:
    def make(shelf: Shelf, path: Path) -> None:
        _ffmpeg("-i", str(shelf(name)), "-c", "copy", *options, str(path))

    return make


def _sparse(shelf: Shelf, path: Path) -> None:
    path.write_bytes(shelf("camcorder.mpg").read_bytes())
    os.truncate(path, _SPARSE_BYTES)


_GENERATED: dict[str, Callable[[Path], object]] = {
    "empty.mp4": Path.touch,
    "text.mp4": lambda path: path.write_text("This is text, whatever its name suggests.\n" * 20),
    "noise.mp4": lambda path: path.write_bytes(random.Random(0).randbytes(40_000)),
    "single-image.mp4": _single_image,
    "field-coded.mts": _field_coded,
    "of-absurd-size.mov": _claiming(30_000),
    "of-great-size.mov": _claiming(16_000),
    "pipe.mp4": os.mkfifo,
    "device.mp4": lambda path: path.symlink_to("/dev/zero"),
}

_DERIVED: dict[str, Callable[[Shelf, Path], None]] = {
    "rotated.mp4": _turned,
    "trimmed.mp4": _trimmed,
    "matroska-inside.mp4": _first_part("b-frames.mkv", 1),
    "truncated-moov-last.mp4": _first_part("cfr25.mp4", 0.5),
    "truncated-moov-first.mp4": _first_part("moov-first.mp4", 0.5),
    "truncated-little.mp4": _first_part("moov-first.mp4", 0.97),
    "truncated.mkv": _first_part("b-frames.mkv", 0.5),
    "truncated.webm": _first_part("vp9.webm", 0.5),
    "truncated.avi": _first_part("b-frames.avi", 0.5),
    "rotten.mp4": _rotten("moov-first.mp4", 400),
    "a-little-rotten.mp4": _rotten("moov-first.mp4", 4),
    "size-change.webm": _joined("part-1.webm", "part-2.webm"),
    "size-change.mkv": _joined("part-1.mkv", "part-2.mkv"),
    "size-change-rotated.mp4": _remuxed("size-change.mkv", "-metadata:s:v:0", "rotate=90"),
    "audio-format-change.mkv": _joined("mono.mkv", "stereo.mkv"),
    "audio-format-change.ts": _joined("mono.ts", "stereo.ts"),
    "clock-restart.ts": _twice("mono.ts"),
    "twice.mp4": _twice("very-short.mp4"),
    "twice.flv": _twice("flash.flv"),
    "damaged-audio.mp4": _with_damaged_audio,
    "untyped-stream.ts": _edited("three-streams.ts", lambda ts: with_untyped_stream(ts, 1)),
    "odd-length-tag.mkv": _edited("b-frames.mkv", lambda mkv: with_length_tag(mkv, "00:06.000")),
    "no-length-tag.mkv": _edited("b-frames.mkv", lambda mkv: with_length_tag(mkv, "N/A")),
    "field-coded.mkv": _remuxed("field-coded.mts"),
    # As ffmpeg remuxes a file that has a timestamp (here in ms) for each frame, not each field.
    "second-fields-late.mkv": _remuxed("field-coded.mts", "-bsf:v", "setts=ts=ceil(N/2)*40"),
    "field-coded-losses.mts": _edited("field-coded.mts", lambda ts: with_lost_packets(ts, 12)),
    "field-coded-ruin.mts": _edited("field-coded.mts", lambda ts: with_lost_packets(ts, 90)),
    "truncated-audio.m4a": _first_part("long-audio.m4a", 0.5),
    "a-little-rotten-audio.m4a": _rotten("long-audio.m4a", 3),
    "rotten-audio.m4a": _rotten("long-audio.m4a", 400),
    "endless.mpg": _sparse,
}
