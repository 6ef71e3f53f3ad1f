"""What a release records about its participants: their consent, found by any spelling of an id."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from storage.datasets.consent import read_answer, strictest
from storage.identity import participant_key
from storage.issues import Issue, IssueKind
from storage.records import ParticipantId

PARTICIPANTS_FILE = "meta_data.yml"
_Details = Mapping[str, Any]


@dataclass(frozen=True)
class Participants:
    """The entries of a release's `meta_data.yml` by id; what is no mapping counts as missing."""

    entries: Mapping[str, Any]

    def details_of(self, participant_id: ParticipantId | None, issues: list[Issue]) -> "Consent":
        """Find a participant's entries; adds to ``issues`` if there is none.

        The entry under the id as spelled is used alone; else all under its other spellings are.
        """
        found: Sequence[_Details] = ()
        if participant_id is not None:
            exact = self.entries.get(participant_id)
            alike = self._by_key.get(participant_key(participant_id), ())
            found = (exact,) if isinstance(exact, Mapping) else alike
        if not found and self.entries:
            message = f"{PARTICIPANTS_FILE} has no entry for the participant"
            issues.append(Issue(IssueKind.NOT_DETAILED, message))
        return Consent(tuple(found))

    @cached_property
    def _by_key(self) -> Mapping[str, Sequence[_Details]]:
        by_key: dict[str, list[_Details]] = defaultdict(list)
        for participant_id, details in self.entries.items():
            if isinstance(details, Mapping):
                by_key[participant_key(participant_id)].append(details)
        return by_key


@dataclass(frozen=True, slots=True)
class Consent:
    """A participant's entries; there are several if none has the id as spelled."""

    entries: tuple[_Details, ...]

    def answer(self, key: str, issues: list[Issue]) -> bool | None:
        """Read Yes or No; YAML turns them into true and false if they are not quoted."""
        answers = [
            read_answer(str(details[key])) if key in details else None for details in self.entries
        ]
        unreadable = any(key in d and a is None for d, a in zip(self.entries, answers, strict=True))
        if unreadable:
            message = f"{key!r} is neither Yes nor No: taken as unknown"
            issues.append(Issue(IssueKind.CONSENT_UNREADABLE, message))
        return strictest(answers)
