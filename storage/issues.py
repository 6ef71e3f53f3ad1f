"""The kinds of things that can be wrong with a data set, each with its stable name and meaning.

A kind invalidates results where figures could not be believed in spite of what the pipeline does about
it: labels that contradict one another, lost annotation, one person on two sides of a split.
"""

from dataclasses import dataclass
from enum import StrEnum


class IssueKind(StrEnum):
    """A kind of issue: its value is the name that tables hold, ``meaning`` a line for people."""

    meaning: str
    invalidates: bool

    def __new__(cls, name: str, meaning: str, invalidates: bool = False) -> "IssueKind":
        """Keep meaning and weight beside the name, which alone is the value."""
        kind = str.__new__(cls, name)
        kind._value_ = name
        kind.meaning, kind.invalidates = meaning, invalidates
        return kind

    # Files, paths and places
    FILE_MISSING = "file_missing", "a file of the release is not there"
    PATH_REJECTED = (
        "path_refused", "a path leaves the data folder or cannot be stored: left out", True,
    )  # fmt: skip
    VIDEO_MISSING = "video_missing", "annotated or listed in a split, but there is no such file"
    NOT_ANNOTATED = "not_annotated", "a video file without an annotation: stays unlabelled"
    NOT_IN_SPLIT = "not_in_split", "a video that no split file lists"
    NOT_DETAILED = "not_detailed", "nothing is said about the participant: consent is unknown"
    CONSENT_UNREADABLE = "consent_unreadable", "consent is neither Yes nor No: taken as unknown"
    NO_QUESTION = "no_question", "the file's name gives no question from 1 to 7"
    NO_PARTICIPANT = (
        "no_participant",
        "participant unknown: one person may stand on two sides unseen",
    )
    PARTICIPANT_CONTRADICTED = (
        "participant_contradicted", "folder and file name give different participants", True,
    )  # fmt: skip

    # Leakage
    VIDEO_IN_TWO_SPLITS = "video_in_two_splits", "one video is listed in two splits", True
    PARTICIPANT_IN_TWO_SPLITS = (
        "participant_in_two_splits", "one participant's videos stand in two splits", True,
    )  # fmt: skip
    PARTICIPANTS_ALIKE_IN_TWO_SPLITS = (
        "participants_alike_in_two_splits",
        "ids that differ in case or leading zeros alone, in two splits",
    )
    SAME_FILE_IN_TWO_SPLITS = (
        "same_file_in_two_splits", "files of the same content stand in two splits", True,
    )  # fmt: skip
    SAME_FILE_TWICE = "same_file_twice", "files of the same content, not in two splits"
    SAME_FILE_WITH_TWO_LABELS = (
        "same_file_with_two_labels", "files of the same content have different labels", True,
    )  # fmt: skip
    REENCODED_IN_TWO_SPLITS = (
        "reencoded_in_two_splits", "videos that look and sound the same stand in two splits", True,
    )  # fmt: skip
    REENCODED_TWICE = "reencoded_twice", "videos that look and sound the same, not in two splits"

    # Labels
    LABEL_UNREADABLE = "label_unreadable", "no label 0 or 1 where one belongs: stays unlabelled"
    PLACEHOLDER_LABELS = "placeholder_labels", "a split with the label 0 on every line: no labels"
    ANNOTATED_TWICE = "annotated_twice", "two annotations of one video: the first holds", True
    LISTED_WITH_TWO_LABELS = (
        "listed_with_two_labels", "one video is given two labels: the first holds", True,
    )  # fmt: skip
    SPLIT_CONTRADICTS_ANNOTATION = (
        "split_contradicts_annotation", "split and annotation differ in the label", True,
    )  # fmt: skip
    NEGATIVE_WITH_INTERVALS = (
        "negative_with_intervals", "labelled as without A/H, but A/H intervals are annotated", True,
    )  # fmt: skip
    POSITIVE_WITHOUT_INTERVALS = (
        "positive_without_intervals", "labelled A/H, but no interval says when",
    )  # fmt: skip

    SPLIT_WITHOUT_VIDEOS = (
        "split_without_videos", "no video in train or val: nothing is learnt or chosen there", True,
    )  # fmt: skip
    TEST_WITHOUT_VIDEOS = "test_without_videos", "no video in test: nothing is measured there"
    SPLIT_WITHOUT_LABELS = (
        "split_without_labels", "no label in train or val: nothing is learnt or chosen there", True,
    )  # fmt: skip
    TEST_WITHOUT_LABELS = "test_without_labels", "no label in test: nothing is measured there"
    SPLIT_OF_ONE_LABEL = (
        "split_of_one_label", "all labels of a split are the same: figures mean nothing", True,
    )  # fmt: skip

    # Intervals
    ANNOTATION_UNREADABLE = "annotation_unreadable", "an annotation that is no mapping: not used"
    FIELD_UNREADABLE = "field_unreadable", "certainty, cues or frames are no list: not used"
    INTERVAL_UNREADABLE = (
        "interval_unreadable", "an interval without usable times, or reversed: rejected", True,
    )  # fmt: skip
    INTERVAL_EMPTY = "interval_empty", "an interval that ends where it starts: rejected"
    INTERVALS_UNSORTED = "intervals_unsorted", "intervals not in order of time: sorted"
    INTERVALS_OVERLAP = "intervals_overlap", "intervals that overlap or touch: joined"
    INTERVAL_PAST_END = "interval_past_end", "an interval that ends after the video: clipped"
    INTERVAL_AFTER_END = (
        "interval_after_end", "an interval that starts after the video's end: dropped", True,
    )  # fmt: skip
    NO_INTERVAL_WITHIN = (
        "no_interval_within", "every interval of the video lies after its end: unlabelled", True,
    )  # fmt: skip
    LENGTHS_DIFFER = "lengths_differ", "certainty, cues or frames do not match the intervals"
    FRAMES_DISAGREE = "frames_disagree", "annotated frames and times differ: the times hold"

    # The released transcript
    TRANSCRIPT_UNREADABLE = "transcript_unreadable", "transcript pieces without text or start"
    TRANSCRIPT_RESTARTS = "transcript_restarts", "transcript times that fall back: made monotone"
    TRANSCRIPT_OPEN = "transcript_open", "transcript pieces without an end: closed where possible"

    # Whose videos are not used
    ERASED = "erased", "videos of participants whom this store has erased: left out"

    # What the files showed
    CANNOT_BE_OPENED = "cannot_be_opened", "not a video that can be opened: a run rejects it"
    MEDIA = "media", "the video decodes, but not as its container says"


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing found wrong; ``detail`` never quotes a transcript or a participant's details."""

    kind: IssueKind
    detail: str
