"""The model card: description, training data, metrics, and loading instructions of a model.

The card is distributed with the model, so it contains no participant, video or local path. Metrics
are those of the saved weights on the validation segments at the threshold 0.5.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from storage.fingerprint import digest_of
from storage.identity import group_key, spellings_by_key
from storage.records import SampleRecord
from tasks.evaluation.bootstrap import BootstrapSettings, Interval, bootstrap_intervals
from tasks.evaluation.metrics import compute_metrics
from tasks.prompting.prompt import prompt_digest, prompt_text
from tasks.training.job import (
    ADAPTER_FOLDER,
    MERGED_FOLDER,
    TrainingJob,
    TrainingResult,
    ValidationPrediction,
)

CARD_NAME = "README.md"
_THRESHOLD = 0.5
_RESAMPLING = BootstrapSettings(draws=1000, level=0.95, seed=0)
_METRICS = {
    "macro_f1": "macro F1",
    "f1_present": "F1 of A/H present",
    "f1_absent": "F1 of A/H absent",
    "accuracy": "accuracy",
    "average_precision": "average precision",
}
_LIBRARIES = ("torch", "transformers", "peft", "accelerate")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardMetric:
    """One metric on the validation segments, with its interval over participants."""

    name: str
    key: str
    value: float | None
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFacts:
    """One split: the digest of its content and labels, and its counts."""

    name: str
    digest: str
    num_segments: int
    num_videos: int
    num_participants: int
    num_present: int


def write_card(
    folder: Path,
    job: TrainingJob,
    result: TrainingResult,
    used: Sequence[SampleRecord],
    predictions: Sequence[ValidationPrediction],
) -> None:
    """Write the card into a model's folder."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown without user text
    )
    text = environment.get_template("model_card.md.j2").render(
        job=job,
        result=result,
        settings=job.training.resolved(),
        base=public_name(job.base_name),
        adapter=ADAPTER_FOLDER if job.training.method == "lora" else None,
        merged=MERGED_FOLDER,
        splits=split_facts(used),
        metrics=card_metrics(used, predictions),
        num_predictions=len(predictions),
        consent=consent_counts(used),
        prompt=prompt_text(job.input.prompt),
        prompt_digest=prompt_digest(job.input.prompt),
        libraries=_versions(),
    )
    (folder / CARD_NAME).write_text(text, encoding="utf-8")


def public_name(base_name: str) -> str | None:
    """Return a base's name on the hub, ``None`` for a local folder."""
    is_folder = base_name.startswith(("/", ".", "~")) or Path(base_name).is_dir()
    return None if is_folder else base_name


def split_facts(used: Sequence[SampleRecord]) -> list[SplitFacts]:
    """Describe the training and validation samples that were used."""
    splits = (("train", True), ("val", False))
    return [
        _facts(name, rows)
        for name, in_training in splits
        if (rows := [sample for sample in used if sample.in_training == in_training])
    ]


def _facts(name: str, rows: Sequence[SampleRecord]) -> SplitFacts:
    return SplitFacts(
        name=name,
        digest=digest_of(sorted((row.content_digest, row.label) for row in rows)),
        num_segments=len(rows),
        num_videos=len({row.video_id for row in rows}),
        num_participants=len(spellings_by_key(row.participant_id for row in rows)),
        num_present=sum(row.label == 1 for row in rows),
    )


def card_metrics(
    used: Sequence[SampleRecord], predictions: Sequence[ValidationPrediction]
) -> list[CardMetric]:
    """Compute metrics; intervals resample participants, or videos if participants are unknown."""
    if not predictions:
        return []
    samples = {sample.segment_id: sample for sample in used}
    rows = [samples[prediction.segment_id] for prediction in predictions]
    labels = np.array([row.label for row in rows], dtype=float)
    p_ah = np.array([prediction.p_ah for prediction in predictions])
    clusters = [group_key(row) for row in rows]
    values = compute_metrics(labels, p_ah, _THRESHOLD)
    intervals = bootstrap_intervals(labels, p_ah, _THRESHOLD, clusters, _RESAMPLING)
    return [
        CardMetric(name=name, key=key, value=values[key], interval=intervals[key])
        for key, name in _METRICS.items()
    ]


def consent_counts(used: Sequence[SampleRecord]) -> Mapping[str, Mapping[str, int]]:
    """Count participants by consent to each purpose, over the samples a model saw."""
    answers = {True: "yes", False: "no", None: "unknown"}
    columns = {"publications": "consent_publications", "challenges": "consent_challenges"}
    counts = {}
    for purpose, name in columns.items():
        pairs = {(group_key(row), getattr(row, name)) for row in used}
        tally = Counter(answers[answer] for _, answer in pairs)
        counts[purpose] = {answer: tally[answer] for answer in answers.values()}
    return counts


def _versions() -> dict[str, Any]:
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
