"""Training with a fake of ms-swift, which is not installed here.

The fake takes ms-swift's options and writes the files of ms-swift 4.6 (`logging.jsonl`, checkpoints
with an adapter of the full model) without training. Tested are its input and the use of its output.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from storage.errors import ModelError, StageError
from storage.store.store import Store
from tasks.labels.class_plan import ClassRule, plan_classes
from tasks.prompting.model_input import InputConfig
from tasks.training.job import (
    TrainingJob,
    curve_path_of,
    read_result,
    read_validation_predictions,
    write_job,
)
from tasks.training.settings import FinetuneResources, TrainingSettings

pytestmark = pytest.mark.slow

FAKE_SWIFT = """#!/bin/sh
'''exec' "{python}" "$0" "$@"
' '''
import json, os, pathlib, sys
import numpy as np
from safetensors.numpy import save_file

here = pathlib.Path({folder!r})
num_calls = len(list(here.glob("call-*")))
call = {{"arguments": sys.argv[1:], "environment": dict(os.environ)}}
options = dict(zip(sys.argv[2:], sys.argv[3:]))
call["rows"] = [open(options[name]).read() for name in ("--dataset", "--val_dataset")]
(here / f"call-{{num_calls}}").write_text(json.dumps(call))
output = pathlib.Path(options["--output_dir"])
output.mkdir(parents=True, exist_ok=True)
first = int(options.get("--resume_from_checkpoint", "-0").rpartition("-")[2]) + 1
last, every = int(options["--max_steps"]), int(options["--save_steps"])
shapes = json.loads((here / "shapes.json").read_text())
for step in range(first, last + 1):
    line = {{"loss": {loss}, "grad_norm": 1.0, "learning_rate": 0.1, "train_speed(s/it)": 0.1,
            "global_step/max_steps": f"{{step}}/{{last}}"}}
    with (output / "logging.jsonl").open("a") as stream:
        stream.write(json.dumps(line) + "\\n")
    if step % every == 0 or step == last:
        checkpoint = output / f"checkpoint-{{step}}"
        checkpoint.mkdir(exist_ok=True)
        tensors = {{n: np.full(s, step / 1000, "float32") for n, s in shapes.items()}}
        save_file(tensors, checkpoint / "adapter_model.safetensors")
        best = str(output / f"checkpoint-{{every}}")
        state = json.dumps({{"best_model_checkpoint": best}})
        (checkpoint / "args.json").write_text('{{"swift_version": "4.6.0", "seed": 0}}')
        (checkpoint / "trainer_state.json").write_text(state)
    if step == 3 and (here / "fails").exists():
        (here / "fails").unlink()
        sys.exit("No module named 'flash_attn'")
