import resource
import shutil
import subprocess
from dataclasses import replace

import pytest
import torch

from storage.errors import StoreError
from storage.store.atomic import temporary_name
from tasks.prompting.model_input import InputConfig
from tasks.training.data.features import FeatureFolder, feature_key

ROWS = {
    "one": {
        "video_features": torch.arange(12.0).reshape(3, 4).bfloat16(),
        "num_hops": torch.tensor([7]),
    },
    "two": {"audio_features": torch.ones(2, 4)},
}


def test_features_can_be_read_by_another_process(tmp_path):
    FeatureFolder(tmp_path / "f").write(ROWS)
    again = FeatureFolder(tmp_path / "f")
    assert again.missing(["one", "three", "two", "three"]) == ["three"]
    for key, row in ROWS.items():
        read = again.read(key)
        assert read is not None
        assert read.keys() == row.keys()
        assert all(torch.equal(read[name], row[name]) for name in row)
        assert all(read[name].dtype == row[name].dtype for name in row)


def test_a_damaged_shard_is_removed_and_its_rows_are_missing(tmp_path):
    FeatureFolder(tmp_path).write(ROWS)
    FeatureFolder(tmp_path).write({"three": ROWS["two"]})
    damaged = max(tmp_path.glob("*.safetensors"), key=lambda path: path.stat().st_size)
    damaged.write_bytes(damaged.read_bytes()[:-5])
    again = FeatureFolder(tmp_path)
    assert again.missing(["one", "two", "three"]) == ["one", "two"]
    assert not damaged.exists()


def test_rows_are_missing_when_their_shard_disappears(tmp_path):
    folder = FeatureFolder(tmp_path)
    folder.write(ROWS)
    next(tmp_path.glob("*.safetensors")).unlink()
    assert folder.read("one") is None
    assert folder.missing(ROWS) == list(ROWS)


def test_a_partial_shard_is_ignored_and_removed_when_its_process_is_dead(tmp_path):
    FeatureFolder(tmp_path).write(ROWS)
    (shard,) = tmp_path.glob("*.safetensors")
    mine = temporary_name()
    host, _, unique = mine.split("-")
    with subprocess.Popen(["true"]) as ended:
        pass
    shutil.copy(shard, tmp_path / f".{host}-{ended.pid}-{unique}")
    shard.rename(tmp_path / f".{mine}")
    assert FeatureFolder(tmp_path).missing(ROWS) == list(ROWS)
    assert [path.name for path in tmp_path.iterdir()] == [f".{mine}"]


def test_a_folder_that_cannot_be_created_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="Cannot write to"):
        FeatureFolder(tmp_path / "file" / "features")


def test_a_shard_that_cannot_be_opened_is_not_removed(tmp_path):
    FeatureFolder(tmp_path / "disk").write(ROWS)
    (shard,) = (tmp_path / "disk").glob("*.safetensors")
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / shard.name).symlink_to(shard)
    (tmp_path / "disk").rename(tmp_path / "unmounted")
    assert FeatureFolder(tmp_path / "f").missing(ROWS) == list(ROWS)
    (tmp_path / "unmounted").rename(tmp_path / "disk")
    assert FeatureFolder(tmp_path / "f").missing(ROWS) == []


def test_a_full_disk_is_one_clear_error_and_leaves_no_partial_file(tmp_path):
    features, before = FeatureFolder(tmp_path / "f"), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, before[1]))
    try:
        with pytest.raises(StoreError, match="No space left while writing to"):
            features.write(ROWS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "f").iterdir()) == []
    assert features.missing(ROWS) == list(ROWS)


def test_the_key_depends_on_media_and_preprocessing_but_not_on_prompt_and_transcript(
    toy_samples, toy_store
):
    sample, other = toy_samples(toy_store, 2)
    config = InputConfig(max_pixels=64 * 64)
    other_prompt = InputConfig(max_pixels=64 * 64, prompt="paper", transcript=False)
    assert feature_key(sample, config) == feature_key(sample, other_prompt)
    assert feature_key(sample, config) == feature_key(replace(sample, label=1), config)
    transcribed = replace(
        sample, transcript="other", transcript_before="other", content_digest="other"
    )
    assert feature_key(sample, config) == feature_key(transcribed, config)
    assert feature_key(sample, config) != feature_key(replace(sample, media_digest="other"), config)
    assert feature_key(sample, config) != feature_key(other, config)
    assert feature_key(sample, config) != feature_key(sample, InputConfig(fps=1))
    assert feature_key(sample, config) != feature_key(sample, InputConfig(audio=False))
