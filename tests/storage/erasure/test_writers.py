from contextlib import ExitStack

import pytest

from storage.erasure import erase as erasure
from storage.erasure.erase import erase_participant, find_traces, is_unfinished
from storage.erasure.scan import scan_store
from storage.errors import StoreError
from storage.store.lease import LEASES, hold_leases
from storage.store.store import Store
from tests.storage.erasure.erase_toys import commit_cuts, cut_variant, name_of

OWNERS = {name_of(who, 1): who for who in ("12", "7")}


@pytest.fixture
def store(bucket: str) -> Store:
    store = Store(f"s3://{bucket}/store")
    commit_cuts(cut_variant(store, 23), OWNERS, [list(OWNERS)])
    return store


def at_work(stack: ExitStack, store: Store) -> None:
    """Hold a lease as the stage of a run does."""
    held = hold_leases([cut_variant(store, 23)], on_wait=lambda _: None, expiry_seconds=1)
    stack.enter_context(held)


def erase(store: Store) -> None:
    erase_participant(store, find_traces(store, "12"), expiry_seconds=3)


def is_erased(store: Store) -> bool:
    return scan_store(store, find_traces(store, "12", [name_of("12", 1)])).is_clean


def test_nobody_is_erased_while_a_run_works_on_a_remote_store(store: Store) -> None:
    with ExitStack() as stack:
        at_work(stack, store)
        with pytest.raises(StoreError, match=r"Another process writes .*process \d+ on .*again"):
            erase(store)
        assert not is_erased(store)
        assert not is_unfinished(store)
    erase(store)
    assert is_erased(store)


def test_the_lease_of_a_dead_run_of_another_host_only_delays_an_erasure(store: Store) -> None:
    store.write_bytes(f"{LEASES}/cut.variant.0badcafe-4711-0123456789ab.json", b"{}")
    erase(store)
    assert is_erased(store)


def test_an_erasure_during_which_a_run_starts_stays_unfinished(store: Store, monkeypatch) -> None:
    erase_in = erasure._erase_in
    with ExitStack() as stack:

        def erase_while_a_run_starts(*arguments) -> int:
            at_work(stack, store)
            return erase_in(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(erasure, "_erase_in", erase_while_a_run_starts)
            with pytest.raises(StoreError, match="Another process writes"):
                erase(store)
        assert is_unfinished(store)
    erase(store)
    assert not is_unfinished(store)
    assert is_erased(store)