"""


@pytest.fixture(scope="module")
def toys(tmp_path_factory, toy_samples):
    store = Store(str(tmp_path_factory.mktemp("toys") / "store"))
    rows = [
        replace(
            row,
            split="train" if index < 6 else "val",
            label=int(index % 3 == 0),
            label_source="intervals",
            in_training=index < 6,
        )
        for index, row in enumerate(toy_samples(store, 9))
    ]
    return store, rows


@pytest.fixture(scope="module")
def shapes(tiny_omni) -> dict[str, list[int]]:
    """The shapes of the default parts' adapters by ms-swift's names in the full model."""
    from peft import get_peft_model_state_dict

    from tasks.training.model.trainable import open_for_training

    opened = open_for_training(tiny_omni, TrainingSettings(precision="float32"))
    prefix, swift_prefix = "base_model.model.", "base_model.model.thinker."
    return {
        swift_prefix + name.removeprefix(prefix): list(tensor.shape)
        for name, tensor in get_peft_model_state_dict(opened.trained).items()
    }


@pytest.fixture
def job_path(toys, tiny_omni, shapes, tmp_path) -> Path:
    """A job of five steps, evaluated every two, with the fake program."""
    store, rows = toys
    write_fake(tmp_path, shapes)
    settings = {"trainer": "ms-swift", "metric": "loss", "precision": "float32", "steps": 5}
    job = TrainingJob(
        identity="toy",
        store_url=store.url,
        model_path=tiny_omni,
        input=InputConfig(max_pixels=64 * 64),
        training=TrainingSettings.model_validate(
            {**settings, "batch_size": 2, "eval_steps": 2, "warmup_steps": 1}
        ),
        plan=plan_classes(rows, ClassRule(sampling="natural")),
        resources=FinetuneResources(device="cpu", swift_command=str(tmp_path / "swift")),
        work_path=tmp_path / "work",
    )
    (tmp_path / "job").mkdir()
    return write_job(job, rows, tmp_path / "job")


def write_fake(folder: Path, shapes, loss: str = "1.0 / step") -> None:
    text = FAKE_SWIFT.format(python=sys.executable, folder=str(folder), loss=loss)
    (folder / "swift").write_text(text)
    (folder / "swift").chmod(0o755)
    (folder / "shapes.json").write_text(json.dumps(shapes))


def run(job_path: Path) -> list[str]:
    from accelerate.state import AcceleratorState

    from tasks.ms_swift.run import run_swift_job

    AcceleratorState._reset_state(reset_partial_state=True)
    lines: list[str] = []
    run_swift_job(job_path, lines.append)
    return lines


def call(folder: Path, number: int):
    return json.loads((folder / f"call-{number}").read_text())


def test_a_failed_training_resumes_and_its_best_weights_become_a_model(job_path, tmp_path):
    (tmp_path / "fails").touch()
    with pytest.raises(StageError, match=r"ms-swift failed with exit status 1"):
        run(job_path)
    for path in job_path.parent.glob("rows/*"):
        path.unlink()
    (job_path.parent / "rows").rmdir()
    lines = run(job_path)
    assert "resuming after step 2 of 5" in lines
    assert [line for line in lines if "loss" in line and "step 3" in line]

    first, second = call(tmp_path, 0), call(tmp_path, 1)
    assert "--resume_from_checkpoint" not in first["arguments"]
    assert second["arguments"][-2:] == [
        "--resume_from_checkpoint", str(tmp_path / "work" / "swift" / "checkpoint-2"),
    ]  # fmt: skip
    assert [len(rows.splitlines()) for rows in first["rows"]] == [6, 3]
    assert first["environment"]["FPS"] == "2.0"
    cache = first["environment"]["MODELSCOPE_CACHE"]
    assert Path(cache).is_relative_to(job_path.parent)

    result, log = read_result(job_path.parent)
    assert (result.num_steps, result.best_step) == (5, 2)
    assert [row.loss for row in log] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])
    assert [row.val_loss is not None for row in log] == [False, True, False, False, False]
    assert len(read_validation_predictions(job_path.parent)) == 3
    assert curve_path_of(job_path).is_file()
    check_model(job_path.parent / "model")


def check_model(folder: Path) -> None:
    """The model has the weights of step 2 under Waver's adapter names."""
    import torch
    from safetensors.torch import load_file

    adapter = load_file(folder / "adapter" / "adapter_model.safetensors")
    assert all(torch.all(tensor == 0.002) for tensor in adapter.values())
    assert not any("thinker" in name for name in adapter)
    config = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] is None
    assert set(config["target_modules"]) == {
        name.partition(".lora_")[0].removeprefix("base_model.model.")
        for name in adapter
        if "self_attn" in name
    }
    settings = json.loads((folder / "settings.json").read_text())
    assert (settings["training"]["trainer"], settings["ms_swift"]) == ("ms-swift", "4.6.0")
    assert "swift_command" not in settings["resources"]
    assert list((folder / "events").iterdir())
    merged = load_file(folder / "merged" / "model.safetensors")
    assert "thinker.lm_head.weight" in merged


def test_adapters_of_other_layers_are_rejected(job_path, shapes, tmp_path):
    tower = "base_model.model.thinker.audio_tower.layers.0.self_attn.q_proj.lora_A.weight"
    write_fake(tmp_path, {**shapes, tower: [8, 96]})
    with pytest.raises(ModelError, match=r"other layers.*1 adapters .*audio_tower"):
        run(job_path)


def test_a_training_that_diverges_is_stopped(job_path, shapes, tmp_path):
    write_fake(tmp_path, shapes, loss="float('nan')")
    with pytest.raises(StageError, match="Training diverged at step 1"):
        run(job_path)
