import re
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import DataError
from storage.paths import (
    VIDEO_SUFFIXES,
    iter_video_names,
    path_key,
    reason_not_found,
    resolve_inside,
    stored_name,
)

DIGEST = "0123456789abcdef0123456789abcdef"
ODD_STEMS = [
    "🙂" * 62, "é" * 120, "日本語" * 20, "-rf", "--", "..hidden", "CON", "nul.tar", "aux ", "a\nb",
    "it's \"q\"", "\u202egpj", "a/b", "a\\b", "a:b*c?d<e>f|g", "%04d", "$(x)", "\ud800", "",
]  # fmt: skip


def test_a_relative_path_is_resolved_under_the_root_even_if_it_does_not_exist(tmp_path):
    assert resolve_inside(tmp_path, "Videos/1/a b.mp4") == tmp_path / "Videos" / "1" / "a b.mp4"


@pytest.mark.parametrize(
    "name", ["", ".", "/etc/passwd", "C:/x.mp4", "C:x.mp4", "\\\\host\\x\\y.mp4"]
)
def test_a_path_that_is_not_relative_is_rejected(tmp_path, name):
    with pytest.raises(DataError, match="not relative"):
        resolve_inside(tmp_path, name)


@pytest.mark.parametrize("name", ["../x.mp4", "a/../../x.mp4", "a/..", "a\0b.mp4"])
def test_a_path_that_leaves_the_root_is_rejected(tmp_path, name):
    with pytest.raises(DataError, match="leaves the data folder"):
        resolve_inside(tmp_path, name)


def test_a_link_out_of_the_root_is_rejected_and_one_within_is_not(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root, outside):
        folder.mkdir()
    (outside / "x.mp4").touch()
    (root / "own.mp4").touch()
    (root / "out.mp4").symlink_to(outside / "x.mp4")
    (root / "folder").symlink_to(outside)
    (root / "in.mp4").symlink_to(root / "own.mp4")
    assert resolve_inside(root, "in.mp4") == root / "in.mp4"
    for name in ("out.mp4", "folder/x.mp4"):
        with pytest.raises(DataError, match="through a link"):
            resolve_inside(root, name)


@given(st.text(alphabet="./\\ab:\0", max_size=10))
def test_every_accepted_path_is_under_the_root(tmp_path_factory, name):
    root = tmp_path_factory.getbasetemp()
    try:
        path = resolve_inside(root, name)
    except DataError:
        return
    assert path.resolve().is_relative_to(root.resolve())


def test_videos_are_found_by_suffix_in_sorted_order_without_hidden_ones(tmp_path):
    names = ("b/2.MOV", "a/1.mp4", "c.webm", "notes.txt", ".x.mp4", ".hidden/3.mp4", "old/4.mp4")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.mp4").mkdir()
    found = list(iter_video_names(tmp_path, skipping=frozenset({"old"})))
    assert sorted(found) == ["a/1.mp4", "b/2.MOV", "c.webm"]


def test_a_name_that_is_not_valid_unicode_is_rejected_with_a_remedy(tmp_path):
    name = b"caf\xe9.mp4".decode("utf-8", "surrogateescape")
    with pytest.raises(DataError, match=r"'caf\\udce9\.mp4' is not valid Unicode: rename the file"):
        resolve_inside(tmp_path, name)


@pytest.mark.parametrize("suffix", ["mp4", "m2ts", "MTS", "mxf", "vob", "3g2", "f4v", "dv", "asf"])
def test_videos_of_phones_cameras_and_broadcast_are_taken_by_suffix(tmp_path, suffix):
    (tmp_path / f"00001.{suffix}").touch()
    assert list(iter_video_names(tmp_path)) == [f"00001.{suffix}"]


@pytest.mark.parametrize("name", ["a.wav", "a.m4a", "a.h264", "a", "a.mp4.part"])
def test_a_file_of_another_suffix_is_left_out_with_a_reason(tmp_path, name):
    assert reason_not_found(tmp_path, name) is None
    (tmp_path / name).touch()
    assert list(iter_video_names(tmp_path)) == []
    reason = reason_not_found(tmp_path, name)
    assert reason is not None
    assert repr((tmp_path / name).suffix) in reason
    assert all(suffix in reason for suffix in VIDEO_SUFFIXES)


@given(st.sampled_from(ODD_STEMS) | st.text(max_size=300))
def test_any_name_is_stored_under_a_short_name_that_every_system_takes(stem):
    name = stored_name(PurePosixPath(f"{stem}.mp4"), f"{stem}.mp4", DIGEST)
    assert re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,39})-[0-9a-f]{8}-0123456789ab", name)


@given(st.lists(st.text(max_size=90), min_size=2, max_size=20, unique=True))
def test_two_videos_are_stored_apart_even_where_case_is_ignored(names):
    stored = {stored_name(PurePosixPath(name), name, DIGEST).casefold() for name in names}
    assert len(stored) == len(names)


@pytest.mark.parametrize(
    ("stem", "prefix"),
    [
        ("90001_Question_1_2024-01-01", "90001_Question_1_2024-01-01"), ("José", "Jose"),
        ("a  b.c", "a_b_c"), ("日本", "video"), ("x" * 90, "x" * 40), ("--a--", "a"),
    ],
)  # fmt: skip
def test_a_stored_name_starts_with_the_readable_part_of_the_source(stem, prefix):
    name = stored_name(PurePosixPath("folder") / f"{stem}.mp4", "an id", DIGEST)
    assert name == f"{prefix}-{path_key('an id')}-0123456789ab"
