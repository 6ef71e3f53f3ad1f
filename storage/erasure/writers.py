"""Whether another process may write a participant's data to a store while they are erased."""

from pathlib import Path

from storage.errors import StoreError
from storage.store.atomic import is_abandoned
from storage.store.lease import processes_at_work
from storage.store.store import TEMPORARY, Store


def check_nobody_writes(store: Store, expiry_seconds: float) -> None:
    """Raise if another process works in the store.

    In a local store a whole run shows a sign. In a remote one there are the leases of its stages;
    those that are not renewed for ``expiry_seconds`` are removed first.

    Raises:
        StoreError: another process works in it.
    """
    if not store.is_local:
        if workers := processes_at_work(store, expiry_seconds):
            raise StoreError(
                f"Another process writes to the store {store.url!r} and could write the "
                f"participant's data again ({workers[0]}): wait for its end, then run "
                "`waver erase` again."
            )
        return
    active = [p for p in Path(store.full_path(TEMPORARY)).iterdir() if not is_abandoned(p)]
    if active:
        raise StoreError(
            f"Another process, such as a run, is writing to the store {store.url!r} and could "
            "write the participant's data again: wait for its end, or remove "
            f"{str(active[0])!r} if there is none."
        )
