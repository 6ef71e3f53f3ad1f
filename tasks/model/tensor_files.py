"""Writing and reading tensors, with disk errors of safetensors and torch as Waver's errors.

safetensors reports a full disk as ``SafetensorError``, torch as ``RuntimeError``: neither is an
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

_TORCH_WRITER = "inline_container.cc"
_OS_ERROR_NUMBER = re.compile(r"\(os error (\d+)\)")


@contextmanager
def saving_to(path: str) -> Iterator[None]:
    """Turn disk errors of these libraries, too, into a StoreError, as `writing_to` does."""
    with writing_to(path):
        try:
            yield
        except (SafetensorError, RuntimeError) as error:
            os_error = _os_error_behind(error)
            if os_error is None:
                raise
            raise os_error from error


def _os_error_behind(raised: BaseException) -> OSError | None:
    """Find the OSError behind an exception, in its chain or its message.

    The chain is lost between processes; then torch's message must do.
    """
    error: BaseException | None = raised
    while error is not None:
        if isinstance(error, OSError):
            return error
        if isinstance(error, SafetensorError) and (found := _OS_ERROR_NUMBER.search(str(error))):
            return OSError(int(found[1]), os.strerror(int(found[1])))
        error = error.__cause__ or error.__context__
    if _TORCH_WRITER in str(raised):
        return OSError(errno.EIO, "torch could not finish a file: is the disk full?")
    return None


def write_pickle(content: Any, path: Path) -> None:
    """Save tensors to a Python file object: torch's own writer hides disk errors."""
    with path.open("wb") as stream:
        torch.save(content, stream)


def read_pickle(path: Path) -> Any:
    """Load tensors, without running pickled code, into host memory.

    Otherwise several processes would all load theirs onto the writer's device.
    """
    return torch.load(path, map_location="cpu", weights_only=True)
