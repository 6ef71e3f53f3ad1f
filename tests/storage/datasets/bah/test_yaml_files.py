from typing import Any

import pytest

from storage.datasets.bah.yaml_files import parse_yaml, read_text
from storage.errors import DataError


def _parsed(text: str | bytes) -> dict[str, Any]:
    return parse_yaml("release.yaml", text.encode() if isinstance(text, str) else text)


def test_the_tuple_tag_of_the_data_set_is_read(tmp_path):
    text = "a: {timestamp: !!python/tuple [0.0, 3.2]}\n"
    assert _parsed(text) == {"a": {"timestamp": (0.0, 3.2)}}


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.mkdir ['{ran}']",
        "!!python/object/apply:pathlib.Path.mkdir [!!python/object/apply:pathlib.Path ['{ran}']]",
        "!!python/object/new:os.mkdir ['{ran}']",
        "!!python/name:os.mkdir ''",
        "!!python/module:os ''",
        "!!python/object:storage.errors.DataError {{}}",
        "!!python/tuple [!!python/object/apply:os.mkdir ['{ran}']]",
        "!!python/list [1]",
        "!own [1]",
    ],
)
def test_any_other_tag_is_rejected_and_never_executed(tmp_path, tag):
    ran = tmp_path / "ran"
    text = "a: 1\nb: " + tag.format(ran=ran) + "\n"
    with pytest.raises(DataError, match=r"'release\.yaml' contains .* at line 2"):
        _parsed(text)
    assert not ran.exists()


@pytest.mark.parametrize(
    "frames",
    [
        "\n  - !!python/object/apply:os.mkdir ['{ran}']",
        " !!python/object/apply:os.mkdir ['{ran}']\n ",
        "\n  - !<tag:yaml.org,2002:python/object/apply:os.mkdir> ['{ran}']",
    ],
)
def test_a_tag_in_skipped_lines_is_rejected_and_never_executed(tmp_path, frames):
    ran = tmp_path / "ran"
    text = f"a:\n  frame_annotation:{frames.format(ran=ran)}\n  b: 1\n"
    with pytest.raises(DataError, match=r"'release\.yaml' contains .* at line [23]"):
        _parsed(text)
    assert not ran.exists()


def test_the_tuple_tag_is_accepted_in_skipped_lines():
    text = "a:\n  frame_annotation:\n  - !!python/tuple [v/frame-0.jpg, 0]\n  b: 1\n"
    assert _parsed(text) == {"a": {"frame_annotation": None, "b": 1}}


def test_a_duplicate_entry_is_rejected_and_named_only_in_the_details():
    with pytest.raises(DataError, match="same entry at line 1 and at line 3") as caught:
        _parsed("v1: {global_ah: 0}\nv2: {}\nv1: {global_ah: 1}\n")
    assert "v1" not in str(caught.value)
    assert caught.value.details == ("entry v1",)


@pytest.mark.parametrize(
    "frames",
    [
        "  frame_annotation:\n  - [v/frame-0.jpg, 0]\n  - [v/frame-1.jpg, 1]\n",
        "  frame_annotation:\n  - - v/frame-0.jpg\n    - 0\n  - - v/frame-1.jpg\n    - 1\n",
        "  frame_annotation:\n    - [v/frame-0.jpg, 0]\n\n    - [v/frame-1.jpg, 1]\n",
        "  frame_annotation: [[v/frame-0.jpg, 0],\n    [v/frame-1.jpg, 1]]\n",
        "  frame_annotation: []\n",
    ],
)
def test_per_frame_labels_are_skipped_in_every_layout(tmp_path, frames):
    text = f"v1:\n  certainty_ah: [1]\n{frames}  global_ah: 1\nv2:\n{frames}  global_ah: 0\n"
    parsed = _parsed(text)
    assert parsed["v1"] == {"certainty_ah": [1], "frame_annotation": None, "global_ah": 1}
    assert parsed["v2"] == {"frame_annotation": None, "global_ah": 0}


def test_lines_keep_their_numbers_in_errors(tmp_path):
    text = "v1:\n  frame_annotation:\n  - [a, 0]\n  - [b, 0]\n  global_ah: [1\nv2: {}\n"
    with pytest.raises(DataError, match="not valid YAML, at line 6"):
        _parsed(text)


def test_unquoted_times_are_numbers_of_seconds(tmp_path):
    text = "a: [00:00:01.721, 1:00:00]\n"
    assert _parsed(text) == {"a": [pytest.approx(1.721), 3600]}


def test_keys_become_text_and_an_empty_file_an_empty_mapping(tmp_path):
    assert _parsed("90001: {Age: 3}\n") == {"90001": {"Age": 3}}
    assert _parsed("") == {}


@pytest.mark.parametrize(
    "text", ["a: [1\n", "a: *nowhere\n", b"\xff\xfe\x00", b"a: \x00\n", "a: 2001-99-99\n", "\t- a"]
)
def test_invalid_yaml_is_rejected_without_quoting_it(tmp_path, text):
    with pytest.raises(DataError, match="not valid YAML") as caught:
        _parsed(text)
    assert "nowhere" not in str(caught.value)


@pytest.mark.parametrize("text", ["- 1\n", "words\n", "3\n"])
def test_a_file_that_is_no_mapping_is_rejected(tmp_path, text):
    with pytest.raises(DataError, match="expected a mapping"):
        _parsed(text)


def test_a_missing_file_is_rejected(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_text(tmp_path / "none.yaml")


def test_ids_stay_text_that_yaml_would_read_as_numbers():
    text = "0123: 1\n83: 2\n1_0: 3\n'10': 4\nyes: 5\n1.50: 6\n2024-01-01: 7\n~: 8\n"
    text += "90001: {83: 9}\n"
    assert _parsed(text) == {
        "0123": 1, "83": 2, "1_0": 3, "10": 4, "yes": 5, "1.50": 6, "2024-01-01": 7, "~": 8,
        "90001": {83: 9},
    }  # fmt: skip
