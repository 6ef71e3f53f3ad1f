import json
from pathlib import Path

import pytest
import torch

from storage.store.store import Store
from tasks.adapters.merge import merge_adapter
from tasks.adapters.merge_cache import merge_once
from tasks.model.model_folder import check_model

SHARD_BYTES = 1 << 20


def merged(store: Store, adapter: Path, base: str) -> Path:
    return merge_once(
        store, adapter, base=base, base_fingerprint="b", precision="float32",
        max_shard_bytes=SHARD_BYTES, reason="a test",
    )  # fmt: skip


@pytest.mark.slow
def test_an_adapter_is_merged_into_shards_once(tiny_omni: Path, adapters, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from transformers import Qwen3OmniMoeForConditionalGeneration

    store, adapter = Store(str(tmp_path / "store")), adapters[1]
    folder = merged(store, adapter, str(tiny_omni))
    assert list(folder.parent.iterdir()) == [folder]
    check_model(str(folder))
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    shards = set(index["weight_map"].values())
    assert len(shards) > 3
    assert all((folder / name).stat().st_size < 2 * SHARD_BYTES for name in shards)
    state = Qwen3OmniMoeForConditionalGeneration.from_pretrained(folder).thinker.state_dict()
    expected = merge_adapter(tiny_omni, adapter, torch.float32)[0].thinker.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.allclose(state[name], expected[name], atol=1e-6) for name in expected)
    assert merged(store, adapter, "/gone") == folder  # cached: needs no base
