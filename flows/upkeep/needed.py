"""Which variants a store must keep: those of reports, of models, of profiles, and recent ones."""

import contextlib
import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from flows.context.settings import load_settings, profile_names
from flows.context.stage_names import STAGES
from flows.upkeep.garbage import ROOTS, files_below
from storage.errors import ConfigError, ModelError, StoreError
from storage.results import ModelRecord
from storage.store.part import marker_paths, read_parts, read_rows, table_path
from storage.store.store import Store
from storage.store.variants import UPSTREAM, VariantIdentity, read_identity, variant_ids
from tasks import manifest, segment, transcribe
from tasks.prompting.trained_with import SETTINGS_NAME


def all_variants(store: Store) -> list[str]:
    """List the variants of all stages, in the order of the stages."""
    return [f"{stage}/{name}" for stage in STAGES for name in variant_ids(store, stage)]


def needed_variants(store: Store, profiles: Sequence[str], keep_seconds: float) -> dict[str, str]:
    """Map each variant that must stay to the reason, such as `a report`.

    ``profiles`` are kept besides those that come with Waver.

    If the identity of any variant cannot be read, all stay: nobody knows what it needs.
    """
    paths = all_variants(store)
    identities = {path: read_identity(store, path) for path in paths}
    damaged = [path for path, identity in identities.items() if identity is None]
    if unreadable := [path for path in damaged if files_below(store, path)]:
        return dict.fromkeys(paths, f"the identity of {unreadable[0]} cannot be read")
    known = {path: identity for path, identity in identities.items() if identity}
    needed: dict[str, str] = {}
    for path, why in _roots(store, paths, keep_seconds):
        _need(store, path, why, known, needed)
    for profile in profiles:
        for path in _of_profile(store, profile):
            _need(store, path, f"profile {profile}", known, needed)
    for profile in profile_names():
        with contextlib.suppress(ConfigError):  # its models are not on this computer
            for path in _of_profile(store, profile):
                _need(store, path, f"profile {profile}", known, needed)
    return needed


def _roots(store: Store, paths: Collection[str], keep_seconds: float) -> Iterator[tuple[str, str]]:
    """Yield finished reports and models, then variants that were used lately."""
    for path in paths:
        stage = path.partition("/")[0]
        if stage in ROOTS and marker_paths(store, path):
            yield path, ROOTS[stage]
    for path in paths:
        if last_used(store, path) > time.time() - keep_seconds:
            yield path, "used lately"


def last_used(store: Store, path: str) -> float:
    """Return when any file of a variant was last written, in seconds; 0 if unknown.

    Checkpoints of an unfinished training count as well as parts, which keep their own times.
    """
    newest = max((part.created_ns for part in read_parts(store, path)), default=0) / 1e9
    files = (file.modified_at for file in files_below(store, path).values())
    return max(newest, *files, 0.0)


def _need(
    store: Store,
    path: str,
    why: str,
    known: Mapping[str, VariantIdentity],
    needed: dict[str, str],
) -> None:
    """Mark a variant and everything that it was computed from."""
    if path in needed or path not in known:
        return
    needed[path] = why
    for upstream in (*_upstream(known[path]), *_training_manifests(store, path)):
        _need(store, upstream, why, known, needed)


def _upstream(identity: VariantIdentity) -> Iterator[str]:
    """Yield the variants that a variant names; an ensemble names those of its models by path."""
    for stage, name in zip(UPSTREAM.get(identity.stage, ()), identity.upstream, strict=False):
        yield f"{stage}/{name}"
    if identity.stage == "infer":
        yield from identity.upstream


def _training_manifests(store: Store, path: str) -> Iterator[str]:
    """Yield the manifests that the models of a variant were trained on.

    Raises:
        StoreError: a model's record or settings cannot be read.
    """
    if not path.startswith("finetune/"):
        return
    for part in read_parts(store, path):
        models = read_rows(store, path, part, ModelRecord)
        if not models and ModelRecord.__name__ in part.tables:
            raise _unreadable(store, table_path(path, part.part_id, ModelRecord.__name__))
        for model in models:
            settings = f"{PurePosixPath(model.model_path).parent}/{SETTINGS_NAME}"
            with contextlib.suppress(FileNotFoundError):
                yield from _source_of(store, settings)


def _source_of(store: Store, settings: str) -> Iterator[str]:
    try:
        source = json.loads(store.read_bytes(settings)).get("source_path")
    except (OSError, ValueError, AttributeError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise _unreadable(store, settings) from error
    if isinstance(source, str) and source:
        yield source


def _unreadable(store: Store, path: str) -> StoreError:
    return StoreError(
        f"{store.location(path)!r} cannot be read, so nobody knows what its model needs: run again "
        "from stage 'finetune', which writes damaged models again."
    )


def _of_profile(store: Store, profile: str) -> Iterator[str]:
    """Yield the variants of a profile's first three stages, as far as its models are here.

    Raises:
        ConfigError: there is no such profile, or it is not valid.
    """
    settings = load_settings(profile)
    try:
        segments = segment.variant_of(store, settings.segment)
        yield segments.path
        transcripts = transcribe.variant_of(store, settings.transcribe, segment=segments)
        yield transcripts.path
        yield manifest.variant_of(
            store, settings.manifest, segment=segments, transcribe=transcripts
        ).path
    except (ModelError, OSError) as error:
        raise ConfigError(
            f"The models of profile {profile!r} cannot be read ({error}): nothing was removed."
        ) from error
