import os
import pickle

import numpy as np
import torch

from storage.errors import ItemFault
from tasks.inference import tensor_transfer as packing
from tasks.inference.requests import Request
from tasks.inference.tensor_transfer import pack
from tasks.prompting.prediction import TokenCounts

CENSUS = TokenCounts(num_text_tokens=1, num_video_tokens=2, num_audio_tokens=3)


def test_a_packed_request_arrives_as_itself_whatever_its_tensors_are() -> None:
    tensors = {
        "pixels": torch.randn(6, 4).to(torch.bfloat16),
        "turned": torch.arange(6.0).reshape(2, 3).T,
        "scalar": torch.tensor(7),
        "flag": torch.tensor(True),
        "empty": torch.zeros(0, 3),
        "array": np.arange(3),
    }
    sent = pack(Request(rendered=tensors, token_counts=CENSUS))
    arrived = pickle.loads(pickle.dumps(sent))
    assert isinstance(arrived, Request)
    assert arrived.token_counts == CENSUS
    for name, tensor in tensors.items():
        assert arrived.rendered[name].dtype == tensor.dtype
        assert arrived.rendered[name].shape == tensor.shape
        assert (arrived.rendered[name] == tensor).all()
    arrived.rendered["pixels"][0, 0] = 1.0  # it may be written to


def test_what_was_received_takes_no_memory_any_more() -> None:
    for _ in range(3):
        sent = pickle.dumps(pack(Request(rendered=torch.zeros(1_000), token_counts=CENSUS)))
        assert len(sent) < 1_000
        waiting = [os.fstat(descriptor).st_size for descriptor in packing._unread]
        assert waiting == [4_000]
        pickle.loads(sent)
    assert [os.fstat(descriptor).st_size for descriptor in packing._unread] == [0]


def test_a_fault_arrives_as_itself_and_takes_nothing_of_what_comes_after_it() -> None:
    fault, nothing, request = (
        pickle.dumps(pack(one)) for one in (ItemFault("damaged"), torch.zeros(0), torch.arange(9.0))
    )
    arrived = pickle.loads(fault)
    assert isinstance(arrived, ItemFault)
    assert str(arrived) == "damaged"
    assert pickle.loads(nothing).shape == (0,)
    assert (pickle.loads(request) == torch.arange(9.0)).all()
