"""The folder for ms-swift: its rows, and its script when a shell runs it."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from storage.errors import StageError, StoreError
from storage.store.atomic import atomic_folder
from storage.store.store import Store
from tasks.labels.class_plan import ClassRule, plan_classes
from tasks.ms_swift.export import write_swift_folder
from tasks.ms_swift.source import TrainingSource
from tasks.prompting.model_input import InputConfig
from tasks.training.settings import FinetuneResources, TrainingSettings

# Records its call in place of ms-swift's program.
RECORDER = """#!/usr/bin/env python3
import json, os, sys
call = {"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}
open(os.environ["CALL"], "w").write(json.dumps(call))
"""


@pytest.fixture(scope="module")
def stored(tmp_path_factory, toy_samples):
    store = Store(str(tmp_path_factory.mktemp("swift") / "a store"))
    return store, labeled(toy_samples(store, 10))


def labeled(rows):
    """The first row is in no split, every third one in val."""
    return [
        replace(
            row,
            split=None if index == 0 else ("val" if index % 3 == 2 else "train"),
            label=int(index % 4 == 1),
            label_source="intervals",
            in_training=index > 0 and index % 3 != 2,
        )
        for index, row in enumerate(rows)
    ]


def source_of(store, samples, model: Path, rule=None, **settings) -> TrainingSource:
    training = {"batch_size": 4, "epochs": 2.0, **settings}
    return TrainingSource(
        store=store,
        samples=samples,
        plan=plan_classes(samples, rule or ClassRule(sampling="natural")),
        settings=TrainingSettings(**training),
        config=InputConfig(),
        resources=FinetuneResources(device="cpu", num_processes=1),
        model=str(model),
    )


def write(source: TrainingSource, out: Path) -> list[str]:
    with atomic_folder(out) as folder:
        return write_swift_folder(folder, source, out)


def rows_of(path: Path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_only_training_and_validation_rows_are_written(stored, tiny_omni, tmp_path):
    store, samples = stored
    lines = write(source_of(store, samples, tiny_omni), tmp_path / "out")
    train, val = (rows_of(tmp_path / "out" / f"{name}.jsonl") for name in ("train", "val"))
    expected = [row.video_path for row in samples if row.in_training]
    assert [Path(row["videos"][0]) for row in train] == [
        Path(store.full_path(path)) for path in expected
    ]
    assert len(val) == sum(row.split == "val" for row in samples)
    media = [path for row in train + val for path in row["videos"] + row["audios"]]
    assert all(Path(path).is_absolute() and Path(path).is_file() for path in media)
    assert lines[0].startswith(f"{len(train)} training rows and {len(val)} validation rows")
    assert "lowest loss" in " ".join(lines)


def test_the_script_calls_ms_swift_in_its_folder_with_the_settings(stored, tiny_omni, tmp_path):
    out, call_path = tmp_path / "an out", tmp_path / "call.json"
    write(source_of(*stored, tiny_omni, learning_rate=3e-4), out)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "swift").write_text(RECORDER)
    (tmp_path / "bin" / "swift").chmod(0o755)
    paths = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": paths, "CALL": str(call_path)}
    subprocess.run([str(out / "train.sh")], env=environment, check=True, cwd="/")
    call = json.loads(call_path.read_text())
    assert (call["folder"], call["arguments"][0]) == (str(out), "sft")
    options = dict(zip(call["arguments"], call["arguments"][1:], strict=False))
    assert (options["--dataset"], options["--val_dataset"]) == ("train.jsonl", "val.jsonl")
    assert options["--learning_rate"] == "0.0003"
    assert options["--max_steps"] == "3"  # 2 epochs of 6 rows, 4 per step
    assert options["--model"] == str(tiny_omni)
    assert options["--target_modules"] == "thinker.model.layers.0.self_attn.k_proj"
    assert json.loads(options["--lr_scheduler_kwargs"])["power"] == 1.0
    assert call["environment"]["FPS"] == "2.0"


def test_without_validation_there_are_no_rows_for_it(stored, tiny_omni, tmp_path):
    write(source_of(*stored, tiny_omni, validation=False), tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["train.jsonl", "train.sh"]
    script = (tmp_path / "out" / "train.sh").read_text()
    assert "--eval_strategy no" in script
    assert "val.jsonl" not in script


def test_sampling_and_class_weights_are_in_the_rows_and_described(stored, tiny_omni, tmp_path):
    store, samples = stored
    balanced = source_of(store, samples, tiny_omni, ClassRule(sampling="balanced"))
    lines = write(balanced, tmp_path / "balanced")
    answers = [
        row["messages"][1]["content"] for row in rows_of(tmp_path / "balanced" / "train.jsonl")
    ]
    assert answers.count("Yes") == answers.count("No")
    assert "rows of the rarer class are repeated" in " ".join(lines)
    rule = ClassRule(class_weights="balanced", sampling="natural")
    lines = write(source_of(store, samples, tiny_omni, rule), tmp_path / "weights")
    rows = rows_of(tmp_path / "weights" / "train.jsonl")
    scales = {row["messages"][1]["content"]: row["messages"][1]["loss_scale"] for row in rows}
    assert scales["Yes"] > 1 > scales["No"]
    assert "loss_scale" in " ".join(lines)
    assert "--is_binary_loss_scale false" in (tmp_path / "weights" / "train.sh").read_text()


def test_media_of_a_remote_store_are_copied(toy_samples, tiny_omni, tmp_path):
    store = Store("memory://swift export")
    samples = labeled(toy_samples(store, 8))
    write(source_of(store, samples, tiny_omni, validation=False), tmp_path / "out")
    rows = rows_of(tmp_path / "out" / "train.jsonl")
    paths = [Path(row["videos"][0]) for row in rows]
    expected = [row.video_path for row in samples if row.in_training]
    assert all(path.is_relative_to(tmp_path / "out" / "media") for path in paths)
    assert [path.read_bytes() for path in paths] == [store.open(p).read() for p in expected]


def test_invalid_samples_write_nothing(toy_samples, tiny_omni, tmp_path):
    store = Store(str(tmp_path / "store"))
    samples = labeled(toy_samples(store, 6))
    unlabeled = [replace(row, label=None, in_training=False) for row in samples]
    with pytest.raises(StageError, match="split 'train'"):
        write(source_of(store, unlabeled, tiny_omni), tmp_path / "out")
    store.remove(samples[1].video_path)
    with pytest.raises(StoreError, match=r"1 of \d+ media files of segments are missing"):
        write(source_of(store, samples, tiny_omni), tmp_path / "out")
    assert not (tmp_path / "out").exists()
