"""Comparison of vLLM's and transformers' predictions, on a data set's or synthetic segments."""

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from flows.commands.exit_status import ExitStatus
from flows.commands.progress import show_progress
from flows.context.context import open_context, open_existing_store
from flows.context.overrides import SettingsOverrides
from flows.context.preflight import require_engine
from flows.context.request import RunRequest
from flows.context.rows import read_manifest
from flows.context.settings import Settings, load_settings
from storage.errors import ConfigError
from storage.records import SampleRecord
from storage.schema import schema_of, to_table
from storage.store.store import Store
from storage.store.variant import Variant
from tasks.adapters.resolve import adapter_in, named_model
from tasks.export.files import write_export
from tasks.export.output_path import check_output_file
from tasks.log import LOGGER
from tasks.model.model_folder import check_model, computed_dtype
from tasks.parity.measure import Parity, ParityRecord, measure_parity
from tasks.parity.synthetic import write_synthetic_samples
from tasks.parity.table import parity_table
from tasks.prompting.trained_with import input_mismatches


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRequest:
    """Options of `waver parity`; without ``data``, synthetic segments are compared."""

    model: str
    data: str | None
    num_samples: int
    profile: str
    store: str
    settings: SettingsOverrides
    threshold: float
    max_difference: float | None
    out: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segments:
    """Segments to compare, the store of their files, and their manifest unless synthetic."""

    store_url: str
    samples: Sequence[SampleRecord]
    manifest: Variant | None = None


def measure_and_show(request: ParityRequest) -> ExitStatus:
    """Compare the backends, print the comparison, and write one row per segment to ``out``.

    Returns FAILED if the backends differ.

    Raises:
        ConfigError: a setting or ``out`` cannot be used.
        DataError: the data set or the store does not exist.
        ModelError: the model cannot be used.
        StageError: the store has no manifest of the data set yet, or a backend failed.
    """
    if request.out is not None:
        check_output_file(request.out)
    settings = load_settings(request.profile, request.settings.given())
    require_engine()
    console = Console()
    with show_progress(console):
        model_path = _model_path(request, settings)
        if message := input_mismatches(
            model_path, settings.input, settings.manifest.max_words_before
        ):
            console.print(message, style="yellow", soft_wrap=True, markup=False)
        with (
            _segments_of(request, settings) as segments,
            Store(segments.store_url).staging() as folder,
        ):
            parity = _measure(request, settings, model_path, segments, folder)
    console.print(parity_table(parity, request.model))
    if request.out is not None:
        _write(parity, request.out)
    return ExitStatus.FAILED if parity.mismatches() else ExitStatus.DONE


def _model_path(request: ParityRequest, settings: Settings) -> Path:
    """Find the model; only an adapter needs a store, which keeps it merged with its base."""
    if request.data is not None:
        open_existing_store(request.store)
    if adapter_in(request.model) is None:
        return check_model(request.model)
    config = settings.infer
    return named_model(
        Store(request.store), request.model, settings.finetune.model,
        dtype=config.dtype, mode=config.adapter,
    )  # fmt: skip


def _measure(
    request: ParityRequest,
    settings: Settings,
    model_path: Path,
    segments: _Segments,
    folder: Path,
) -> Parity:
    return measure_parity(
        segments.samples,
        store_url=segments.store_url,
        model_path=model_path,
        dtype=computed_dtype(model_path, settings.infer.dtype),
        input_config=settings.input,
        resources=settings.resources.infer,
        plan=settings.aggregate.plan(),
        threshold=request.threshold,
        folder=folder,
        variant=segments.manifest,
        max_difference=request.max_difference,
    )


@contextmanager
def _segments_of(request: ParityRequest, settings: Settings) -> Iterator[_Segments]:
    if request.data is None:
        with tempfile.TemporaryDirectory(prefix="waver-synthetic-") as folder:
            samples = write_synthetic_samples(Store(folder), request.num_samples)
            yield _Segments(store_url=folder, samples=samples)
        return
    context = open_context(
        RunRequest(
            data=request.data, profile=request.profile, store=request.store, model=request.model,
            settings=request.settings,
        ),
        settings,
    )  # fmt: skip
    manifest = read_manifest(context)
    if not manifest.samples:
        raise ConfigError(f"The data set {request.data!r} has no segments to compare.")
    samples = sorted(manifest.samples, key=_random_order)[: request.num_samples]
    if len(samples) < request.num_samples:
        LOGGER.warning("parity: the data set has only %d segments; comparing all", len(samples))
    yield _Segments(store_url=request.store, samples=samples, manifest=context.manifest)


def _random_order(sample: SampleRecord) -> str:
    """Return a hash of a segment's content: the first in this order come from all videos."""
    return hashlib.blake2b(sample.content_digest.encode()).hexdigest()


def _write(parity: Parity, out: Path) -> None:
    table = to_table(ParityRecord, parity.records)
    facts = {"kind": "parity", "dtype": parity.dtype, "threshold": str(parity.threshold)}
    write_export(out, schema_of(ParityRecord), [table], facts)
