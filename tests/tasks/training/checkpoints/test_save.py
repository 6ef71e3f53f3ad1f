from pathlib import Path

import pytest
import torch

from tasks.adapters.merge import merge_adapter
from tasks.training.checkpoints.save import save_model
from tasks.training.job import read_job
from tasks.training.model.trainable import open_for_training


@pytest.mark.slow
def test_an_adapter_stored_alone_merges_to_the_weights_of_its_training(
    make_job, tiny_omni: Path, tmp_path: Path
) -> None:
    job, _ = read_job(make_job("adapter alone"))
    opened = open_for_training(tiny_omni, job.training)
    for name, parameter in opened.trained.named_parameters():
        if "lora_B" in name:  # initialized to zero, which changes nothing
            torch.nn.init.normal_(parameter, std=0.1)
    folder = tmp_path / "trained"
    folder.mkdir()
    save_model(opened, job.model_copy(update={"merge": False}), folder)
    assert [path.name for path in folder.iterdir()] == ["adapter"]
    merged = merge_adapter(tiny_omni, folder / "adapter", torch.float32)[0].thinker.state_dict()
    opened.trained.merge_and_unload()
    expected = opened.top.thinker.state_dict()
    assert merged.keys() == expected.keys()
    assert all(torch.allclose(merged[name], expected[name], atol=1e-6) for name in expected)
