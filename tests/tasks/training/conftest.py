"""Toy trainings: labeled toy segments in their own store, and jobs."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from storage.records import SampleRecord
from storage.store.store import Store
from tasks.labels.class_plan import ClassRule, Plan, plan_classes
from tasks.prompting.model_input import InputConfig
from tasks.training.job import TrainingJob, write_job
from tasks.training.settings import FinetuneResources, TrainingSettings

NUM_TRAIN, NUM_VAL = 12, 6

MakeJob = Callable[..., Path]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Use one thread: sums over several are not reproducible, and forks cannot use them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def toy_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(str(tmp_path_factory.mktemp("toys") / "store"))


@pytest.fixture(scope="session")
def labeled(toy_store: Store, toy_samples: Callable[..., list[SampleRecord]]) -> list[SampleRecord]:
    """Two training samples to one validation sample, a third of them positive."""
    samples = toy_samples(toy_store, NUM_TRAIN + NUM_VAL)
    return [
        replace(
            sample,
            split="train" if index < NUM_TRAIN else "val",
            label=int(index % 3 == 0),
            label_source="intervals",
            in_training=index < NUM_TRAIN,
        )
        for index, sample in enumerate(samples)
    ]


@pytest.fixture
def make_job(
    toy_store: Store, labeled: list[SampleRecord], tiny_omni: Path, tmp_path: Path
) -> MakeJob:
    """Write a job of a few fast steps into its own folder; ``settings`` override its settings."""

    def make(
        name: str,
        resources: dict[str, object] | None = None,
        plan: Plan | None = None,
        prompt: str = "definition-transcript",
        **settings: object,
    ) -> Path:
        fast = {"precision": "float32", "steps": 5, "batch_size": 4, "eval_steps": 2}
        job = TrainingJob(
            identity="toy",
            store_url=toy_store.url,
            model_path=tiny_omni,
            max_words_before=7,
            input=InputConfig(max_pixels=64 * 64, prompt=prompt),
            training=TrainingSettings.model_validate(
                {**fast, "learning_rate": 3e-3, "warmup_steps": 1, **settings}
            ),
            plan=tuple(plan or plan_classes(labeled, ClassRule())),
            resources=FinetuneResources.model_validate({"device": "cpu", **(resources or {})}),
            work_path=tmp_path / f"work {name}",
        )
        folder = tmp_path / name
        folder.mkdir()
        return write_job(job, labeled, folder)

    return make
