"""Whom a store has forgotten: salted digests, by which they are left out while the data holds them.

    <store>/forgotten.json   the salt, and a digest for each participant; no id

A digest keeps an id from being read, not from being tried: who has the file and a list of all ids
that may be meant can find out which are.
"""

import hashlib
import json
import re
import secrets
from dataclasses import dataclass, replace
from functools import cache

from storage.datasets.dataset import Dataset
from storage.errors import StoreError
from storage.issues import Issue, IssueKind
from storage.store.store import Store

PATH = "forgotten.json"
_FOLDER = re.compile(r"([^/\s'\"]+)/")
_NAMED_AFTER = re.compile(r"([^/\s'\"]+)_Question_")


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasedParticipants:
    """The participants that a store has forgotten."""

    salt: str
    digests: frozenset[str]

    def __contains__(self, participant_id: str | None) -> bool:
        if participant_id is None or not self.digests:
            return False
        return digest_of_participant(self.salt, participant_id) in self.digests

    def in_path(self, text: str) -> bool:
        """Say whether a path in a text names one of them, by a folder or in a release's manner."""
        if not self.digests:
            return False
        named = {*_FOLDER.findall(text), *_NAMED_AFTER.findall(text)}
        return any(name in self for name in named)


@cache
def digest_of_participant(salt: str, participant_id: str) -> str:
    """Digest an id; slow on purpose (some milliseconds), since ids are few and easily tried."""
    key = hashlib.scrypt(
        participant_id.encode(), salt=bytes.fromhex(salt), n=1 << 11, r=8, p=1, dklen=16
    )
    return key.hex()


def read_erased(store: Store) -> ErasedParticipants:
    """Read whom a store has forgotten.

    Raises:
        StoreError: the file is damaged, so that nobody can say whom to leave out.
    """
    if not store.exists(PATH):
        return ErasedParticipants(salt=secrets.token_hex(16), digests=frozenset())
    try:
        with store.open(PATH) as stream:
            content = json.loads(stream.read())
        return ErasedParticipants(salt=content["salt"], digests=frozenset(content["participants"]))
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{store.full_path(PATH)!r} is damaged, so that forgotten participants cannot be told: "
            "restore it, or remove it and run `waver erase` again for each of them."
        ) from error


def salt_of(store: Store) -> str:
    """Give the store's salt, which is written down when it is first needed.

    Raises:
        StoreError: as `read_erased`, or the store cannot be written.
    """
    if not store.exists(PATH):
        _write(store, read_erased(store), frozenset())
    return read_erased(store).salt


def remember_to_leave_out(store: Store, participant_id: str) -> None:
    """Leave a participant's videos out of every run from now on."""
    known = read_erased(store)
    _write(store, known, known.digests | {digest_of_participant(known.salt, participant_id)})


def take_up_again(store: Store, participant_id: str) -> bool:
    """Let a participant's videos be used again; says whether they were left out until now."""
    known = read_erased(store)
    if participant_id not in known:
        return False
    _write(store, known, known.digests - {digest_of_participant(known.salt, participant_id)})
    return True


def _write(store: Store, known: ErasedParticipants, digests: frozenset[str]) -> None:
    content = {"salt": known.salt, "participants": sorted(digests)}
    store.write_bytes(PATH, json.dumps(content, indent=2).encode())


def exclude_erased(dataset: Dataset, erased: ErasedParticipants) -> tuple[Dataset, str]:
    """Take forgotten participants' videos, and what is told of them, out of a data set.

    Returns the data set, which tells how many videos that were, naming nobody, and those words;
    none if no video was left out.
    """
    videos = tuple(video for video in dataset.videos if video.participant_id not in erased)
    issues = tuple(issue for issue in dataset.issues if not erased.in_path(issue.detail))
    num_left_out = len(dataset.videos) - len(videos)
    message = ""
    if num_left_out:
        message = (
            f"{num_left_out} videos are of participants whom the store has forgotten: left out"
        )
        issues = (*issues, Issue(IssueKind.ERASED, message))
    return replace(dataset, videos=videos, issues=issues), message
