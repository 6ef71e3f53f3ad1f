"""The source of a training's rows: stored features of frozen towers, or decoded media."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from storage.errors import ItemFault
from storage.records import SampleRecord
from tasks.prompting.model_input import InputConfig
from tasks.training.data.decoding import (
    MediaRowMaker,
    decode,
    decoding_processes,
    num_decoders_for,
    reading_threads,
)
from tasks.training.data.encoding import Encoder, Missing, encode_missing, missing_samples
from tasks.training.data.features import FeatureFolder, feature_key
from tasks.training.data.prefix import reuse_prefix
from tasks.training.data.samples import RowReader
from tasks.training.data.towers import (
    accept_features,
    are_towers_frozen,
    row_of_features,
    with_positions,
)
from tasks.training.distributed.fsdp import is_sharded
from tasks.training.distributed.ranks import Ranks
from tasks.training.job import TrainingJob
from tasks.training.model.trainable import OpenModel


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureRowMaker:
    """Makes a sample's row from its stored features and its transcript."""

    thinker: Any
    features: FeatureFolder
    processor: Any
    config: InputConfig

    def __call__(self, sample: SampleRecord) -> dict[str, torch.Tensor] | ItemFault:
        """Return the row, or a fault if its features are missing."""
        stored = self.features.read(feature_key(sample, self.config))
        if stored is None:
            return ItemFault("its features could not be computed, or are gone")
        row = row_of_features(
            self.processor,
            self.config,
            stored,
            transcript=sample.transcript,
            transcript_before=sample.transcript_before,
        )
        return with_positions(self.thinker, row)


@contextmanager
def open_reader(
    job: TrainingJob,
    opened: OpenModel,
    ranks: Ranks,
    samples: Sequence[SampleRecord],
    report: Callable[[str], None],
) -> Iterator[RowReader]:
    """Open the reader for the rows of all steps.

    With frozen towers and enough disk, rows are made of stored features: missing ones are computed
    first, and the model is prepared to accept them.
    """
    cache_bytes = job.resources.cache_mib << 20
    if not is_sharded(job.resources, ranks):  # its processes must run each layer equally often
        reuse_prefix(opened.top.thinker)
    features = _stored_features(job, opened, ranks, samples, report)
    if features is None:
        with media_reader(job, opened.processor, samples, cache_bytes=cache_bytes) as reader:
            yield reader
        return
    thinker = opened.top.thinker
    accept_features(thinker)
    make = FeatureRowMaker(
        thinker=thinker, features=features, processor=opened.processor, config=job.input
    )
    with reading_threads() as executor:
        yield RowReader(make, executor, num_samples=len(samples), cache_bytes=cache_bytes)


def _stored_features(
    job: TrainingJob,
    opened: OpenModel,
    ranks: Ranks,
    samples: Sequence[SampleRecord],
    report: Callable[[str], None],
) -> FeatureFolder | None:
    """Compute missing features; ``None`` if they are not stored or the disk is too small.

    Each process computes its partition and reads the features of all.
    """
    if job.features_path is None or not are_towers_frozen(opened.top.thinker):
        return None
    encoder = _encoder(job, opened, job.features_path, ranks, report)
    missing = missing_samples(encoder, ranks.partition(samples))
    fits = not missing or _encode(job, opened.processor, samples, encoder, missing)
    if ranks.count == 1:
        return encoder.features if fits else None
    return FeatureFolder(job.features_path) if all(ranks.gather(fits)) else None


def _encoder(
    job: TrainingJob, opened: OpenModel, folder: Path, ranks: Ranks, report: Callable[[str], None]
) -> Encoder:
    return Encoder(
        thinker=opened.top.thinker,
        pad_token_id=opened.processor.tokenizer.pad_token_id,
        config=job.input,
        folder=folder,
        features=FeatureFolder(folder),
        dtype=getattr(torch, job.training.precision),
        device=ranks.device,
        batch_size=job.resources.micro_batch_size,
        num_processes=ranks.count,
        report=report,
    )


def _encode(
    job: TrainingJob,
    processor: Any,
    samples: Sequence[SampleRecord],
    encoder: Encoder,
    missing: Missing,
) -> bool:
    with media_reader(job, processor, samples, num_expected=len(missing), cache_bytes=0) as reader:
        return encode_missing(encoder, reader, missing)


@contextmanager
def media_reader(
    job: TrainingJob,
    processor: Any,
    samples: Sequence[SampleRecord],
    *,
    cache_bytes: int,
    num_expected: int | None = None,
) -> Iterator[RowReader]:
    """Open a reader that decodes media, in processes or in threads.

    ``num_expected`` is the number of samples to read, by default all.
    """
    num_samples = len(samples) if num_expected is None else num_expected
    num_decoders = num_decoders_for(job.resources.num_decoders, num_samples)
    make = MediaRowMaker(store_url=job.store_url, processor=processor, config=job.input)
    executor = decoding_processes(make, num_decoders) if num_decoders else reading_threads()
    run = decode if num_decoders else make
    try:
        yield RowReader(run, executor, num_samples=len(samples), cache_bytes=cache_bytes)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
