"""Complete trainings on the small base model, in this process."""

import json
import os
import signal
from contextlib import ExitStack
from dataclasses import replace

import pytest

from storage.errors import ModelError, StageError
from tasks.labels.class_plan import ClassRule, plan_classes
from tasks.prompting.model_input import build_input, to_model_batch
from tasks.training.data.samples import SampleOrder
from tasks.training.job import (
    MODEL_FOLDER,
    curve_path_of,
    read_job,
    read_result,
    read_validation_predictions,
)
from tasks.training.tracking.curve import read_curve
from tests.tasks.training.together import train_launched

pytestmark = pytest.mark.slow


def run(job_path):
    lines = []
    run_here(job_path, lines.append)
    return (*read_result(job_path.parent), lines)


def run_here(job_path, report):
    from accelerate.state import AcceleratorState

    from tasks.training.run import run_job

    AcceleratorState._reset_state(reset_partial_state=True)  # usually one process runs one training
    run_job(job_path, report)


def logits(thinker, processor, store, samples):
    """Logits of the answer's position [samples, vocabulary], by transformers' forward."""
    import torch

    from tasks.prompting.model_input import InputConfig

    config = InputConfig(max_pixels=64 * 64)
    inputs = []
    for sample in samples:
        with ExitStack() as files:
            video = files.enter_context(store.open(sample.video_path))
            audio = sample.audio_path and files.enter_context(store.open(sample.audio_path))
            inputs.append(
                build_input(config, video=video, audio=audio, transcript=sample.transcript)
            )
    with torch.no_grad():
        return thinker.eval()(**to_model_batch(processor, inputs)).logits[:, -1]


def open_model(folder):
    from transformers import AutoProcessor, Qwen3OmniMoeForConditionalGeneration

    top = Qwen3OmniMoeForConditionalGeneration.from_pretrained(folder)
    return top.thinker, AutoProcessor.from_pretrained(folder)


def experts_outputs(text):
    """The outputs of each layer's experts for the same states, which are routed to all of them."""
    import torch

    states = torch.randn(32, text.config.hidden_size, generator=torch.Generator().manual_seed(0))
    routes = torch.stack([torch.arange(32) % 8, (torch.arange(32) + 3) % 8], dim=1)
    assert text.config.num_experts == 8
    with torch.no_grad():
        weights = torch.full((32, 2), 0.5)
        return [layer.mlp.experts(states, routes, weights) for layer in text.layers]


def largest_changes(before, after):
    """The largest change of a parameter in each part of the model."""
    from tasks.training.model.trainable import part_of

    changes: dict[str, float] = {}
    old = before.state_dict()
    for name, weights in after.state_dict().items():
        change = float((weights - old[name]).abs().max())
        changes[part_of(name)] = max(change, changes.get(part_of(name), 0.0))
    return changes


def test_lora_learns_and_adapter_and_merged_model_predict_alike(
    make_job, toy_store, labeled, tiny_omni
):
    from peft import PeftModel

    job_path = make_job("lora", steps=12, eval_steps=4)
    result, log, lines = run(job_path)
    folder = job_path.parent / MODEL_FOLDER
    base, processor = open_model(tiny_omni)
    merged, saved_processor = open_model(folder / "merged")
    changes = largest_changes(base, merged)
    untrained, inside_merged = experts_outputs(base.model), experts_outputs(merged.model)
    adapted = PeftModel.from_pretrained(base, folder / "adapter")
    inside_adapted = experts_outputs(adapted.base_model.model.model)
    for before, after, after_merge in zip(untrained, inside_adapted, inside_merged, strict=True):
        assert (after - before).abs().max() > 1e-4
        assert (after - after_merge).abs().max() < 1e-6

    samples = labeled[:6]
    found = logits(adapted, processor, toy_store, samples)
    assert (found - logits(merged, saved_processor, toy_store, samples)).abs().max() < 1e-5
    with adapted.disable_adapter():
        assert (found - logits(adapted, processor, toy_store, samples)).abs().max() > 1e-2
    assert {part for part, change in changes.items() if change > 0} == {"attention", "experts"}

    assert [row.step for row in log] == list(range(1, 13))
    assert [row.step for row in log if row.val_loss is not None] == [4, 8, 12]
    assert result.best_step in (4, 8, 12)
    assert min(row.loss for row in log[6:]) < log[0].loss
    assert json.loads((folder / "trained.json").read_text()) == result.trained
    settings = json.loads((folder / "settings.json").read_text())
    assert (settings["training"]["steps"], settings["max_words_before"]) == (12, 7)
    assert len({path.stat().st_mode for path in folder.rglob("*.*")}) == 1  # weights too
    names = sorted(path.name for path in (folder / "adapter").iterdir())
    assert names == ["adapter_config.json", "adapter_model.safetensors"]
    assert list((folder / "events").glob("events.out.tfevents.*"))
    assert read_curve(curve_path_of(job_path)).percent == 100
    assert lines[0].startswith("lora trains ")
    assert "experts" in lines[0]
    assert any("step 12/12 loss" in line and "macro F1" in line for line in lines)
    assert not any(sample.segment_id in line for sample in labeled for line in lines)


