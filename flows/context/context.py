"""The context of a run: settings, data set and store of one request, opened once per process.

Whoever starts a run opens the context; the flows below find it (`context_of`), and a stage flow
that is started alone opens its own. It holds nothing that a stage writes: `rows`, `models` and
`results` read that from the store whenever they are called.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path

from flows.context.partition import Value, partition_of
from flows.context.request import RunRequest
from flows.context.settings import Settings, load_settings
from flows.context.stage_names import StageName
from storage.datasets.bah.annotation_cache import AnnotationCache
from storage.datasets.dataset import Dataset
from storage.datasets.erased import exclude_erased, read_erased
from storage.datasets.open import check_apart, open_dataset
from storage.datasets.video_list import dataset_of_videos
from storage.erasure.erase import is_unfinished
from storage.errors import ConfigError, DataError
from storage.records import VideoRecord
from storage.store.file_index import Verification
from storage.store.snapshot import Snapshot
from storage.store.snapshots import Snapshots
from storage.store.store import Store
from storage.store.url import is_missing
from storage.store.variant import Variant
from tasks import manifest, segment, transcribe
from tasks.labels.duplicates.accepted import NONE_ACCEPTED, AcceptedPairs, read_accepted
from tasks.labels.split_assignment import assign_splits
from tasks.log import LOGGER
from tasks.segment import SourceVideo

_UNFINISHED = (
    "an earlier `waver erase` did not finish in this store, so some of the participant's data may "
    "remain: run it again for them"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the stages and commands of one request work with.

    ``videos`` are those of the data set, each in the split that the settings assign to it.
    ``segment``, ``transcribe`` and ``manifest`` are the variants that the settings select.
    ``snapshots`` and ``sources`` keep what was found in them and in the data folder (`rows`), and
    ``leak_free`` the expected items of manifests whose splits were checked.
    """

    request: RunRequest
    settings: Settings
    dataset: Dataset
    store: Store
    videos: tuple[VideoRecord, ...]
    segment: Variant
    transcribe: Variant
    manifest: Variant
    accepted_duplicates: AcceptedPairs
    snapshots: Snapshots = field(default_factory=Snapshots, compare=False, repr=False)
    sources: dict[str, SourceVideo] = field(default_factory=dict, compare=False, repr=False)
    leak_free: list[Mapping[str, str]] = field(default_factory=list, compare=False, repr=False)

    def look(self, variant: Variant, expected: Mapping[str, str]) -> Snapshot:
        """Find a variant's finished items; the files of parts are looked at once per context."""
        return self.snapshots.look(variant, expected)

    def own(self, items: Mapping[str, Value]) -> dict[str, Value]:
        """Return the items of the request's partition; all of them without one."""
        partition = partition_of(self.request)
        return dict(items) if partition is None else partition.select(items)

    def with_own_videos(self) -> "Context":
        """Return the context of the partition's videos alone: no other file is read."""
        if partition_of(self.request) is None:
            return self
        own = self.own({video.video_id: video for video in self.videos})
        dataset = replace(
            self.dataset, videos=tuple(v for v in self.dataset.videos if v.video_id in own)
        )
        return replace(self, videos=tuple(own.values()), dataset=dataset, sources={})

    @property
    def trains(self) -> bool:
        """True if this run fine-tunes its own model."""
        return not self.request.models and self.dataset.has_labels

    @property
    def stages(self) -> tuple[StageName, ...]:
        """The stages to run, in order; `finetune` only if this run trains."""
        return tuple(s for s in self.request.stages() if s != "finetune" or self.trains)


def make_context(
    request: RunRequest, settings: Settings, dataset: Dataset, store: Store
) -> Context:
    """Derive splits and variants from what was opened, and read which duplicates are accepted.

    Raises:
        ConfigError: the file of accepted duplicates is missing, malformed, or names other videos.
    """
    splits = assign_splits(dataset.videos, settings.manifest)
    segments = segment.variant_of(store, settings.segment)
    transcripts = transcribe.variant_of(store, settings.transcribe, segment=segments)
    return Context(
        request=request,
        settings=settings,
        dataset=dataset,
        store=store,
        videos=tuple(replace(v, split=splits[v.video_id]) for v in dataset.videos),
        segment=segments,
        transcribe=transcripts,
        manifest=manifest.variant_of(
            store, settings.manifest, segment=segments, transcribe=transcripts
        ),
        accepted_duplicates=_accepted_duplicates(settings, dataset),
    )


