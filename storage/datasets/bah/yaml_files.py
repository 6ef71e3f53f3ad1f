"""Parse a release's YAML files without ever running what they say.

Only plain YAML and the one tag that the data set is known to hold, `!!python/tuple`, are read; any
other python tag is refused. The annotation file is large (91 MB), hence libyaml where it is there;
and the labels of single frames, nearly all of it and said better by the intervals, are passed over
(measured on 87 MB: 4 s and 0.3 GB instead of 98 s and 1.1 GB).
"""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from storage.errors import DataError

_FRAMES = b"frame_annotation:"
_PYTHON_TAGS = (b"!!python", b"yaml.org,2002:python")
_READ = "Only plain YAML and !!python/tuple are read; nothing was run."
_TUPLE_TAG = "tag:yaml.org,2002:python/tuple"
_TEXT_TAG = "tag:yaml.org,2002:str"
_GUESSED_TAGS = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "null", "timestamp")
)
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _ReleaseLoader(_Loader):
    """The safe loader, which also knows tuples."""


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
    """Parse one mapping, from a file of this name; its keys become text. Nothing is an empty one.

    Raises:
        DataError: no YAML, a tag that is not allowed, no mapping, or a key that stands twice.
    """
    try:
        lines = _iter_lines_without_frames(name, io.BytesIO(text))
        loader = _ReleaseLoader(b"".join(lines))
        try:
            root = loader.get_single_node()
            _take_keys_as_written(root)
            _reject_duplicate_key(name, root)
            content = None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.constructor.ConstructorError as error:
        raise DataError(
            f"{name!r} holds what a data file must not hold, {_location(error)}: "
            f"{error.problem}. {_READ}"
        ) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DataError(f"{name!r} is not valid YAML, {_location(error)}.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise DataError(f"{name!r} holds a {type(content).__name__}; expected a mapping by id.")
    return {str(key): row for key, row in content.items()}


def _iter_lines_without_frames(name: str, lines: Iterable[bytes]) -> Iterator[bytes]:
    """Blank the block of every `frame_annotation` key, so that lines keep their numbers."""
    indent = -1  # of the key whose block is passed over
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


def _take_keys_as_written(root: yaml.Node | None) -> None:
    """Keep ids what they are: YAML 1.1 would read 0123 as 83, and 1_0 as 10."""
    if isinstance(root, yaml.MappingNode):
        for key, _ in root.value:
            if key.tag in _GUESSED_TAGS:
                key.tag = _TEXT_TAG


def _reject_duplicate_key(name: str, root: yaml.Node | None) -> None:
    """Refuse a second entry of the same name, which YAML would silently let win."""
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
    """Refuse a python tag in what no parser sees: such a file is not to be trusted."""
    if b"python" in text and any(
        tag in text.replace(b"!!python/tuple", b"") for tag in _PYTHON_TAGS
    ):
        raise DataError(
            f"{name!r} holds what a data file must not hold, at line {number}: a python tag. "
            f"{_READ}"
        )


def _location(error: BaseException) -> str:
    """Name the line, and never quote it: it may hold what a participant said."""
    mark = getattr(error, "problem_mark", None)
    return "at an unknown line" if mark is None else f"at line {mark.line + 1}"
