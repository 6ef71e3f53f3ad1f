import json
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.store.cache import remove_cache
from storage.store.store import Store
from tasks.adapters.serving import reason_not_to_serve, reason_to_merge, serving_folder
from tasks.model.model_folder import check_model, fingerprint_of, served_adapter
from tasks.prompting.trained_with import SETTINGS_NAME

Write = Callable[..., Path]


def test_an_adapter_on_attention_only_is_served_unless_the_settings_merge_it(
    tmp_path: Path, write_adapter: Write
) -> None:
    adapter = write_adapter(tmp_path / "it")
    assert reason_to_merge(adapter, "auto") is None
    assert reason_to_merge(adapter, "merge") == "infer.adapter is merge"


@pytest.mark.parametrize("layer", ["thinker.self_attn", "visual.attn", "mlp", "mlp.experts"])
def test_an_adapter_under_names_that_vllm_may_ignore_is_merged(
    tmp_path: Path, write_adapter: Write, layer: str
) -> None:
    message = reason_to_merge(write_adapter(tmp_path / "it", layer=layer), "auto")
    assert message is not None
    assert ("fused experts" if "experts" in layer else f".{layer}.k_proj") in message


@pytest.mark.parametrize(
    "config",
    [
        {"peft_type": "LOHA"}, {"use_dora": True}, {"bias": "all"}, {"r": 513}, {"r": None},
        {"modules_to_save": ["lm_head"]}, {"rank_pattern": {"q_proj": 600}},
        {"init_lora_weights": "pissa"},
    ],
    ids=str,
)  # fmt: skip
def test_an_adapter_of_an_untested_kind_is_merged(
    tmp_path: Path, write_adapter: Write, config: dict[str, object]
) -> None:
    assert reason_to_merge(write_adapter(tmp_path / "it", **config), "auto")


def test_no_adapter_is_served_in_float32_on_a_gpu_or_by_another_vllm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert reason_not_to_serve("float32", on_gpu=False) is None
    assert reason_not_to_serve("bfloat16", on_gpu=True) is None
    assert "16 bits" in str(reason_not_to_serve("float32", on_gpu=True))
    monkeypatch.setattr("tasks.adapters.serving.version", lambda _: "0.33.1")
    assert "this is 0.33.1" in str(reason_not_to_serve("bfloat16", on_gpu=True))


def test_a_base_with_a_served_adapter_is_one_folder_with_its_own_fingerprint(
    tmp_path: Path, tiny_omni: Path, write_adapter: Write
) -> None:
    store, base = Store(str(tmp_path / "store")), fingerprint_of(tiny_omni)
    adapters = [
        write_adapter(tmp_path / name / "adapter", r=rank) for name, rank in (("a", 3), ("b", 4))
    ]
    (tmp_path / "a" / SETTINGS_NAME).write_text(json.dumps({"seed": 1}))
    folders = [serving_folder(store, adapter, tiny_omni, base) for adapter in adapters]
    assert serving_folder(store, adapters[0], tiny_omni, base) == folders[0]
    assert check_model(str(folders[0])) == folders[0]
    assert [served_adapter(folder) for folder in folders] == adapters
    assert len({base, *map(fingerprint_of, folders)}) == 3
    assert [(folder / SETTINGS_NAME).is_file() for folder in folders] == [True, False]
    remove_cache(store)
    assert not folders[0].exists()
    assert check_model(str(tiny_omni))
    assert len(list(adapters[0].iterdir())) == 2
