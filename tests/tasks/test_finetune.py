"""The stage as the pipeline runs it: a child process under accelerate's launcher."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from storage.datasets.erased import digest_of_participant, salt_of
from storage.errors import ModelError, StageError, ToolError
from storage.fingerprint import digest_of
from storage.results import ModelRecord, TrainingStepRecord
from storage.store.store import Store
from storage.store.variant import open_variant
from tasks.finetune import (
    FinetuneConfig,
    FinetuneResources,
    best_seed,
    expected_items,
    finetune_models,
    folder_name,
    trained_on,
    variant_of,
)
from tasks.labels.class_plan import ClassRule, plan_classes
from tasks.model.model_folder import check_model, fingerprint_of
from tasks.prompting.model_input import InputConfig
from tasks.stage import Shard
from tasks.training.paths import work_path_of
from tasks.training.selection import digest_samples
from tests.builders import a_model
from tests.tasks.training.together import train_alone

RESOURCES = FinetuneResources(device="cpu", num_threads=1, checkpoint_seconds=0)
INPUT = InputConfig(max_pixels=64 * 64)
RUN_STAGE = """
import pickle, sys
from tasks.finetune import finetune_models
finetune_models.fn(*pickle.loads(open(sys.argv[1], "rb").read()))
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(str(tmp_path_factory.mktemp("finetune") / "a store"))


@pytest.fixture(scope="module")
def samples(store, toy_samples):
    return labeled(toy_samples(store, 12))


def labeled(rows):
    return [
        replace(
            row,
            split="val" if index % 3 == 2 else "train",
            label=int(index % 4 == 0),
            label_source="intervals",
            in_training=index % 3 != 2,
        )
        for index, row in enumerate(rows)
    ]


def config_of(model: Path, **settings) -> FinetuneConfig:
    fast = {"precision": "float32", "steps": 12, "batch_size": 4, "eval_steps": 4}
    return FinetuneConfig.model_validate(
        {**fast, "model": str(model), "learning_rate": 3e-3, "warmup_steps": 2, **settings}
    )


def variant_for(store, config):
    fingerprint = fingerprint_of(check_model(config.model))
    return variant_of(store, config, INPUT, base_fingerprint=fingerprint)


def plan_of(samples):
    """Balanced sampling with class weights."""
    return tuple(
        replace(row, weight=(0.5, 2.5)[row.label]) for row in plan_classes(samples, ClassRule())
    )


def arguments(store, samples, config):
    plan = plan_of(samples)
    shard = Shard(name="1 of 1", expected=expected_items(samples, plan, config))
    return shard, samples, plan, config, INPUT, RESOURCES, variant_for(store, config)


def losses(store, samples, config) -> list[float]:
    expected = expected_items(samples, plan_of(samples), config)
    rows = variant_for(store, config).read(TrainingStepRecord, expected)
    return [row.loss for row in sorted(rows, key=lambda row: row.step)]


def test_the_variant_depends_on_every_setting_but_the_path_of_the_base(store):
    def variant_id(model="a", **settings):
        config = config_of(Path(model), **settings)
        return variant_of(store, config, INPUT, base_fingerprint="f").variant_id

    assert variant_id(model="elsewhere") == variant_id()
    others = {
        variant_id(rank=4),
        variant_id(alpha=1),
        variant_id(method="full"),
        variant_of(store, config_of(Path("a")), InputConfig(), base_fingerprint="f").variant_id,
        variant_of(store, config_of(Path("a")), INPUT, base_fingerprint="g").variant_id,
    }
    assert len(others - {variant_id()}) == 5


def test_another_trainer_makes_another_variant_and_waver_is_not_named(store):
    def variant(**settings):
        return variant_of(store, config_of(Path("a"), **settings), INPUT, base_fingerprint="f")

    by_loss = {"metric": "loss"}
    assert variant(trainer="waver", **by_loss).variant_id == variant(**by_loss).variant_id
    assert variant(trainer="ms-swift", **by_loss).variant_id != variant(**by_loss).variant_id
    identity = store.open(variant(**by_loss).identity_path).read().decode()
    assert '"trainer"' not in identity


