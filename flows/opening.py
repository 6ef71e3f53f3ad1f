"""Opening a run: a request's settings, data set and store, read and checked before any work.

Opening a run makes no results, and changes nothing but the store's cache. Each stage's flow opens
its own, so that it sees what the stages before it have written.
"""

from pathlib import Path

from flows.config import load_settings
from flows.request import RunRequest
from flows.run import Run
from storage.annotation_cache import AnnotationCache
from storage.dataset import open_dataset
from storage.errors import ConfigError
from storage.store import Store, local_root


def open_run(request: RunRequest) -> Run:
    """Open a request: read the profile, the data set's annotation, and the store.

    Raises:
        ConfigError: a setting or profile cannot be used, or the store lies among the videos.
        DataError: the data folder is missing or cannot be read.
        StoreError: the store cannot be written.
    """
    settings = load_settings(request.profile, request.overrides)
    _check_apart(request.data, request.store)
    dataset = open_dataset(request.data, AnnotationCache(request.store))
    return Run(request=request, settings=settings, dataset=dataset, store=Store(request.store))


def _check_apart(data: str, store: str) -> None:
    """Refuse a store whose segments would be read as source videos; hidden folders never are."""
    root, videos = local_root(store), Path(data).resolve()
    if root is None or not root.resolve().is_relative_to(videos):
        return
    below = root.resolve().relative_to(videos).parts
    if not any(step.startswith(".") for step in below):
        raise ConfigError(
            f"The store {store!r} lies inside the data folder {data!r}, where its segments would "
            "be taken for videos: name a place outside with --store."
        )
