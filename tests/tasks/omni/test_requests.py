import pickle

import numpy as np
import torch

from storage.errors import ItemFault
from tasks.omni.answer import Census
from tasks.omni.requests import Request, packed

CENSUS = Census(num_text_tokens=1, num_picture_tokens=2, num_sound_tokens=3)


def test_a_packed_request_arrives_as_itself_whatever_its_tensors_are() -> None:
    tensors = {
        "pixels": torch.randn(6, 4).to(torch.bfloat16),
        "turned": torch.arange(6.0).reshape(2, 3).T,
        "scalar": torch.tensor(7),
        "flag": torch.tensor(True),
        "empty": torch.zeros(0, 3),
        "array": np.arange(3),
    }
    sent = packed(Request(rendered=tensors, census=CENSUS))
    arrived = pickle.loads(pickle.dumps(sent))
    assert isinstance(arrived, Request)
    assert arrived.census == CENSUS
    for name, tensor in tensors.items():
        assert arrived.rendered[name].dtype == tensor.dtype
        assert arrived.rendered[name].shape == tensor.shape
        assert (arrived.rendered[name] == tensor).all()
    arrived.rendered["pixels"][0, 0] = 1.0  # it may be written to


def test_no_shared_memory_is_held_on_the_way() -> None:
    sent = packed(Request(rendered=torch.zeros(1_000), census=CENSUS))
    assert len(pickle.dumps(sent)) > 4_000


def test_a_fault_arrives_as_itself() -> None:
    arrived = pickle.loads(pickle.dumps(packed(ItemFault("damaged"))))
    assert isinstance(arrived, ItemFault)
    assert str(arrived) == "damaged"