def test_missing_ms_swift_is_reported_before_a_child_starts(
    store, samples, tiny_omni, tmp_path, monkeypatch
):
    monkeypatch.setattr("tasks.finetune.run_training", lambda *_: pytest.fail("a child started"))
    config = config_of(tiny_omni, trainer="ms-swift", metric="loss")
    resources = RESOURCES.model_copy(update={"swift_command": str(tmp_path / "swift")})
    inputs = list(arguments(store, samples, config))
    inputs[5] = resources
    with pytest.raises(ToolError, match=r"no program .*pip install ms-swift"):
        finetune_models.fn(*inputs)


def test_each_seed_is_an_item_of_one_variant_whatever_the_shard_size(store):
    one, two = config_of(Path("a"), seed=1), config_of(Path("a"), seeds=[0, 1])
    kept = config_of(Path("a"), seed=1, max_shard_gib=1)
    variants = {variant_of(store, c, INPUT, base_fingerprint="f").variant_id for c in (one, two)}
    assert variants == {variant_of(store, kept, INPUT, base_fingerprint="f").variant_id}
    assert (list(expected_items([], (), two)), list(expected_items([], (), one))) == (
        ["seed 0", "seed 1"], ["seed 1"],
    )  # fmt: skip
    assert expected_items([], (), one)["seed 1"] == expected_items([], (), two)["seed 1"]
    with pytest.raises(ValidationError, match="each seed may be listed once"):
        config_of(Path("a"), seeds=[1, 1])


def test_the_best_seed_is_chosen_by_the_metric_with_ties_broken_by_the_loss():
    def chosen(metrics, **settings):
        models = {
            seed: a_model(val_loss=loss, val_macro_f1=f1, val_average_precision=ap)
            for seed, (loss, f1, ap) in metrics.items()
        }
        return best_seed(models, config_of(Path("a"), seeds=list(metrics), **settings))

    metrics = {7: (0.5, 0.8, 0.7), 8: (0.4, 0.8, 0.6), 9: (0.3, 0.6, 0.9)}
    assert chosen(metrics) == 8
    assert chosen(metrics, metric="average_precision") == 9
    assert chosen(metrics, metric="loss") == 9
    assert chosen(dict.fromkeys((3, 4), (None, None, None)), validation=False) == 3


def test_participants_of_a_model_are_listed_by_salted_digests(store, samples):
    owners = ["ann", "ann", None, "bob"]
    rows = [replace(row, participant_id=owner) for row, owner in zip(samples, owners, strict=False)]
    salt = salt_of(store)
    ann, bob = (digest_of_participant(salt_of(Store(store.url)), name) for name in ("ann", "bob"))
    listed = {
        (row.participant_digest, row.split): row.num_samples for row in trained_on(rows, salt)
    }
    assert listed == {(ann, "train"): 2, (bob, "train"): 1}
    assert not {ann, bob} & {digest_of("ann"), digest_of("bob")}


def test_an_unknown_setting_is_rejected():
    with pytest.raises(ValidationError, match="learning_rat"):
        FinetuneConfig.model_validate({"learning_rat": 1e-3})


@pytest.mark.parametrize("missing", ["split", "model"])
def test_invalid_input_is_rejected_before_a_child_starts(
    store, samples, tmp_path, tiny_omni, missing
):
    variant = open_variant(store, "finetune", version=1, settings={})
    config = config_of(tmp_path / "nowhere" if missing == "model" else tiny_omni)
    rows = (
        [replace(row, split="test", in_training=False) for row in samples]
        if missing == "split"
        else samples
    )
    shard = Shard(name="1 of 1", expected=expected_items(rows, (), config))
    error = StageError if missing == "split" else ModelError
    with pytest.raises(error, match=r"split 'train'|no model folder"):
        finetune_models.fn(shard, rows, (), config, INPUT, RESOURCES, variant)
    assert variant.pending(shard.expected) == ["seed 0"]


