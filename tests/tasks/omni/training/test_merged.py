"""An adapter that was stored alone becomes a whole model when it is first used."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from storage.errors import ModelError, StoreError
from storage.results import ModelRecord
from storage.store import Store
from tasks.omni.checkpoint import check_model
from tasks.omni.training.job import read_job
from tasks.omni.training.merged import merged_folder, put_in_place

SHARD_BYTES = 1 << 20
RECORD = ModelRecord(
    model_path="finetune/v/files/m/merged", adapter_path="finetune/v/files/m/adapter",
    method="lora", base_fingerprint="b", num_train_samples=1, num_val_samples=1,
    num_parameters=1, num_trained=1, num_steps=1, best_step=1, val_loss=None, val_macro_f1=None,
    val_average_precision=None,
)  # fmt: skip


def merged(store: Store, record: ModelRecord = RECORD, base: str = "/gone") -> Path:
    return merged_folder(store, record, base=base, precision="float32", max_shard_bytes=SHARD_BYTES)


def test_what_was_stored_whole_is_used_as_it_lies(tmp_path):
    store = Store(str(tmp_path / "store"))
    store.write_bytes(f"{RECORD.model_path}/config.json", b"{}")
    assert merged(store) == Path(store.full_path(RECORD.model_path))
    full = replace(RECORD, adapter_path=None, model_path="finetune/v/files/full")
    assert merged(store, full) == Path(store.full_path("finetune/v/files/full"))


def test_an_adapter_that_is_gone_or_has_no_base_is_one_clear_error(tmp_path):
    store = Store(str(tmp_path / "store"))
    with pytest.raises(StoreError, match=r"adapter .* is gone .* --from finetune"):
        merged(store)
    store.write_bytes(f"{RECORD.adapter_path}/adapter_model.safetensors", b"weights")
    with pytest.raises(ModelError, match="no model folder '/gone'"):
        merged(store)


def test_of_two_that_merge_at_once_the_first_counts_and_the_second_is_content(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(name)
        put_in_place(tmp_path / name, tmp_path / "merged")
    assert (tmp_path / "merged" / "weights").read_text() == "first"
    with pytest.raises(StoreError, match="Cannot write to"):
        put_in_place(tmp_path / "second", tmp_path / "second" / "weights" / "below a file")


@pytest.mark.slow
def test_an_adapter_alone_is_merged_into_shards_once_and_as_in_training(
    make_job, tiny_omni, tmp_path
):
    import torch
    from transformers import Qwen3OmniMoeForConditionalGeneration

    from tasks.omni.training.model import open_for_training
    from tasks.omni.training.save import save_model

    job, _ = read_job(make_job("adapter alone"))
    opened = open_for_training(tiny_omni, job.training)
    for name, parameter in opened.trained.named_parameters():
        if "lora_B" in name:  # zero at first, which would change nothing
            torch.nn.init.normal_(parameter, std=0.1)
    store = Store(str(tmp_path / "store"))
    place = Path(store.full_path(RECORD.adapter_path)).parent
    place.mkdir(parents=True)
    save_model(opened, job.model_copy(update={"merge": False}), place)
    assert [path.name for path in place.iterdir()] == ["adapter"]

    folder = merged(store, base=str(tiny_omni))
    assert not any(folder.with_name(".merging").iterdir())
    check_model(str(folder))
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    shards = set(index["weight_map"].values())
    assert len(shards) > 3
    assert all((folder / name).stat().st_size < 2 * SHARD_BYTES for name in shards)
    found = Qwen3OmniMoeForConditionalGeneration.from_pretrained(folder).thinker.state_dict()
    opened.trained.merge_and_unload()
    expected = opened.top.thinker.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in expected)
    assert merged(store) == folder  # no base is needed any more
