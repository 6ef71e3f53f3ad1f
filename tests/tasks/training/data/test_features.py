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


def test_what_one_process_writes_another_reads(tmp_path):
    FeatureFolder(tmp_path / "f").write(ROWS)
    again = FeatureFolder(tmp_path / "f")
    assert again.missing(["one", "three", "two", "three"]) == ["three"]
    for key, row in ROWS.items():
        read = again.read(key)
        assert read is not None
        assert read.keys() == row.keys()
        assert all(torch.equal(read[name], row[name]) for name in row)
        assert all(read[name].dtype == row[name].dtype for name in row)


def test_a_broken_shard_is_removed_and_its_rows_are_missing_again(tmp_path):
    FeatureFolder(tmp_path).write(ROWS)
    FeatureFolder(tmp_path).write({"three": ROWS["two"]})
    broken = max(tmp_path.glob("*.safetensors"), key=lambda path: path.stat().st_size)
    broken.write_bytes(broken.read_bytes()[:-5])
    again = FeatureFolder(tmp_path)
    assert again.missing(["one", "two", "three"]) == ["one", "two"]
    assert not broken.exists()


def test_a_shard_that_goes_while_it_is_used_makes_its_rows_missing(tmp_path):
    folder = FeatureFolder(tmp_path)
    folder.write(ROWS)
    next(tmp_path.glob("*.safetensors")).unlink()
    assert folder.read("one") is None
    assert folder.missing(ROWS) == list(ROWS)


def test_an_unfinished_shard_is_not_read_and_goes_once_its_process_is_dead(tmp_path):
    FeatureFolder(tmp_path).write(ROWS)
    (whole,) = tmp_path.glob("*.safetensors")
    mine = temporary_name()
    host, _, unique = mine.split("-")
    with subprocess.Popen(["true"]) as ended:
        pass
    shutil.copy(whole, tmp_path / f".{host}-{ended.pid}-{unique}")
    whole.rename(tmp_path / f".{mine}")
    assert FeatureFolder(tmp_path).missing(ROWS) == list(ROWS)
    assert [path.name for path in tmp_path.iterdir()] == [f".{mine}"]


def test_a_folder_that_cannot_be_made_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="Cannot write to"):
        FeatureFolder(tmp_path / "file" / "features")


def test_a_shard_that_cannot_be_opened_now_is_left_as_it_is(tmp_path):
    FeatureFolder(tmp_path / "disk").write(ROWS)
    (shard,) = (tmp_path / "disk").glob("*.safetensors")
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / shard.name).symlink_to(shard)
    (tmp_path / "disk").rename(tmp_path / "taken away")
    assert FeatureFolder(tmp_path / "f").missing(ROWS) == list(ROWS)
    (tmp_path / "taken away").rename(tmp_path / "disk")
    assert FeatureFolder(tmp_path / "f").missing(ROWS) == []


def test_a_full_disk_is_told_in_a_sentence_and_leaves_nothing_half_written(tmp_path):
    features, before = FeatureFolder(tmp_path / "f"), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, before[1]))
    try:
        with pytest.raises(StoreError, match="No space left while writing to"):
            features.write(ROWS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "f").iterdir()) == []
    assert features.missing(ROWS) == list(ROWS)


def test_the_key_follows_content_and_what_is_shown_but_not_the_question(toy_samples, toy_store):
    sample, other = toy_samples(toy_store, 2)
    shown = InputConfig(max_pixels=64 * 64)
    asked = InputConfig(max_pixels=64 * 64, prompt="paper", transcript=False)
    assert feature_key(sample, shown) == feature_key(sample, asked)
    assert feature_key(sample, shown) == feature_key(replace(sample, label=1), shown)
    transcribed = replace(
        sample, transcript="other", transcript_before="other", content_digest="other"
    )
    assert feature_key(sample, shown) == feature_key(transcribed, shown)
    assert feature_key(sample, shown) != feature_key(replace(sample, media_digest="other"), shown)
    assert feature_key(sample, shown) != feature_key(other, shown)
    assert feature_key(sample, shown) != feature_key(sample, InputConfig(fps=1))
    assert feature_key(sample, shown) != feature_key(sample, InputConfig(audio=False))
