"""The folder for ms-swift: its rows, and its script as a shell and the program see it."""

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

# Writes down what it was called with, where the program ms-swift would be found.
LISTENER = """#!/usr/bin/env python3
import json, os, sys
told = {"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}
open(os.environ["TOLD"], "w").write(json.dumps(told))
"""


@pytest.fixture(scope="module")
def stored(tmp_path_factory, toy_samples):
    store = Store(str(tmp_path_factory.mktemp("swift") / "a store"))
    return store, labelled(toy_samples(store, 10))


def labelled(rows):
    """The first row is of nobody's side, every third validates."""
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
    chosen = {"batch_size": 4, "epochs": 2.0, **settings}
    return TrainingSource(
        store=store,
        samples=samples,
        plan=plan_classes(samples, rule or ClassRule(sampling="natural")),
        settings=TrainingSettings(**chosen),
        config=InputConfig(),
        resources=FinetuneResources(device="cpu", num_processes=1),
        model=str(model),
    )


def written(source: TrainingSource, out: Path) -> list[str]:
    with atomic_folder(out) as folder:
        return write_swift_folder(folder, source, out)


def rows_of(path: Path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_that_train_and_validate_are_written_and_no_others(stored, tiny_omni, tmp_path):
    store, samples = stored
    message = written(source_of(store, samples, tiny_omni), tmp_path / "out")
    train, val = (rows_of(tmp_path / "out" / f"{name}.jsonl") for name in ("train", "val"))
    expected = [row.video_path for row in samples if row.in_training]
    assert [Path(row["videos"][0]) for row in train] == [
        Path(store.full_path(path)) for path in expected
    ]
    assert len(val) == sum(row.split == "val" for row in samples)
    media = [location for row in train + val for location in row["videos"] + row["audios"]]
    assert all(Path(location).is_absolute() and Path(location).is_file() for location in media)
    assert message[0].startswith(f"{len(train)} rows to train on, {len(val)} to validate on")
    assert "lowest loss" in " ".join(message)


def test_the_script_calls_ms_swift_in_its_folder_with_the_settings(stored, tiny_omni, tmp_path):
    out, message = tmp_path / "an out", tmp_path / "told.json"
    written(source_of(*stored, tiny_omni, learning_rate=3e-4), out)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "swift").write_text(LISTENER)
    (tmp_path / "bin" / "swift").chmod(0o755)
    paths = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": paths, "TOLD": str(message)}
    subprocess.run([str(out / "train.sh")], env=environment, check=True, cwd="/")
    heard = json.loads(message.read_text())
    assert (heard["folder"], heard["arguments"][0]) == (str(out), "sft")
    message = dict(zip(heard["arguments"], heard["arguments"][1:], strict=False))
    assert (message["--dataset"], message["--val_dataset"]) == ("train.jsonl", "val.jsonl")
    assert message["--learning_rate"] == "0.0003"
    assert message["--max_steps"] == "3"  # 6 rows twice, 4 a step
    assert message["--model"] == str(tiny_omni)
    assert message["--target_modules"] == "thinker.model.layers.0.self_attn.k_proj"
    assert json.loads(message["--lr_scheduler_kwargs"])["power"] == 1.0
    assert heard["environment"]["FPS"] == "2.0"


def test_without_validation_there_are_no_rows_for_it(stored, tiny_omni, tmp_path):
    written(source_of(*stored, tiny_omni, validation=False), tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["train.jsonl", "train.sh"]
    script = (tmp_path / "out" / "train.sh").read_text()
    assert "--eval_strategy no" in script
    assert "val.jsonl" not in script


def test_what_classes_count_goes_into_the_rows_and_is_said(stored, tiny_omni, tmp_path):
    store, samples = stored
    turns = source_of(store, samples, tiny_omni, ClassRule(sampling="balanced"))
    message = written(turns, tmp_path / "turns")
    answers = [row["messages"][1]["content"] for row in rows_of(tmp_path / "turns" / "train.jsonl")]
    assert answers.count("Yes") == answers.count("No")
    assert "rarer class's rows are repeated" in " ".join(message)
    rule = ClassRule(class_weights="balanced", sampling="natural")
    message = written(source_of(store, samples, tiny_omni, rule), tmp_path / "weights")
    rows = rows_of(tmp_path / "weights" / "train.jsonl")
    scales = {row["messages"][1]["content"]: row["messages"][1]["loss_scale"] for row in rows}
    assert scales["Yes"] > 1 > scales["No"]
    assert "loss_scale" in " ".join(message)
    assert "--is_binary_loss_scale false" in (tmp_path / "weights" / "train.sh").read_text()


def test_media_of_a_remote_store_are_copied(toy_samples, tiny_omni, tmp_path):
    store = Store("memory://swift export")
    samples = labelled(toy_samples(store, 8))
    written(source_of(store, samples, tiny_omni, validation=False), tmp_path / "out")
    rows = rows_of(tmp_path / "out" / "train.jsonl")
    paths = [Path(row["videos"][0]) for row in rows]
    expected = [row.video_path for row in samples if row.in_training]
    assert all(path.is_relative_to(tmp_path / "out" / "media") for path in paths)
    assert [path.read_bytes() for path in paths] == [store.open(p).read() for p in expected]


def test_what_cannot_be_trained_on_writes_nothing(toy_samples, tiny_omni, tmp_path):
    store = Store(str(tmp_path / "store"))
    samples = labelled(toy_samples(store, 6))
    unlabelled = [replace(row, label=None, in_training=False) for row in samples]
    with pytest.raises(StageError, match="split 'train'"):
        written(source_of(store, unlabelled, tiny_omni), tmp_path / "out")
    store.remove(samples[1].video_path)
    with pytest.raises(StoreError, match=r"1 of \d+ segments' media are gone"):
        written(source_of(store, samples, tiny_omni), tmp_path / "out")
    assert not (tmp_path / "out").exists()
