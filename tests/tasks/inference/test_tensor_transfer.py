import os
import pickle

import numpy as np
import torch

from storage.errors import ItemFault
from tasks.inference import tensor_transfer
from tasks.inference.requests import Request
from tasks.inference.tensor_transfer import pack
from tasks.prompting.prediction import TokenCounts

COUNTS = TokenCounts(num_text_tokens=1, num_video_tokens=2, num_audio_tokens=3)


def test_a_packed_request_arrives_unchanged_with_any_kind_of_tensor() -> None:
    tensors = {
        "pixels": torch.randn(6, 4).to(torch.bfloat16),
        "transposed": torch.arange(6.0).reshape(2, 3).T,
        "scalar": torch.tensor(7),
        "flag": torch.tensor(True),
        "empty": torch.zeros(0, 3),
        "array": np.arange(3),
    }
    packed = pack(Request(rendered=tensors, token_counts=COUNTS))
    arrived = pickle.loads(pickle.dumps(packed))
    assert isinstance(arrived, Request)
    assert arrived.token_counts == COUNTS
    for name, tensor in tensors.items():
        assert arrived.rendered[name].dtype == tensor.dtype
        assert arrived.rendered[name].shape == tensor.shape
        assert (arrived.rendered[name] == tensor).all()
    arrived.rendered["pixels"][0, 0] = 1.0  # writable


def test_received_tensors_are_freed_in_the_sender() -> None:
    for _ in range(3):
        sent = pickle.dumps(pack(Request(rendered=torch.zeros(1_000), token_counts=COUNTS)))
        assert len(sent) < 1_000
        sizes = [os.fstat(descriptor).st_size for descriptor in tensor_transfer._unread]
        assert sizes == [4_000]
        pickle.loads(sent)
    assert [os.fstat(descriptor).st_size for descriptor in tensor_transfer._unread] == [0]


def test_a_fault_arrives_unchanged_between_packed_tensors() -> None:
    fault, nothing, request = (
        pickle.dumps(pack(one)) for one in (ItemFault("damaged"), torch.zeros(0), torch.arange(9.0))
    )
    arrived = pickle.loads(fault)
    assert isinstance(arrived, ItemFault)
    assert str(arrived) == "damaged"
    assert pickle.loads(nothing).shape == (0,)
    assert (pickle.loads(request) == torch.arange(9.0)).all()