def test_full_fine_tuning_saves_the_weights_it_evaluated(make_job, toy_store, labeled, tiny_omni):
    import torch

    job_path = make_job("full", method="full", learning_rate=5e-4)
    result, log, _ = run(job_path)
    folder = job_path.parent / MODEL_FOLDER
    assert not (folder / "adapter").exists()
    thinker, processor = open_model(folder / "merged")
    changes = largest_changes(open_model(tiny_omni)[0], thinker)
    assert {"vision", "audio", "projector"} == {p for p, change in changes.items() if change == 0}

    val = [sample for sample in labeled if sample.split == "val"]
    yes, no = (processor.tokenizer.convert_tokens_to_ids(word) for word in ("Yes", "No"))
    targets = torch.tensor([yes if sample.label else no for sample in val])
    found = logits(thinker, processor, toy_store, val)
    loss = float(torch.nn.functional.cross_entropy(found, targets))
    assert log[result.best_step - 1].val_loss == pytest.approx(loss, rel=1e-5)
    predicted = {row.segment_id: row.p_ah for row in read_validation_predictions(job_path.parent)}
    p_ah = found[:, [no, yes]].softmax(-1)[:, 1].tolist()
    assert predicted == pytest.approx(
        dict(zip([sample.segment_id for sample in val], p_ah, strict=True)), abs=1e-5
    )


def test_micro_batches_train_like_a_full_batch_and_another_seed_does_not(
    make_job, labeled, toy_store, tiny_omni
):
    plan = [
        replace(row, weight=(0.5, 2.5)[row.label]) for row in plan_classes(labeled, ClassRule())
    ]
    settings = {"steps": 3, "batch_size": 6, "plan": plan}
    full = run(make_job("full batch", **settings))[1]
    micro = run(make_job("micro-batches", resources={"micro_batch_size": 4}, **settings))[1]
    other = run(make_job("other", seed=1, **settings))[1]
    assert [row.loss for row in micro] == pytest.approx([row.loss for row in full], rel=1e-4)
    assert micro[-1].val_loss == pytest.approx(full[-1].val_loss, rel=1e-4)
    assert other[1].loss != pytest.approx(full[1].loss, rel=1e-4)
    check_first_loss(full[0].loss, labeled, toy_store, tiny_omni)


def check_first_loss(loss, labeled, store, base):
    """Compare with the weighted mean of the base's losses on the first batch."""
    import torch

    train = [sample for sample in labeled if sample.in_training]
    order = SampleOrder([s.label for s in train], batch_size=6, seed=0, balanced=True)
    samples = [train[index] for index in order.batch(1)]
    thinker, processor = open_model(base)
    yes, no = (processor.tokenizer.convert_tokens_to_ids(word) for word in ("Yes", "No"))
    targets = torch.tensor([yes if sample.label else no for sample in samples])
    found = logits(thinker, processor, store, samples)
    losses = torch.nn.functional.cross_entropy(found, targets, reduction="none").tolist()
    weights = [2.5 if sample.label else 0.5 for sample in samples]
    total = sum(w * each for w, each in zip(weights, losses, strict=True))
    assert loss == pytest.approx(total / sum(weights), rel=1e-4)


