from pathlib import Path

import pytest

from storage.bah_yaml import parse_yaml
from storage.errors import DataError


def _written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "release.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_the_data_sets_own_tuple_tag_is_read(tmp_path):
    path = _written(tmp_path, "a: {timestamp: !!python/tuple [0.0, 3.2]}\n")
    assert parse_yaml(path) == {"a": {"timestamp": (0.0, 3.2)}}


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
def test_any_other_tag_is_refused_and_never_run(tmp_path, tag):
    ran = tmp_path / "ran"
    path = _written(tmp_path, "a: 1\nb: " + tag.format(ran=ran) + "\n")
    with pytest.raises(DataError, match=r"'release\.yaml' holds .* at line 2"):
        parse_yaml(path)
    assert not ran.exists()


def test_a_tag_hidden_in_what_is_passed_over_is_not_run_either(tmp_path):
    ran = tmp_path / "ran"
    text = f"a:\n  frame_annotation:\n  - !!python/object/apply:os.mkdir ['{ran}']\n  b: 1\n"
    assert parse_yaml(_written(tmp_path, text)) == {"a": {"frame_annotation": None, "b": 1}}
    assert not ran.exists()


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
def test_labels_of_single_frames_are_passed_over_however_they_are_laid_out(tmp_path, frames):
    text = f"v1:\n  certainty_ah: [1]\n{frames}  global_ah: 1\nv2:\n{frames}  global_ah: 0\n"
    parsed = parse_yaml(_written(tmp_path, text))
    assert parsed["v1"] == {"certainty_ah": [1], "frame_annotation": None, "global_ah": 1}
    assert parsed["v2"] == {"frame_annotation": None, "global_ah": 0}


def test_lines_keep_their_numbers_in_errors(tmp_path):
    text = "v1:\n  frame_annotation:\n  - [a, 0]\n  - [b, 0]\n  global_ah: [1\nv2: {}\n"
    with pytest.raises(DataError, match="not valid YAML, at line 6"):
        parse_yaml(_written(tmp_path, text))


def test_times_without_quotes_are_numbers_of_seconds(tmp_path):
    path = _written(tmp_path, "a: [00:00:01.721, 1:00:00]\n")
    assert parse_yaml(path) == {"a": [pytest.approx(1.721), 3600]}


def test_keys_become_text_and_an_empty_file_an_empty_mapping(tmp_path):
    assert parse_yaml(_written(tmp_path, "90001: {Age: 3}\n")) == {"90001": {"Age": 3}}
    assert parse_yaml(_written(tmp_path, "")) == {}


@pytest.mark.parametrize(
    "text", ["a: [1\n", "a: *nowhere\n", b"\xff\xfe\x00", b"a: \x00\n", "a: 2001-99-99\n", "\t- a"]
)
def test_what_is_no_yaml_is_refused_without_quoting_it(tmp_path, text):
    with pytest.raises(DataError, match="not valid YAML") as caught:
        parse_yaml(_written(tmp_path, text))
    assert "nowhere" not in str(caught.value)


@pytest.mark.parametrize("text", ["- 1\n", "words\n", "3\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    with pytest.raises(DataError, match="expected a mapping"):
        parse_yaml(_written(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        parse_yaml(tmp_path / "none.yaml")