def _accepted_duplicates(settings: Settings, dataset: Dataset) -> AcceptedPairs:
    path = settings.manifest.accept_duplicates
    if not path:
        return NONE_ACCEPTED
    return read_accepted(Path(path), {video.video_id for video in dataset.videos})


def open_context(
    request: RunRequest, settings: Settings | None = None, *, read_only: bool = False
) -> Context:
    """Open a request for reading: its profile, the data set's annotation, and the store.

    ``settings`` replace those of the request. With ``read_only`` nothing is written: the store need
    not exist, nor the variants in it.

    Raises:
        ConfigError: a setting or profile is invalid, or the store is inside the data folder.
        DataError: the data folder is missing or unreadable, or no video may be used.
        StoreError: the store is not writable.
    """
    settings, dataset, store = _open(request, settings, read_only=read_only)
    return _without_erased(request, settings, dataset, store)


_current: ContextVar[Context | None] = ContextVar("waver_context", default=None)


@contextmanager
def context_of(request: RunRequest, settings: Settings | None = None) -> Iterator[Context]:
    """Yield the context in which this request's results are computed.

    That is the caller's, if a command or flow of this process has opened one for the same data,
    store and settings. Otherwise it is opened here: until the block ends, the flows called in it
    use it, and no participant can be erased from its store.

    Raises:
        WaverError: as `open_context`.
    """
    current = _current.get()
    if current is not None and settings is None and current.request.opens_like(request):
        yield replace(current, request=request)
        return
    opened_settings, dataset, store = _open(request, settings)
    with store.at_work():
        context = _without_erased(request, opened_settings, dataset, store)
        token = _current.set(context)
        try:
            yield context
        finally:
            _current.reset(token)


def is_open(request: RunRequest) -> bool:
    """Return whether a command or flow of this process has opened this request's context."""
    current = _current.get()
    return current is not None and current.request.opens_like(request)


def open_existing_store(url: str, *, read_only: bool = False) -> Store:
    """Open a store without creating one, so that a mistyped name is reported.

    Raises:
        DataError: there is none.
    """
    if is_missing(url):
        raise DataError(f"There is no store {url!r}: name one with --store.")
    return Store(url, read_only=read_only)


def _open(
    request: RunRequest, settings: Settings | None, *, read_only: bool = False
) -> tuple[Settings, Dataset, Store]:
    settings = settings or load_settings(request.profile, request.settings.given())
    verification = Verification(days=settings.resources.verify_days, everything=request.verify)
    dataset = _open_dataset(request, read_only=read_only)
    return settings, dataset, Store(request.store, verification, read_only=read_only)


def _open_dataset(request: RunRequest, *, read_only: bool) -> Dataset:
    if request.videos and request.data:
        raise ConfigError(
            f"The request names both a data folder ({request.data!r}) and single videos: leave out "
            "one of them."
        )
    if request.videos:
        return dataset_of_videos(request.videos)
    check_apart(request.data, request.store)
    return open_dataset(request.data, AnnotationCache(request.store, read_only=read_only))


def _warn_of_invalidating(dataset: Dataset) -> None:
    """Log the kinds of issues because of which metrics cannot be trusted."""
    issues = (*dataset.issues, *(issue for video in dataset.videos for issue in video.issues))
    counts = Counter(issue.kind for issue in issues if issue.kind.invalidates)
    if counts:
        found = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
        LOGGER.warning(
            "the data set has issues that make metrics untrustworthy (%s): see `waver check`", found
        )


def _without_erased(
    request: RunRequest, settings: Settings, dataset: Dataset, store: Store
) -> Context:
    """Leave out the videos of erased participants, and log how many those are."""
    dataset, message = exclude_erased(dataset, read_erased(store))
    if not dataset.videos:
        name = request.data or "of single videos"
        raise DataError(f"No video of the data set {name!r} may be used: all {message}.")
    if message:
        LOGGER.info("%s", message)
    if is_unfinished(store):
        LOGGER.warning(_UNFINISHED)
    _warn_of_invalidating(dataset)
    return make_context(request, settings, dataset, store)
