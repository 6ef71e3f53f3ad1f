import json
from pathlib import Path

import pytest

from storage.store.store import Store
from tasks.adapters.merge_cache import merge_once
from tasks.model.model_folder import check_model
from tasks.prompting.model_input import InputConfig
from tasks.training.job import TrainingJob
from tasks.training.settings import FinetuneResources, TrainingSettings

SHARD_BYTES = 1 << 20


def merged(store: Store, adapter: Path, base: str) -> Path:
    return merge_once(
        store, adapter, base=base, base_fingerprint="b", precision="float32",
        max_shard_bytes=SHARD_BYTES, reason="a test",
    )  # fmt: skip


@pytest.mark.slow
def test_an_adapter_alone_is_merged_into_shards_once_and_as_in_training(tiny_omni, tmp_path):
    import torch
    from transformers import Qwen3OmniMoeForConditionalGeneration

    from tasks.training.checkpoints.save import save_model
    from tasks.training.model.trainable import open_for_training

    job = TrainingJob(
        identity="toy", store_url=str(tmp_path), model_path=tiny_omni, input=InputConfig(), plan=(),
        training=TrainingSettings(precision="float32"), resources=FinetuneResources(device="cpu"),
        work_path=tmp_path, merge=False,
    )  # fmt: skip
    opened = open_for_training(tiny_omni, job.training)
    for name, parameter in opened.trained.named_parameters():
        if "lora_B" in name:  # initialized to zero, which changes nothing
            torch.nn.init.normal_(parameter, std=0.1)
    store, model_path = Store(str(tmp_path / "store")), tmp_path / "trained"
    model_path.mkdir()
    save_model(opened, job, model_path)
    assert [path.name for path in model_path.iterdir()] == ["adapter"]

    folder = merged(store, model_path / "adapter", str(tiny_omni))
    assert list(folder.parent.iterdir()) == [folder]
    check_model(str(folder))
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    shards = set(index["weight_map"].values())
    assert len(shards) > 3
    assert all((folder / name).stat().st_size < 2 * SHARD_BYTES for name in shards)
    merged_state = Qwen3OmniMoeForConditionalGeneration.from_pretrained(folder).thinker.state_dict()
    opened.trained.merge_and_unload()
    expected = opened.top.thinker.state_dict()
    assert merged_state.keys() == expected.keys()
    assert all(torch.allclose(merged_state[name], expected[name], atol=1e-6) for name in expected)
    assert merged(store, model_path / "adapter", "/gone") == folder  # cached: needs no base