@pytest.mark.slow
def test_a_training_killed_in_its_second_seed_resumes_there_with_the_same_losses(
    store, samples, tiny_omni, tmp_path, monkeypatch
):
    hostile = tmp_path / "home" / "accelerate" / "default_config.yaml"
    hostile.parent.mkdir(parents=True)
    hostile.write_text("distributed_type: MULTI_GPU\n")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))

    uninterrupted = config_of(tiny_omni, seed=5)
    with monkeypatch.context() as patch:
        patch.setattr("tasks.training.process.run_child", train_here)
        assert finetune_models.fn(*arguments(store, samples, uninterrupted)).name == "Completed"
    expected = losses(store, samples, uninterrupted)
    shutil.rmtree(store.full_path("finetune"))

    started = arguments(store, samples, config_of(tiny_omni, seeds=[3, 5]))
    work = work_path_of(
        started[-1], digest_samples(samples, uninterrupted, started[2]), 5, RESOURCES
    )
    num_done = kill_after_checkpoint(started, work / "checkpoints", tmp_path)
    assert 0 < num_done < len(expected)
    assert started[-1].pending(started[0].expected) == ["seed 5"]
    messages = []
    monkeypatch.setattr(
        "tasks.training.process.LOGGER.info", lambda *message: messages.append(message)
    )
    assert finetune_models.fn(*started).name == "Completed"
    num_trainings = sum("trains" in str(message) for message in messages)
    assert num_trainings == 1  # the first seed is not trained again
    assert any(f"resuming after step {num_done} of 12" in str(message) for message in messages)
    assert losses(store, samples, uninterrupted) == expected
    assert not work.exists()

    check_cached(started, messages)
    check_model_of(store, started)


def train_here(command, **_) -> None:
    """Train in this process, which saves a child's imports."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(RESOURCES.num_threads)
    train_alone(Path(command[-1]))
    torch.set_num_threads(before)


def kill_after_checkpoint(started, work: Path, tmp_path: Path) -> int:
    """Kill a run after its first checkpoints; returns the step after which it will resume."""
    (tmp_path / "arguments").write_bytes(pickle.dumps(started))
    run = subprocess.Popen([sys.executable, "-c", RUN_STAGE, str(tmp_path / "arguments")])
    until = time.monotonic() + 200
    while not list(work.glob("step-00000[2-6]")) and time.monotonic() < until:
        assert run.poll() is None
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    time.sleep(1)  # its child notices and exits
    steps = sorted(work.glob("step-??????"))
    time.sleep(1)
    assert sorted(work.glob("step-??????")) == steps, "the child outlived its parent"
    return int(steps[-1].name.removeprefix("step-"))


def check_cached(started, messages) -> None:
    """The second run starts no child: it reports nothing and needs no base."""
    messages.clear()
    shard, samples, plan, config, *others = started
    gone = config.model_copy(update={"model": "/gone"})
    assert finetune_models.fn(shard, samples, plan, gone, *others).name == "Cached"
    assert messages == []


def check_model_of(store, started) -> None:
    shard, *_, variant = started
    other, record = variant.read(ModelRecord, shard.expected)
    assert other.model_path != record.model_path
    fingerprint_of(check_model(store.full_path(record.model_path)))
    folder = record.model_path.removesuffix("/merged")
    assert "seed 5" in store.open(f"{folder}/README.md").read().decode()
    assert store.exists(f"{folder}/settings.json")
    assert store.exists(f"{record.adapter_path}/adapter_model.safetensors")
    assert (record.num_train_samples, record.num_val_samples, record.num_steps) == (8, 4, 12)
    assert record.best_step in (4, 8, 12)
    assert 0 < record.num_trained < record.num_parameters
    assert record.val_macro_f1 is not None
    store.remove(f"{record.model_path}/config.json")
    assert variant.pending(shard.expected) == ["seed 5"]


def test_every_training_has_a_folder_of_its_own_which_it_has_again_after_a_kill() -> None:
    steps = [
        TrainingStepRecord(
            step=step, loss=0.5, grad_norm=1.0, learning_rate=1e-3, num_samples=4, seconds=1.5
        )
        for step in (1, 2)
    ]
    slower = [steps[0], replace(steps[1], seconds=1.6)]
    assert folder_name("digest", 0, steps) == folder_name("digest", 0, list(steps))
    names = {
        folder_name("digest", 0, steps), folder_name("digest", 0, slower),
        folder_name("digest", 1, steps), folder_name("another digest", 0, steps),
    }  # fmt: skip
    assert len(names) == 4
