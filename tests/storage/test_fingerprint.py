import io
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.fingerprint import digest_file, digest_of, digest_stream

plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_the_order_of_a_mapping_does_not_count(mapping):
    turned = dict(reversed(list(mapping.items())))
    assert digest_of(mapping) == digest_of(turned)


@given(plain_values, plain_values)
def test_two_values_have_the_same_digest_only_if_their_json_is_the_same(one, other):
    alike = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (digest_of(one) == digest_of(other)) == alike


def test_parts_are_not_concatenated():
    assert digest_of("ab", "c") != digest_of("a", "bc")
    assert digest_of("ab") != digest_of("ab", "")


def test_a_name_that_is_not_valid_unicode_has_a_digest():
    name = b"caf\xe9.mp4".decode("utf-8", "surrogateescape")
    assert digest_of(name) != digest_of("caf.mp4")


def test_a_digest_is_the_same_on_every_host():
    assert digest_of("a", 1, None, {"b": [True]}) == "7b101d98a9cb7007da78bd138cede7ea"


def test_a_file_has_the_digest_of_its_content(tmp_path):
    content = bytes(range(256)) * 8192  # more than one block
    path = tmp_path / "a file"
    path.write_bytes(content)
    assert digest_file(path) == digest_stream(io.BytesIO(content))
    path.write_bytes(content[:-1] + b"\x00")
    assert digest_file(path) != digest_stream(io.BytesIO(content))


def test_a_pipe_or_device_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "zeros.mp4").symlink_to("/dev/zero")
    for name in ("pipe.mp4", "zeros.mp4"):
        with pytest.raises(OSError, match="a pipe or a device"):
            digest_file(tmp_path / name)
