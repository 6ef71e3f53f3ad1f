from pathlib import Path

import pytest

from flows.opening import open_run
from flows.request import RunRequest
from storage.errors import ConfigError
from storage.results import ModelRecord
from storage.variant import ItemOutput


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "my data"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"content")
    return folder


@pytest.mark.parametrize("store", ["", "store", "deeper/store"])
@pytest.mark.parametrize("protocol", ["", "file://"])
def test_a_store_among_the_videos_is_refused_and_not_made(
    data: Path, store: str, protocol: str
) -> None:
    request = RunRequest(data=str(data), store=f"{protocol}{data / store}")
    with pytest.raises(ConfigError, match=r"lies inside the data folder .*--store"):
        open_run(request)
    assert [path.name for path in data.iterdir()] == ["a.mp4"]


def test_a_store_behind_a_link_into_the_data_is_refused_too(data: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(data)
    with pytest.raises(ConfigError, match="lies inside the data folder"):
        open_run(RunRequest(data=str(data), store=str(tmp_path / "link" / "store")))


@pytest.mark.parametrize("store", ["my data/.waver/store", "my data 2", "store"])
def test_a_store_where_no_video_is_looked_for_is_welcome(
    data: Path, tmp_path: Path, store: str
) -> None:
    for _ in range(2):
        run = open_run(RunRequest(data=str(data), store=str(tmp_path / store)))
        run.store.write_bytes("segment/x/files/0000.mp4", b"segment")
        assert list(run.sources) == ["a.mp4"]


def test_a_model_in_a_remote_store_is_opened_as_a_local_folder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    (data / "split").mkdir()
    (data / "split" / "train.txt").write_text("a.mp4,1\n")
    run = open_run(RunRequest(data=str(data), store=f"memory://{tmp_path}"))
    variant = run.store.variant("finetune", version=1, settings={})
    record = ModelRecord(
        model_path=variant.file_path("abc/model"), adapter_path=None, method="full",
        base_fingerprint="base", num_train_samples=1, num_val_samples=1, num_parameters=1,
        num_trained=1, num_steps=1, best_step=1, val_loss=0.5, val_macro_f1=0.5,
        val_average_precision=0.5,
    )  # fmt: skip
    weights = tmp_path / "weights"
    weights.write_bytes(b"weights")
    files = {f"{record.model_path}/deeper/weights": weights}
    variant.commit([ItemOutput(item_id="model", rows=(record,), files=files)], {"model": "1"})
    vars(run).update(finetune=variant, models_wanted={"model": "1"})
    assert (run.model_path / "deeper" / "weights").read_bytes() == b"weights"
