"""Parse a release's YAML files without executing anything in them.

Accepts plain YAML and `!!python/tuple`, which the data set contains; any other python tag is an
error. The annotation file is large (91 MB), so libyaml is used if available, and the per-frame
labels are skipped: they are most of the file, and the intervals are more precise (measured on
87 MB: 4 s and 0.3 GB instead of 98 s and 1.1 GB).
"""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from storage.errors import DataError

_FRAMES = b"frame_annotation:"
_PYTHON_TAGS = (b"!!python", b"yaml.org,2002:python")
_ACCEPTED = "Only plain YAML and !!python/tuple are accepted; nothing was executed."
_TUPLE_TAG = "tag:yaml.org,2002:python/tuple"
_TEXT_TAG = "tag:yaml.org,2002:str"
_GUESSED_TAGS = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "null", "timestamp")
)
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _ReleaseLoader(_Loader):
    """The safe loader, with tuples."""


def _construct_tuple(loader: Any, node: yaml.Node) -> tuple[Any, ...]:
    return tuple(loader.construct_sequence(node, deep=True))


_ReleaseLoader.add_constructor(_TUPLE_TAG, _construct_tuple)


def read_text(path: Path) -> bytes:
    """Read a whole file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path.name!r} cannot be read ({error.strerror}).") from error


def parse_yaml(name: str, text: bytes) -> dict[str, Any]:
    """Parse a mapping with string keys; an empty file is an empty mapping.

    Raises:
        DataError: invalid YAML, a forbidden tag, no mapping, or a duplicate key.
    """
    try:
        lines = _iter_lines_without_frames(name, io.BytesIO(text))
        loader = _ReleaseLoader(b"".join(lines))
        try:
            root = loader.get_single_node()
            _keep_keys_as_text(root)
            _reject_duplicate_key(name, root)
            content = None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.constructor.ConstructorError as error:
        raise DataError(
            f"{name!r} contains a forbidden tag, {_location(error)}: {error.problem}. {_ACCEPTED}"
        ) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DataError(f"{name!r} is not valid YAML, {_location(error)}.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise DataError(f"{name!r} contains a {type(content).__name__}; expected a mapping by id.")
    return {str(key): row for key, row in content.items()}


def _iter_lines_without_frames(name: str, lines: Iterable[bytes]) -> Iterator[bytes]:
    """Blank the block of every `frame_annotation` key; lines keep their numbers."""
    indent = -1  # of the key whose block is skipped
    for number, line in enumerate(lines, start=1):
        text = line.lstrip(b" ")
        depth = len(line) - len(text)
        is_nested = depth > indent or (depth == indent and text.startswith(b"-"))
        if indent >= 0 and (is_nested or not text.strip()):
            _reject_tag(name, text, number)
            yield b"\n"
            continue
        indent = depth if depth and text.startswith(_FRAMES) else -1
        if indent >= 0:
            _reject_tag(name, text, number)
        yield line[:depth] + _FRAMES + b" null\n" if indent >= 0 else line


def _keep_keys_as_text(root: yaml.Node | None) -> None:
    """Keep ids as text: YAML 1.1 would read 0123 as 83, and 1_0 as 10."""
    if isinstance(root, yaml.MappingNode):
        for key, _ in root.value:
            if key.tag in _GUESSED_TAGS:
                key.tag = _TEXT_TAG


def _reject_duplicate_key(name: str, root: yaml.Node | None) -> None:
    """Raise on a duplicate key, whose last value YAML would silently use."""
    if not isinstance(root, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, _ in root.value:
        line = key.start_mark.line + 1
        first = seen.setdefault(str(key.value), line)
        if first != line:
            raise DataError(
                f"{name!r} has the same entry at line {first} and at line {line}: remove one.",
                details=(f"entry {key.value}",),
            )


def _reject_tag(name: str, text: bytes, number: int) -> None:
    """Raise on a python tag in skipped lines: such a file cannot be trusted."""
    if b"python" in text and any(
        tag in text.replace(b"!!python/tuple", b"") for tag in _PYTHON_TAGS
    ):
        raise DataError(f"{name!r} contains a forbidden tag, at line {number}. {_ACCEPTED}")


def _location(error: BaseException) -> str:
    """Name the line without quoting it, as it may contain a transcript."""
    mark = getattr(error, "problem_mark", None)
    return "at an unknown line" if mark is None else f"at line {mark.line + 1}"
