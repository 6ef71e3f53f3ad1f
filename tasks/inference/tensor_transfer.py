"""A result on its way to the process that asked for it: its tensors by way of memory both can open.

A pipe would carry megabytes in many small reads, copied again and again while the receiver's other
threads wait: beside an engine it took a tenth of its rate. Shared memory by name outlives whoever
is killed, and containers have little of it.
"""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np

_waiting: list[int] = []  # memory that this process filled and no receiver has emptied yet


class Packed:
    """What is sent in place of a result; the receiver gets the result itself."""

    def __init__(self, content: bytes, buffers: list[pickle.PickleBuffer]) -> None:
        self._content = content
        self._sizes = [buffer.raw().nbytes for buffer in buffers]
        self._memory = _filled(buffers) if any(self._sizes) else None

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpacked, (self._content, self._sizes, os.getpid(), self._memory)


def packed(result: object) -> Packed:
    """Pack a result for the way to another process of this machine, where it is unpacked once.

    Until then its tensors take memory of this process.
    """
    stream, buffers = io.BytesIO(), list[pickle.PickleBuffer]()
    _Packer(stream, protocol=5, buffer_callback=buffers.append).dump(result)
    return Packed(stream.getvalue(), buffers)


class _Packer(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        import torch

        if not isinstance(value, torch.Tensor):
            return NotImplemented
        flat = value.detach().contiguous().reshape(-1).view(torch.uint8)
        content: Any = flat.numpy()
        return _tensor_of, (pickle.PickleBuffer(content), value.dtype, value.shape)


def _tensor_of(content: Any, dtype: Any, shape: Any) -> Any:
    import torch

    if not len(content):
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(content, dtype=torch.uint8).view(dtype).reshape(shape)


def _filled(buffers: list[pickle.PickleBuffer]) -> int:
    """Put buffers into memory without a name, and close what has been emptied meanwhile."""
    for descriptor in [each for each in _waiting if not os.fstat(each).st_size]:
        _waiting.remove(descriptor)
        os.close(descriptor)
    descriptor = os.memfd_create("packed")
    _waiting.append(descriptor)
    with open(descriptor, "wb", closefd=False) as memory:
        for buffer in buffers:
            memory.write(buffer.raw())
    return descriptor


def _unpacked(content: bytes, sizes: list[int], process_id: int, descriptor: int | None) -> Any:
    """In the receiver: take the buffers out of the sender's memory, and empty it."""
    buffers = [np.empty(size, np.uint8) for size in sizes]
    if descriptor is not None:
        memory_path = Path(f"/proc/{process_id}/fd/{descriptor}")
        with memory_path.open("r+b", buffering=0) as memory:
            for buffer in buffers:
                _read(memory, buffer)
            memory.truncate(0)
    return pickle.loads(content, buffers=buffers)


def _read(memory: io.FileIO, buffer: Any) -> None:
    view = memoryview(buffer)
    while view:
        view = view[memory.readinto(view) :]