def test_a_training_killed_twice_has_the_curve_of_an_uninterrupted_one(make_job):
    settings = {"steps": 6, "eval_steps": 1, "parts": ("attention", "experts", "router")}
    expected, curve, _ = run(make_job("uninterrupted", **settings))
    job_path = make_job("killed", resources={"checkpoint_seconds": 0}, **settings)
    kill(job_path, at_line="step 3/6")  # before its checkpoint
    kill(job_path, in_checkpoint="step-000005.tmp")  # written and not yet renamed
    result, log, lines = run(job_path)
    assert any("resuming after step 4 of 6" in line for line in lines)
    assert without_times(log) == without_times(curve)
    assert result == expected


def without_times(log):
    return [replace(row, seconds=1.0, wait_seconds=0.0) for row in log]


def kill(job_path, at_line="nowhere", in_checkpoint="none"):
    """Run a job in a forked process that kills itself there with SIGKILL."""
    child = os.fork()
    if child == 0:
        from tasks.training.checkpoints import checkpoints

        replace_folder = checkpoints.replace_folder

        def die(now):
            if now:
                os.kill(os.getpid(), signal.SIGKILL)

        def replace_or_die(temporary, path):
            die(temporary.name == in_checkpoint)
            replace_folder(temporary, path)

        checkpoints.replace_folder = replace_or_die
        try:
            run_here(job_path, lambda line: die(line.startswith(at_line)))
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the process was not killed as planned"


def test_training_stops_early_without_improvement(make_job):
    settings = {"steps": 20, "eval_steps": 1, "patience": 2, "metric": "loss"}
    result, log, _ = run(make_job("patience", learning_rate=1e-9, warmup_steps=19, **settings))
    later = [row.val_loss for row in log[result.best_step :]]
    assert result.num_steps == len(log) < 20
    assert len(later) == 2
    assert min(later) >= log[result.best_step - 1].val_loss


def test_without_validation_the_last_weights_are_saved(make_job):
    job_path = make_job("unvalidated", steps=2, validation=False)
    result, log, _ = run(job_path)
    assert read_validation_predictions(job_path.parent) == []
    assert result.best_step == 2
    assert all(row.val_loss is None for row in log)


def test_bfloat16_trains_and_saves_bfloat16(make_job):
    job_path = make_job("bfloat16", steps=2, precision="bfloat16")
    _, log, _ = run(job_path)
    assert all(0 < row.loss < 20 for row in log)
    config = json.loads((job_path.parent / MODEL_FOLDER / "merged" / "config.json").read_text())
    assert config["dtype"] == "bfloat16"


def test_divergence_stops_the_training_with_the_step_and_advice(make_job):
    job_path = make_job("diverging", method="full", learning_rate=1e30, steps=20)
    with pytest.raises(StageError, match=r"diverged at step \d+: .* finetune.learning_rate"):
        run(job_path)
    assert not (job_path.parent / "result.json").exists()


def test_a_base_with_unreadable_weights_is_an_error(make_job, tiny_omni, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in tiny_omni.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    (broken / "model.safetensors").write_bytes(b"not weights")
    job_path = make_job("broken base")
    job, _ = read_job(job_path)
    job_path.write_text(job.model_copy(update={"model_path": broken}).model_dump_json())
    with pytest.raises(ModelError, match="cannot be opened"):
        run(job_path)


@pytest.mark.gpu
def test_a_training_on_a_gpu_has_the_losses_of_one_on_the_cpu(make_job):
    _, expected, _ = run(make_job("cpu", steps=3))
    log = train_launched(make_job("gpu", {"device": "auto", "num_processes": 1}, steps=3))
    assert [row.loss for row in log] == pytest.approx([row.loss for row in expected], rel=1e-3)
    assert [row.grad_norm for row in log] == pytest.approx(
        [row.grad_norm for row in expected], rel=1e-2
    )
