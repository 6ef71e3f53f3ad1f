"""Open a run: a request's settings, data set and store, read and checked before any work.

Open a run makes no results, and changes nothing but the store's cache. Each stage's flow opens
its own, so that it sees what the stages before it have written.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

from flows.context.request import RunRequest
from flows.context.run_context import Run
from flows.context.settings import load_settings
from storage.datasets.bah.annotation_cache import AnnotationCache
from storage.datasets.erased import exclude_erased, read_erased
from storage.datasets.open import check_apart, open_dataset
from storage.erasure.erase import is_unfinished
from storage.errors import DataError
from storage.store.store import Store, local_root
from tasks.log import LOGGER

_UNFINISHED = (
    "forgetting a participant was begun in this store and did not end, so that some of it may be "
    "left: run `waver erase` again for them"
)


def open_run(request: RunRequest) -> Run:
    """Open a request: read the profile, the data set's annotation, and the store.

    Raises:
        ConfigError: a setting or profile cannot be used, or the store lies among the videos.
        DataError: the data folder is missing or cannot be read, or none of its videos may be used.
        StoreError: the store cannot be written.
    """
    return _without_erased(_open(request))


@contextmanager
def open_to_work(request: RunRequest) -> Iterator[Run]:
    """Open a request whose results will be made; nobody is forgotten in its store meanwhile.

    Raises:
        WaverError: as `open_run`.
    """
    run = _open(request)
    with run.store.at_work():
        yield _without_erased(run)


def _open(request: RunRequest) -> Run:
    settings = load_settings(request.profile, request.overrides)
    check_apart(request.data, request.store)
    dataset = open_dataset(request.data, AnnotationCache(request.store))
    return Run(request=request, settings=settings, dataset=dataset, store=Store(request.store))


def open_existing_store(url: str) -> Store:
    """Open a store that is there: a typing error shall not make one.

    Raises:
        DataError: there is none.
    """
    root = local_root(url)
    if root is not None and not root.is_dir():
        raise DataError(f"There is no store {url!r}: name one with --store.")
    return Store(url)


def _without_erased(run: Run) -> Run:
    """Leave forgotten participants' videos out, and say so, unless nothing is left."""
    dataset, message = exclude_erased(run.dataset, read_erased(run.store))
    if not dataset.videos:
        raise DataError(f"Of the data set {run.request.data!r} nothing is left: all {message}.")
    if message:
        _log_once(message, run.request)
    if is_unfinished(run.store):
        LOGGER.warning(_UNFINISHED)
    return replace(run, dataset=dataset)


@cache
def _log_once(message: str, _request: RunRequest) -> None:
    """Log a line once in a process: every stage opens its own run."""
    LOGGER.info("%s", message)
