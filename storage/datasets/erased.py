"""Participants erased from a store, as salted digests: their videos are excluded from every run.

    <store>/erased.json   the salt, and a digest for each participant; no id

The digests are of `storage.identity.participant_key`, so that a participant is excluded under every
spelling; those of older stores are of the id as it was spelled, and exclude that spelling. They
hide ids from readers of the file, but not from someone who tries a list of likely ids.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from storage.datasets.dataset import Dataset
from storage.errors import StoreError
from storage.identity import participant_key
from storage.issues import Issue, IssueKind
from storage.store.store import Store

PATH = "erased.json"
_BEFORE = re.compile(r"([^/'\"]+)(?:/|_Question_)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasedParticipants:
    """The participants that were erased from one store; ``in`` takes an id."""

    salt: str
    digests: frozenset[str]

    def __contains__(self, participant_id: str | None) -> bool:
        if participant_id is None or not self.digests:
            return False
        return not self.digests.isdisjoint(digests_of_participant(self.salt, participant_id))

    def in_path(self, text: str) -> bool:
        """Return whether a path in a text names one of them, as a folder or in a BAH file name."""
        if not self.digests:
            return False
        return any(name in self for name in dict.fromkeys(_names_in(text)))


def _names_in(text: str) -> Iterator[str]:
    """Yield what may be an id in a text: words before a slash, as ids may contain blanks."""
    for found in _BEFORE.findall(text):
        words = found.split()
        yield from (" ".join(words[start:]) for start in range(len(words)))


def digest_of_participant(salt: str, participant_id: str) -> str:
    """Digest a participant's key, which is the same for every spelling of the id."""
    return _scrypt(salt, participant_key(participant_id))


def digests_of_participant(salt: str, participant_id: str) -> frozenset[str]:
    """Return the participant's digest, and that of the id as spelled, which older stores have."""
    return frozenset((digest_of_participant(salt, participant_id), _scrypt(salt, participant_id)))


@cache  # one data set names each participant many times
def _scrypt(salt: str, name: str) -> str:
    """Digest a name with scrypt: slow on purpose (milliseconds), as ids are few and guessable."""
    encoded = name.encode(errors="surrogatepass")
    return hashlib.scrypt(encoded, salt=bytes.fromhex(salt), n=1 << 11, r=8, p=1, dklen=16).hex()


def read_erased(store: Store) -> ErasedParticipants:
    """Read which participants were erased from a store.

    Raises:
        StoreError: the file is damaged, so that nobody knows whose videos to exclude.
    """
    try:
        content = json.loads(store.read_bytes(PATH))
        return ErasedParticipants(salt=content["salt"], digests=frozenset(content["participants"]))
    except FileNotFoundError:
        return ErasedParticipants(salt=secrets.token_hex(16), digests=frozenset())
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{store.location(PATH)!r} is damaged, so the erased participants are unknown: "
            "restore it, or remove it and run `waver erase` again for each of them."
        ) from error


def salt_of(store: Store) -> str:
    """Return the store's salt, which is created on first use.

    Raises:
        StoreError: as `read_erased`, or the store cannot be written.
    """
    if not store.exists(PATH):
        _write(store, read_erased(store), frozenset())
    return read_erased(store).salt


def mark_erased(store: Store, participant_id: str) -> None:
    """Exclude a participant's videos from every future run."""
    known = read_erased(store)
    _write(store, known, known.digests | {digest_of_participant(known.salt, participant_id)})


def unmark_erased(store: Store, participant_id: str) -> bool:
    """Let future runs use a participant's videos again; returns whether they were excluded."""
    known = read_erased(store)
    if participant_id not in known:
        return False
    _write(store, known, known.digests - digests_of_participant(known.salt, participant_id))
    return True


def _write(store: Store, known: ErasedParticipants, digests: frozenset[str]) -> None:
    content = {"salt": known.salt, "participants": sorted(digests)}
    store.write_bytes(PATH, json.dumps(content, indent=2).encode())


def exclude_erased(dataset: Dataset, erased: ErasedParticipants) -> tuple[Dataset, str]:
    """Remove erased participants' videos, and issues that name them, from a data set.

    Returns the data set, with an issue that counts the excluded videos, and that issue's text,
    which is empty if no video was excluded.
    """
    videos = tuple(video for video in dataset.videos if video.participant_id not in erased)
    excluded = {video.video_id for video in dataset.videos} - {video.video_id for video in videos}
    names = "|".join(map(re.escape, sorted(excluded)))
    of_excluded = re.compile(rf"(?<![\w.-])(?:{names})(?!\w)" if names else "(?!)")
    issues = tuple(
        issue
        for issue in dataset.issues
        if not erased.in_path(issue.detail) and not of_excluded.search(issue.detail)
    )
    num_excluded = len(dataset.videos) - len(videos)
    message = ""
    if num_excluded:
        message = f"{num_excluded} videos of participants erased from the store were excluded"
        issues = (*issues, Issue(IssueKind.ERASED, message))
    return replace(dataset, videos=videos, issues=issues), message
