import struct

import pytest

from storage.errors import ItemFault
from tasks.media.joined import check_not_joined
from tasks.media.probe import probe, probe_seconds
from tasks.processes.tool import ToolLimits

LIMITS = ToolLimits(seconds=60, memory_mb=1024)
MP4, FLV = ("mov", "mp4"), ("flv",)


def box(kind: str, content: bytes = b"abc") -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind.encode()) + content


def large_box(kind: str, content: bytes) -> bytes:
    return struct.pack(">I4sQ", 1, kind.encode(), 16 + len(content)) + content


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("very-short.mp4", "very-short.mp4"),
        ("moov-first.mp4", "studio.mov"),
        ("studio.mov", "very-short.mp4"),
        ("flash.flv", "flash.flv"),
        ("fragmented.mp4", "fragmented.mp4"),
        ("fragmented.mp4", "very-short.mp4"),
    ],
)
def test_two_joined_files_are_rejected_with_the_joint(video, tmp_path, first, second):
    path = tmp_path / f"joined.{first[-3:]}"
    path.write_bytes(video(first).read_bytes() + video(second).read_bytes())
    for read in (probe, probe_seconds):
        with pytest.raises(ItemFault, match=f"starts at byte {video(first).stat().st_size} of "):
            read(path, limits=LIMITS)


@pytest.mark.parametrize("name", ["flash.flv", "studio.mov", "fragmented.mp4", "moov-first.mp4"])
def test_one_file_is_accepted_whatever_follows(video, tmp_path, name):
    path = tmp_path / name
    for rest in (b"", b"\0" * 50, b"FLV", box("free", b"moov" * 9), b"\xff" * 1000):
        path.write_bytes(video(name).read_bytes() + rest)
        check_not_joined(path, MP4 if name != "flash.flv" else FLV)


def test_a_second_movie_is_found_after_a_large_box(tmp_path):
    path = tmp_path / "boxes.mp4"
    start = box("ftyp") + box("moov") + large_box("mdat", b"moov" * 99)
    path.write_bytes(start + box("free"))
    check_not_joined(path, MP4)
    path.write_bytes(start + box("moov"))
    with pytest.raises(ItemFault, match=f"starts at byte {len(start)} of"):
        check_not_joined(path, MP4)


def fragment(number: int) -> bytes:
    return box("moof", box("mfhd", struct.pack(">II", 0, number)) + box("traf")) + box("mdat")


def test_headers_repeated_among_fragments_are_one_file_if_the_fragments_numbers_go_on(tmp_path):
    path, start = tmp_path / "fragments.mp4", box("ftyp") + box("moov")
    first = start + fragment(1) + fragment(2)
    path.write_bytes(first + start + fragment(3) + fragment(4) + start + fragment(5))
    check_not_joined(path, MP4)
    for number in (1, 2):
        path.write_bytes(first + start + fragment(number))
        with pytest.raises(ItemFault, match=f"starts at byte {len(first)} of"):
            check_not_joined(path, MP4)
