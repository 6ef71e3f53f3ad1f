import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from storage.errors import ModelError, StoreError
from storage.results import ModelRecord
from storage.store.store import Store
from tasks.adapters.merge_cache import MergeJob
from tasks.adapters.resolve import adapter_in, check_named_model, named_model, trained_model
from tasks.model.model_folder import fingerprint_of, served_adapter
from tests.builders import a_model

RECORD = a_model(
    "finetune/v/files/m/merged", adapter_path="finetune/v/files/m/adapter", method="lora"
)

Write = Callable[..., Path]


def test_an_adapter_is_found_directly_and_in_a_training_s_output(
    tmp_path: Path, tiny_omni: Path, write_adapter: Write
) -> None:
    adapter = write_adapter(tmp_path / "a model" / "adapter")
    assert adapter_in(str(adapter)) == adapter
    assert adapter_in(str(tmp_path / "a model")) == adapter
    assert adapter_in(str(tiny_omni)) is None
    with pytest.raises(ModelError, match="no model folder"):
        adapter_in(str(tmp_path / "gone here"))


def test_an_adapter_s_base_is_the_one_it_names_or_else_the_run_s(
    tmp_path: Path, tiny_omni: Path, write_adapter: Write
) -> None:
    check_named_model(str(write_adapter(tmp_path / "names", str(tiny_omni))), "/gone")
    check_named_model(str(write_adapter(tmp_path / "moved", "/elsewhere/base")), str(tiny_omni))
    nameless = str(write_adapter(tmp_path / "nameless"))
    check_named_model(nameless, str(tiny_omni))
    with pytest.raises(ModelError, match="no model folder '/gone'"):
        check_named_model(nameless, "/gone")


def test_an_adapter_of_another_base_or_without_weights_is_rejected(
    tmp_path: Path, tiny_omni: Path, write_adapter: Write
) -> None:
    adapter = write_adapter(tmp_path / "model" / "adapter")
    settings = tmp_path / "model" / "settings.json"
    settings.write_text(json.dumps({"base_fingerprint": fingerprint_of(tiny_omni)}))
    check_named_model(str(adapter), str(tiny_omni))
    settings.write_text(json.dumps({"base_fingerprint": "another"}))
    with pytest.raises(ModelError, match="trained on another base than"):
        check_named_model(str(adapter), str(tiny_omni))
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no adapter_model\.safetensors"):
        check_named_model(str(adapter), str(tiny_omni))


def trained(store: Store, record: ModelRecord = RECORD, base: str = "/gone") -> Path:
    return trained_model(
        store, record, base=base, precision="float32", max_shard_bytes=1 << 20, dtype="auto",
        mode="auto",
    )  # fmt: skip


def test_a_whole_model_that_a_training_stored_is_opened_where_it_is(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    store.write_bytes(f"{RECORD.model_path}/config.json", b"{}")
    assert trained(store) == Path(store.full_path(RECORD.model_path))
    full = replace(RECORD, adapter_path=None, model_path="finetune/v/files/full")
    assert trained(store, full) == Path(store.full_path("finetune/v/files/full"))


def test_a_trained_adapter_that_is_missing_or_has_no_base_is_one_clear_error(
    tmp_path: Path, write_adapter: Write
) -> None:
    store = Store(str(tmp_path / "store"))
    with pytest.raises(StoreError, match=r"adapter .* is missing .* --from finetune"):
        trained(store)
    write_adapter(Path(store.full_path(str(RECORD.adapter_path))))
    with pytest.raises(ModelError, match="no model folder '/gone'"):
        trained(store)


@pytest.mark.parametrize("on_gpu", [False, True])
def test_an_adapter_on_attention_is_served_with_a_note_on_a_gpu(
    tmp_path: Path, tiny_omni: Path, write_adapter: Write, caplog, monkeypatch, on_gpu: bool
) -> None:
    monkeypatch.setattr("tasks.adapters.resolve.has_gpu_driver", lambda: on_gpu)
    store, adapter = Store(str(tmp_path / "store")), write_adapter(tmp_path / "it")
    folder = named_model(store, str(adapter), str(tiny_omni), dtype="bfloat16", mode="auto")
    assert served_adapter(folder) == adapter
    assert "served as LoRA" in caplog.text
    assert ("untested on a GPU" in caplog.text) == on_gpu


def test_the_log_states_whether_a_merged_adapter_is_cached_and_the_reason(
    tmp_path: Path, tiny_omni: Path, write_adapter: Write, caplog, monkeypatch
) -> None:
    store, merged = Store(str(tmp_path / "store")), []
    monkeypatch.setattr(
        "tasks.adapters.merge_cache._merge", lambda _, folder: record(folder, merged, folder)
    )
    adapter = str(write_adapter(tmp_path / "it", tiny_omni, layer="mlp.experts"))
    first = named_model(store, adapter, "", dtype="auto", mode="auto")
    assert "is merged with its base (now, once): it changes fused experts" in caplog.text
    caplog.clear()
    assert named_model(store, adapter, "", dtype="auto", mode="auto") == first
    assert "is merged with its base (cached): it changes fused experts" in caplog.text
    assert merged == [first]


@pytest.mark.parametrize(
    ("settings", "precision"),
    [({"precision": "bfloat16"}, "bfloat16"), ({"precision": 8}, "float32"), (None, "float32")],
)
def test_an_adapter_is_merged_in_the_precision_of_its_training_else_of_its_base(  # type: ignore[no-untyped-def]
    tmp_path: Path, tiny_omni: Path, write_adapter: Write, monkeypatch, settings, precision: str
) -> None:
    jobs: list[MergeJob] = []
    monkeypatch.setattr(
        "tasks.adapters.merge_cache._merge", lambda job, folder: record(folder, jobs, job)
    )
    adapter = write_adapter(tmp_path / "model" / "adapter", tiny_omni)
    (tmp_path / "model" / "settings.json").write_text(json.dumps({"training": settings}))
    named_model(Store(str(tmp_path / "store")), str(adapter), "", dtype="auto", mode="merge")
    assert [job.precision for job in jobs] == [precision]


def record(folder: Path, calls: list[Any], call: object) -> None:
    folder.mkdir(parents=True)
    calls.append(call)
