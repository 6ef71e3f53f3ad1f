"""Tensors on their way to a disk and back, by libraries that word its refusals in their own ways.

safetensors tells of a full disk as ``SafetensorError``, torch as ``RuntimeError``: neither is an
``OSError``.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from storage.store.disk import writing_to

_TORCHS_WRITER = "inline_container.cc"
_NUMBER = re.compile(r"\(os error (\d+)\)")


@contextmanager
def saving_to(location: str) -> Iterator[None]:
    """Turn what a disk refuses these libraries, too, into one clear sentence.

    Raises:
        StoreError: as `writing_to`.
    """
    with writing_to(location):
        try:
            yield
        except (SafetensorError, RuntimeError) as error:
            refusal = _refusal_behind(error)
            if refusal is None:
                raise
            raise refusal from error


def _refusal_behind(raised: BaseException) -> OSError | None:
    """Find the operating system's word in an error, or in what it was raised over.

    It is lost on the way from another process: then torch's own word stands for it.
    """
    error: BaseException | None = raised
    while error is not None:
        if isinstance(error, OSError):
            return error
        if isinstance(error, SafetensorError) and (message := _NUMBER.search(str(error))):
            return OSError(int(message[1]), os.strerror(int(message[1])))
        error = error.__cause__ or error.__context__
    if _TORCHS_WRITER in str(raised):
        return OSError(errno.EIO, "torch could not finish a file: is the disk full?")
    return None


def write_pickle(content: Any, path: Path) -> None:
    """Write tensors by torch, through a file of ours: its own keeps a refusal to itself."""
    with path.open("wb") as stream:
        torch.save(content, stream)


def read_pickle(path: Path) -> Any:
    """Read tensors, and nothing that runs, into host memory, wherever they were when written.

    Several processes would else all bring theirs to the device of the one that wrote.
    """
    return torch.load(path, map_location="cpu", weights_only=True)
