from pathlib import Path

import pytest

from storage.errors import ConfigError
from storage.records import VideoId
from tasks.labels.duplicates.accepted import accepted_by_video, read_accepted, without_accepted
from tasks.labels.duplicates.find import DuplicatePair

KNOWN = [VideoId(name) for name in ("a.mp4", "b 1.mp4", "c,d.mp4", "é.mp4")]


def written(folder: Path, text: str) -> Path:
    path = folder / "accepted.csv"
    path.write_text(text, encoding="utf-8")
    return path


def a_pair(one: str, other: str) -> DuplicatePair:
    return DuplicatePair(one=VideoId(one), other=VideoId(other), evidence="audio")


def test_two_ids_a_line_are_a_pair_in_either_order(tmp_path):
    text = '\ufeff# checked by hand\r\n\r\nb 1.mp4, a.mp4\r\na.mp4,"c,d.mp4"\r\na.mp4,b 1.mp4\r\n'
    assert read_accepted(written(tmp_path, text), KNOWN) == {
        frozenset({"a.mp4", "b 1.mp4"}), frozenset({"a.mp4", "c,d.mp4"}),
    }  # fmt: skip


def test_an_id_in_decomposed_letters_is_the_same_id(tmp_path):
    path = written(tmp_path, "e\u0301.mp4,a.mp4\n")
    assert read_accepted(path, KNOWN) == {frozenset({"é.mp4", "a.mp4"})}


def test_an_id_that_may_be_either_of_two_videos_is_a_fault(tmp_path):
    known = [*KNOWN, VideoId("A.MP4")]
    assert read_accepted(written(tmp_path, "A.MP4,a.mp4\n"), known) == {
        frozenset({"A.MP4", "a.mp4"})
    }
    with pytest.raises(ConfigError) as caught:
        read_accepted(written(tmp_path, "A.mp4,é.mp4\n"), known)
    assert caught.value.details == ("line 1: no video 'A.mp4' in the data set",)


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n"])
def test_a_file_without_pairs_accepts_none(tmp_path, text):
    assert read_accepted(written(tmp_path, text), KNOWN) == frozenset()


def test_all_malformed_lines_are_reported_together(tmp_path):
    text = "a.mp4\na.mp4,é.mp4\na.mp4,c,d.mp4\na.mp4,gone.mp4\na.mp4,a.mp4\n"
    with pytest.raises(ConfigError, match=r"4 of 5 lines .*accepted\.csv") as caught:
        read_accepted(written(tmp_path, text), KNOWN)
    assert caught.value.details == (
        "line 1: 1 fields, expected 2 (an id that contains a comma needs quotes)",
        "line 3: 3 fields, expected 2 (an id that contains a comma needs quotes)",
        "line 4: no video 'gone.mp4' in the data set",
        "line 5: the same id twice, 'a.mp4'",
    )


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"missing\.csv.*No such file"):
        read_accepted(tmp_path / "missing.csv", KNOWN)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(ConfigError, match=r"binary\.csv.*UTF-8"):
        read_accepted(binary, KNOWN)


def test_only_accepted_pairs_are_left_out():
    pairs = [a_pair("a", "b"), a_pair("a", "c"), a_pair("b", "c")]
    accepted = frozenset({frozenset({VideoId("c"), VideoId("a")})})
    assert without_accepted(pairs, accepted) == [pairs[0], pairs[2]]
    assert accepted_by_video(accepted) == {"a": ("c",), "c": ("a",)}
