"""A model's safetensors files: listing, checking, sizes, headers and digests."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from storage.errors import ModelError
from storage.fingerprint import digest_file, digest_of

WEIGHTS_INDEX = "model.safetensors.index.json"
COMPUTED_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

_PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_MAX_FULL_READ_BYTES = 64 << 20
_BLOCK_BYTES = 4096
_FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}  # as safetensors names them
_MAX_HEADER_BYTES = 100_000_000  # the format's own limit


def weight_paths(folder: Path) -> list[Path]:
    """List the safetensors files that make up a model's weights.

    Raises:
        ModelError: there are none, or the index names a missing one.
    """
    index = folder / WEIGHTS_INDEX
    if index.is_file():
        names = _indexed_names(index)
        if missing := [name for name in names if not (folder / name).is_file()]:
            raise ModelError(
                f"The model {str(folder)!r} lacks {len(missing)} of its {len(names)} weight files, "
                f"among them {missing[0]!r}: copy them too."
            )
        return [folder / name for name in names]
    if found := sorted(folder.glob("*.safetensors")):
        return found
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLE_SUFFIXES)
    if pickled:
        raise ModelError(
            f"The model {str(folder)!r} has its weights only as pickle ({pickled[0]!r}), which "
            "can run code when opened: save it as safetensors (save_pretrained does)."
        )
    raise ModelError(f"The model {str(folder)!r} has no weights (*.safetensors): copy them too.")


def weight_bytes(folder: Path, dtype: str) -> int:
    """Compute the bytes of a checked model's weights, loaded in a number type.

    Tensors other than plain floats (8 bits, packed) are loaded as stored.
    """
    tensors = [
        tensor
        for path in weight_paths(folder)
        for name, tensor in read_header(path)[0].items()
        if name != "__metadata__"
    ]
    return sum(
        (end - start) * COMPUTED_BYTES[dtype] // _FLOAT_BYTES.get(kind, COMPUTED_BYTES[dtype])
        for kind, (start, end) in ((t["dtype"], t["data_offsets"]) for t in tensors)
    )


def weight_names(folder: Path) -> list[str]:
    """List the names of all tensors of a checked model."""
    headers = (read_header(path)[0] for path in weight_paths(folder))
    return sorted(name for header in headers for name in header if name != "__metadata__")


def _indexed_names(index: Path) -> list[str]:
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(weight_map.values()))
        if not names or not all(Path(name).name == name for name in names):
            raise ValueError("no file names")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{str(index)!r} is not a valid index of weight files "
            f"({type(error).__name__}): copy it again."
        ) from error
    return names


def check_weights(path: Path) -> None:
    """Raise ModelError if a weight file is incomplete."""
    header, start = read_header(path)
    end = start + max((stop for _, stop in _extents(header)), default=0)
    if end != path.stat().st_size:
        raise ModelError(
            f"The weight file {str(path)!r} is incomplete: its header states {end} bytes, it has "
            f"{path.stat().st_size}. Copy it again."
        )


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Read a safetensors header and its data's offset (github.com/huggingface/safetensors)."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        text = stream.read(length) if length <= _MAX_HEADER_BYTES else b""
    try:
        header = json.loads(text)
    except ValueError as error:
        raise ModelError(
            f"The weight file {str(path)!r} is not a valid safetensors file: copy it again."
        ) from error
    return header, 8 + length


def _extents(header: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """Yield each tensor's start and end offset in the data, in order."""
    yield from sorted(
        tuple(tensor["data_offsets"]) for key, tensor in header.items() if key != "__metadata__"
    )


def digest_weights(path: Path) -> str:
    """Digest a weight file's size, header and content; for a large file, a block of each tensor."""
    if path.stat().st_size <= _MAX_FULL_READ_BYTES:
        return digest_file(path)
    header, start = read_header(path)
    state = hashlib.blake2b(digest_of(path.stat().st_size, header).encode(), digest_size=16)
    with path.open("rb") as stream:
        for first, end in _extents(header):
            length = min(_BLOCK_BYTES, end - first)
            stream.seek(start + first + (end - first - length) // 2)
            state.update(stream.read(length))
    return state.hexdigest()
