"""What the names of a release's videos mean, and by which key two spellings of one are equal.

    Videos/<participant>/Visite_1/<participant>_Question_<1 to 7>_<date>_<time>_Video.mp4

Files and releases differ in the folder `Videos`, in a blank in `Visite_1`, and in whatever
`storage.identity` ignores.
"""

import re
from pathlib import PurePosixPath

from storage.identity import name_key, participant_key, video_key
from storage.issues import Issue, IssueKind
from storage.records import ParticipantId

_VIDEOS_FOLDER = "videos"
_QUESTION = re.compile(r"_Question_(\d+)(?:_|\b)", re.IGNORECASE)
_QUESTION_WORD = re.compile("_Question_", re.IGNORECASE)
_LAST_QUESTION = 7


def release_key(name: str) -> str:
    """Return the key by which the files of a release name the same video."""
    return video_key("/".join(_steps(name))).replace("/visite ", "/visite_")


def participant_of(path: str, issues: list[Issue]) -> ParticipantId | None:
    """Return the participant's folder, which the file's name repeats; adds to ``issues``."""
    steps = _steps(path)
    named = _QUESTION_WORD.split(steps[-1], maxsplit=1)
    in_name = named[0] if len(named) > 1 else None
    if len(steps) < 2:
        message = "no participant: the video is not in a participant's folder"
        issues.append(Issue(IssueKind.NO_PARTICIPANT, message))
        return ParticipantId(in_name) if in_name else None
    if in_name is not None and participant_key(in_name) != participant_key(steps[0]):
        message = f"the file is named after {in_name!r}, but is in {steps[0]!r}"
        issues.append(Issue(IssueKind.PARTICIPANT_CONTRADICTED, message))
    return ParticipantId(steps[0])


def question_of(path: str, issues: list[Issue]) -> int | None:
    """Return the number of the question that a video answers; adds to ``issues``."""
    found = _QUESTION.search(PurePosixPath(path).name)
    if found and 1 <= int(found[1]) <= _LAST_QUESTION:
        return int(found[1])
    message = "the file's name contains no question from 1 to 7"
    issues.append(Issue(IssueKind.NO_QUESTION, message))
    return None


def _steps(name: str) -> tuple[str, ...]:
    """Return a path's steps below the folder of all videos."""
    steps = [step for step in PurePosixPath(name.strip()).parts if step != "."]
    if steps and name_key(steps[0]) == _VIDEOS_FOLDER:
        steps = steps[1:]
    return tuple(steps)
