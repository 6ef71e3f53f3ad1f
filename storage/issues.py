"""The kinds of issues that a data set can have, each with a stable name and a meaning.

A kind invalidates results if metrics cannot be trusted despite the pipeline's handling of it:
contradictory labels, lost annotation, or one participant in two splits.

A kind withholds labels if part of a video's annotation was lost or contradicts itself, so that it
is unknown whether the time in none of its intervals shows A/H: that time has no label and is in
neither training nor metrics.
"""

from dataclasses import dataclass
from enum import StrEnum


class IssueKind(StrEnum):
    """A kind of issue: its value is the name in tables, ``meaning`` a line for the reader."""

    meaning: str
    invalidates: bool
    withholds_labels: bool

    def __new__(
        cls, name: str, meaning: str, invalidates: bool = False, withholds_labels: bool = False
    ) -> "IssueKind":
        """Create a kind whose value is its name alone."""
        kind = str.__new__(cls, name)
        kind._value_ = name
        kind.meaning, kind.invalidates = meaning, invalidates
        kind.withholds_labels = withholds_labels
        return kind

    # Files and paths
    FILE_MISSING = "file_missing", "a file of the release is missing"
    PATH_REJECTED = (
        "path_rejected", "a path leaves the data folder or cannot be stored: skipped", True,
    )  # fmt: skip
    VIDEO_MISSING = "video_missing", "annotated or listed in a split, but the file is missing"
    NOT_ANNOTATED = "not_annotated", "a video file without an annotation: stays unlabeled"
    NOT_IN_SPLIT = "not_in_split", "a video that is in no split file"
    NOT_DETAILED = "not_detailed", "no entry for the participant: consent is unknown"
    CONSENT_UNREADABLE = "consent_unreadable", "consent is neither Yes nor No: taken as unknown"
    NO_QUESTION = "no_question", "the file's name contains no question from 1 to 7"
    NO_PARTICIPANT = (
        "no_participant",
        "unknown participant: leakage between splits cannot be detected",
    )
    PARTICIPANT_SPELLED_TWICE = (
        "participant_spelled_twice", "spellings of one participant's id: taken as one participant",
    )  # fmt: skip
    VIDEO_SPELLED_TWICE = (
        "video_spelled_twice", "spellings of one video's name, of the same content and label",
    )  # fmt: skip
    VIDEO_SPELLINGS_DIFFER = (
        "video_spellings_differ", "spellings of one name, of different content or labels", True,
    )  # fmt: skip
    CONSENT_CONTRADICTED = (
        "consent_contradicted", "one participant's answers differ: taken as not permitted",
    )  # fmt: skip
    LABEL_FILE_IGNORED = "label_file_ignored", "a label table of a kind that is not read"
    PARTICIPANT_CONTRADICTED = (
        "participant_contradicted", "folder and file name name different participants", True,
    )  # fmt: skip

    # Leakage
    VIDEO_IN_TWO_SPLITS = "video_in_two_splits", "one video is listed in two splits", True
    PARTICIPANT_IN_TWO_SPLITS = (
        "participant_in_two_splits", "one participant's videos are in two splits", True,
    )  # fmt: skip
    SAME_FILE_IN_TWO_SPLITS = (
        "same_file_in_two_splits", "files of the same content are in two splits", True,
    )  # fmt: skip
    SAME_FILE_TWICE = "same_file_twice", "files of the same content, within one split"
    SAME_FILE_WITH_TWO_LABELS = (
        "same_file_with_two_labels", "files of the same content have different labels", True,
    )  # fmt: skip
    REENCODED_IN_TWO_SPLITS = (
        "reencoded_in_two_splits", "copies or parts of one recording are in two splits", True,
    )  # fmt: skip
    REENCODED_TWICE = "reencoded_twice", "copies or parts of one recording, within one split"

    ACCEPTED_DUPLICATE = (
        "accepted_duplicate", "a pair of videos that the user accepts as no copies of each other",
    )  # fmt: skip

    # Labels
    LABEL_UNREADABLE = (
        "label_unreadable", "a label that is neither 0 nor 1: ignored", False, True,
    )  # fmt: skip
    PLACEHOLDER_LABELS = (
        "placeholder_labels",
        "a split with the label 0 on every line: taken as unlabeled",
    )
    ANNOTATED_TWICE = "annotated_twice", "two equal annotations of one video: the first is used"
    ANNOTATIONS_DIFFER = (
        "annotations_differ", "two different annotations of one video: unlabeled", True, True,
    )  # fmt: skip
    LISTED_WITH_TWO_LABELS = (
        "listed_with_two_labels", "one video is listed with two labels: unlabeled", True, True,
    )  # fmt: skip
    SPLIT_CONTRADICTS_ANNOTATION = (
        "split_contradicts_annotation",
        "split file and annotation have different labels: unlabeled", True, True,
    )  # fmt: skip
    NEGATIVE_WITH_INTERVALS = (
        "negative_with_intervals",
        "labeled as without A/H, but with annotated A/H intervals: unlabeled", True, True,
    )  # fmt: skip
    POSITIVE_WITHOUT_INTERVALS = (
        "positive_without_intervals", "labeled as A/H, but without an interval",
    )  # fmt: skip
    SEGMENTS_UNLABELED = (
        "segments_unlabeled",
        "segments whose annotation was lost or contradicts itself",
    )
    NO_POSITIVE_SEGMENT = (
        "no_positive_segment",
        "a video with A/H intervals, but no positive segment",
    )

    SPLIT_WITHOUT_VIDEOS = (
        "split_without_videos", "no video in train or val: no training or no model selection", True,
    )  # fmt: skip
    TEST_WITHOUT_VIDEOS = "test_without_videos", "no video in test: no test metrics"
    SPLIT_WITHOUT_LABELS = (
        "split_without_labels", "no label in train or val: no training or no model selection", True,
    )  # fmt: skip
    TEST_WITHOUT_LABELS = "test_without_labels", "no label in test: no test metrics"
    SPLIT_OF_ONE_LABEL = (
        "split_of_one_label", "all labels of a split are the same: metrics are meaningless", True,
    )  # fmt: skip

    # Intervals
    ANNOTATION_UNREADABLE = (
        "annotation_unreadable", "an annotation that is not a mapping: ignored", False, True,
    )  # fmt: skip
    FIELD_UNREADABLE = "field_unreadable", "certainty, cues or frames are not a list: ignored"
    INTERVAL_UNREADABLE = (
        "interval_unreadable",
        "an interval without times, or reversed: other time is unlabeled", True, True,
    )  # fmt: skip
    INTERVAL_EMPTY = (
        "interval_empty",
        "an interval that ends where it starts: other time is unlabeled", False, True,
    )  # fmt: skip
    INTERVAL_MISSING = (
        "interval_missing",
        "certainty, cues or frames of a missing interval: other time is unlabeled",
        False, True,
    )  # fmt: skip
    INTERVALS_UNSORTED = "intervals_unsorted", "intervals not sorted by time: sorted"
    INTERVALS_OVERLAP = "intervals_overlap", "intervals that overlap or touch: merged"
    INTERVAL_PAST_END = (
        "interval_past_end", "an interval that ends up to 1 s past the video: clipped",
    )  # fmt: skip
    INTERVAL_FAR_PAST_END = (
        "interval_far_past_end",
        "an interval that ends over 1 s past the video: other time is unlabeled",
        True, True,
    )  # fmt: skip
    INTERVAL_AFTER_END = (
        "interval_after_end",
        "an interval that starts after the video: other time is unlabeled", True, True,
    )  # fmt: skip
    NO_INTERVAL_WITHIN = (
        "no_interval_within",
        "most or all intervals of the video are not within it: unlabeled", True, True,
    )  # fmt: skip
    IMPLAUSIBLE_UNIT = (
        "implausible_unit",
        "times that are probably in another unit, as seconds: unlabeled",
        True, True,
    )  # fmt: skip
    CUE_KIND_UNKNOWN = "cue_kind_unknown", "an annotated cue of a kind that the data set lacks"
    LENGTHS_DIFFER = "lengths_differ", "certainty, cues or frames do not match the intervals"
    FRAMES_DISAGREE = "frames_disagree", "annotated frames and times differ: the times are used"

    # The released transcript
    TRANSCRIPT_UNREADABLE = "transcript_unreadable", "transcript pieces without text or start"
    TRANSCRIPT_RESTARTS = (
        "transcript_restarts", "transcript times that restart or overlap: made monotone",
    )  # fmt: skip
    TRANSCRIPT_OPEN = "transcript_open", "transcript pieces without an end: closed where possible"

    # Erased participants
    ERASED = "erased", "videos of participants erased from the store: excluded"

    # Media
    CANNOT_BE_OPENED = "cannot_be_opened", "not a video that can be opened: rejected by a run"
    CHECK_FAILED = (
        "check_failed", "an unforeseen error while the file was examined: a fault of Waver", True,
    )  # fmt: skip
    BLACK_VIDEO = "black_video", "a tenth of the video or more is black"
    FROZEN_VIDEO = "frozen_video", "nothing moves in a tenth of the video or more"
    SILENT_AUDIO = "silent_audio", "nothing is audible in half of the audio or more"
    MISSING_AUDIO = "missing_audio", "a tenth of the video or more has no audio that decodes"
    CLIPPED_AUDIO = "clipped_audio", "audio that is distorted at full scale"
    DEAD_CHANNEL = "dead_channel", "one of two audio channels is silent: the other one is used"
    ANTIPHASE_AUDIO = "antiphase_audio", "audio channels cancel each other: only one is used"
    MEDIA = "media", "other warnings of cutting: damage, losses, and what was adapted"


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue; ``detail`` never quotes a transcript or a participant's details."""

    kind: IssueKind
    detail: str
