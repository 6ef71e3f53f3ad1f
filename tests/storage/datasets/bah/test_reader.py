import unicodedata
from pathlib import Path

import pytest
import yaml

from storage.datasets.bah.reader import interpret, is_bah, parse_release, read_bah
from storage.datasets.open import open_dataset, read_dataset
from storage.errors import DataError, LeakageError
from storage.issues import Issue, IssueKind
from storage.records import Interval, VideoRecord

NAME = "Videos/90001/Visite_1/90001_Question_4_2024-01-01_10-00-00_Video.mp4"
SPACED = "Videos/90002/Visite_1/90002_Question_7_2024-01-01 10-00-00_Video-DESKTOP-AB12.mp4"
POSITIVE = {"global_ah": 1, "time_detailed_ah": [["00:00:01.000", "00:00:03.000"]]}
POSITIVE |= {"certainty_ah": [1], "all_cues": [None]}
NEGATIVE = {"global_ah": 0, "time_detailed_ah": [], "certainty_ah": [], "all_cues": []}
YES = {"Use in challenges": "Yes", "Use in publications": "Yes"}


def _release(
    root: Path,
    *,
    annotation: dict | None,
    files: tuple[str, ...] = (NAME, SPACED),
    splits: dict[str, str] | None = None,
    people: dict | None = None,
) -> Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    if annotation is not None:
        (root / "video_annotation_transcript.yaml").write_text(yaml.safe_dump(annotation))
    if people is not None:
        (root / "meta_data.yml").write_text(yaml.safe_dump(people))
    for split, text in (splits or {}).items():
        (root / "split").mkdir(exist_ok=True)
        (root / "split" / f"{split}.txt").write_text(text)
    return root


def _only(root: Path) -> VideoRecord:
    (video,) = read_bah(root).videos
    return video


def test_a_whole_release_is_read_without_issues(tmp_path):
    root = _release(
        tmp_path,
        annotation={NAME: POSITIVE, SPACED: NEGATIVE},
        splits={"train": f"{NAME},1,a, b\n", "test": f"{SPACED},0,c\n"},
        people={"90001": YES, "90002": YES | {"Use in publications": "No"}},
    )
    dataset = read_bah(root)
    assert dataset.issues == ()
    assert dataset.videos == (
        VideoRecord(
            video_id=NAME,
            path=NAME,
            participant_id="90001",
            split="train",
            question=4,
            label=1,
            intervals=(Interval(start_ms=1000, end_ms=3000),),
            consent_publications=True,
            consent_challenges=True,
        ),
        VideoRecord(
            video_id=SPACED,
            path=SPACED,
            participant_id="90002",
            split="test",
            question=7,
            label=0,
            consent_publications=False,
            consent_challenges=True,
        ),
    )


def test_parsing_and_interpretation_are_separate(tmp_path):
    root = _release(tmp_path, annotation={NAME: POSITIVE}, files=(NAME,))
    release = parse_release(root)
    assert release.annotation[NAME].label == 1
    assert interpret(root, release) == read_bah(root)


def test_a_folder_is_a_release_by_its_annotation_or_its_splits(tmp_path):
    assert not is_bah(_release(tmp_path / "a", annotation=None))
    assert is_bah(_release(tmp_path / "b", annotation={}))
    assert is_bah(_release(tmp_path / "c", annotation=None, splits={"test": f"{NAME},0,x\n"}))


def test_the_older_layout_is_matched_to_its_files(tmp_path):
    old = "90001/Visite 1/90001_Question_4_2024-01-01_10-00-00_Video.mp4"
    root = _release(
        tmp_path, annotation={old: POSITIVE}, files=(old,), splits={"train": f"{NAME},1,x\n"}
    )
    video = _only(root)
    assert (video.video_id, video.path, video.participant_id) == (old, old, "90001")
    assert (video.split, video.label) == ("train", 1)


def test_an_annotation_in_the_older_spelling_matches_a_file_in_the_newer(tmp_path):
    old = NAME.removeprefix("Videos/").replace("Visite_1", "Visite 1")
    video = _only(_release(tmp_path, annotation={old: POSITIVE}, files=(NAME,)))
    assert (video.video_id, video.path, video.label) == (old, NAME, 1)


def test_an_annotated_video_without_a_file_is_an_issue_and_no_record(tmp_path):
    dataset = read_bah(
        _release(tmp_path, annotation={NAME: POSITIVE, SPACED: NEGATIVE}, files=(SPACED,))
    )
    assert [video.path for video in dataset.videos] == [SPACED]
    message = f"{NAME}: annotated, but the file is missing"
    assert Issue(IssueKind.VIDEO_MISSING, message) in dataset.issues


def test_a_file_without_an_annotation_is_an_unlabeled_record(tmp_path):
    dataset = read_bah(_release(tmp_path, annotation={NAME: POSITIVE}))
    unlabelled = dataset.videos[1]
    assert (unlabelled.path, unlabelled.label) == (SPACED, None)
    assert [issue.kind for issue in unlabelled.issues] == [IssueKind.NOT_ANNOTATED]


def test_a_split_line_without_a_video_is_an_issue(tmp_path):
    root = _release(
        tmp_path, annotation={NAME: POSITIVE}, files=(NAME,), splits={"val": f"{SPACED},1,x\n"}
    )
    message = f"{SPACED}: listed in split/val.txt, but the file is missing"
    assert Issue(IssueKind.VIDEO_MISSING, message) in read_bah(root).issues


def test_placeholder_labels_of_an_unlabeled_test_set_are_no_labels(tmp_path):
    root = _release(tmp_path, annotation=None, splits={"test": f"{NAME},0,x\n{SPACED},0,y\n"})
    dataset = read_bah(root)
    assert [(v.split, v.label) for v in dataset.videos] == [("test", None)] * 2
    assert not dataset.has_labels


def test_labels_of_split_files_are_used_without_an_annotation(tmp_path):
    root = _release(tmp_path, annotation=None, splits={"val": f"{NAME},0,x\n{SPACED},1,y\n"})
    assert [video.label for video in read_bah(root).videos] == [0, 1]


def test_a_label_that_the_split_contradicts_is_an_issue(tmp_path):
    root = _release(
        tmp_path, annotation={NAME: POSITIVE, SPACED: NEGATIVE}, splits={"train": f"{SPACED},1,x\n"}
    )
    spaced = read_bah(root).videos[1]
    assert spaced.label == 0
    assert [issue.kind for issue in spaced.issues] == [IssueKind.SPLIT_CONTRADICTS_ANNOTATION]


@pytest.mark.parametrize(
    ("record", "listed", "label", "is_lost"),
    [
        (POSITIVE, 1, 1, False), (POSITIVE, 0, None, True), (NEGATIVE, 1, None, True),
        (POSITIVE | {"global_ah": "1"}, 1, 1, False), (POSITIVE | {"global_ah": 0}, 0, None, True),
        (POSITIVE | {"global_ah": "x"}, 0, None, True), (POSITIVE | {"global_ah": "x"}, 1, 1, True),
        ([], 1, 1, True), (POSITIVE | {"time_detailed_ah": [[3, 1]]}, 1, 1, True),
    ],
)  # fmt: skip
def test_what_is_used_of_an_annotation_agrees_with_what_is_reported(
    tmp_path, record, listed, label, is_lost
):
    splits = {"train": f"{NAME},{listed},x\n{SPACED},{1 - listed},y\n"}
    root = _release(tmp_path, annotation={NAME: record}, splits=splits)
    used = read_dataset(str(root)).videos[0]
    assert (used.label, used.has_lost_annotation) == (label, is_lost)
    assert bool(used.intervals) <= (label == 1)
    kinds = {issue.kind for issue in used.issues}
    assert is_lost == any(kind.withholds_labels for kind in kinds)


def test_a_video_in_two_splits_is_rejected_even_in_two_spellings(tmp_path):
    other = NAME.removeprefix("Videos/").replace("Visite_1", "Visite 1")
    root = _release(
        tmp_path,
        annotation={NAME: POSITIVE},
        splits={"train": f"{NAME},1,x\n", "test": f"{other},1,x\n"},
    )
    (video,) = (v for v in read_bah(root).videos if v.path == NAME)
    (issue,) = (i for i in video.issues if i.kind is IssueKind.VIDEO_IN_TWO_SPLITS)
    assert issue.detail == f"listed in split/train.txt and in split/test.txt (as {other!r})"
    with pytest.raises(LeakageError, match=r"listed in two splits \(1 of them\)") as caught:
        open_dataset(str(root))
    assert caught.value.details == (f"video {NAME}: {issue.detail}",)


@pytest.mark.parametrize("name", ["/etc/passwd.mp4", "../x.mp4", "Videos/../../x.mp4"])
def test_names_that_leave_the_data_folder_are_skipped_and_reported(tmp_path, name):
    root = _release(
        tmp_path / "root",
        annotation={NAME: POSITIVE, name: POSITIVE},
        files=(NAME,),
        splits={"train": f"{name},1,x\n{NAME},1,x\n"},
    )
    (tmp_path / "x.mp4").touch()
    dataset = read_bah(root)
    assert [video.path for video in dataset.videos] == [NAME]
    rejected = [issue for issue in dataset.issues if issue.kind is IssueKind.PATH_REJECTED]
    assert len(rejected) == 2


def test_a_video_that_is_a_link_out_of_the_data_folder_is_skipped(tmp_path):
    outside = tmp_path / "outside.mp4"
    outside.touch()
    root = _release(tmp_path / "root", annotation={NAME: POSITIVE, SPACED: NEGATIVE}, files=(NAME,))
    (root / SPACED).parent.mkdir(parents=True)
    (root / SPACED).symlink_to(outside)
    dataset = read_bah(root)
    assert [video.path for video in dataset.videos] == [NAME]
    assert any("through a link" in issue.detail for issue in dataset.issues)


@pytest.mark.parametrize(
    ("written", "expected"),
    [("Yes", True), ("No", False), (True, True), (False, False), ("perhaps", None), (None, None)],
)
def test_consent_is_read_from_text_or_yaml_booleans(tmp_path, written, expected):
    people = {"90001": YES | {"Use in publications": written}}
    root = _release(tmp_path, annotation={NAME: POSITIVE}, files=(NAME,), people=people)
    video = _only(root)
    assert (video.consent_publications, video.consent_challenges) == (expected, True)
    kinds = [issue.kind for issue in video.issues]
    assert kinds == ([IssueKind.CONSENT_UNREADABLE] if expected is None else [])


@pytest.mark.parametrize(
    ("second", "kind"),
    [
        (NEGATIVE, IssueKind.ANNOTATIONS_DIFFER),
        (POSITIVE | {"time_detailed_ah": []}, IssueKind.ANNOTATIONS_DIFFER),
        (POSITIVE | {"annotator_id": "other"}, IssueKind.ANNOTATED_TWICE),
    ],
)
def test_a_video_annotated_in_two_spellings_keeps_the_first_and_is_reported(tmp_path, second, kind):
    old = NAME.removeprefix("Videos/").replace("Visite_1", "Visite 1")
    root = _release(tmp_path, annotation=None, files=(NAME,))
    (root / "video_annotation_transcript.yaml").write_text(
        yaml.safe_dump({NAME: POSITIVE, old: second}, sort_keys=False)
    )
    video = _only(root)
    assert video.label == 1
    assert [issue.kind for issue in video.issues] == [kind]


@pytest.mark.parametrize(
    ("old", "new"), [("Visite_1", "Visite 1"), ("90001/V", "90001 /V"), ("_Video", "_VIDEO")]
)
@pytest.mark.parametrize("same", [True, False])
def test_two_files_of_one_video_are_named_with_the_one_that_is_used(tmp_path, old, new, same):
    other = NAME.replace(old, new)
    root = _release(tmp_path, annotation={NAME: POSITIVE}, files=(NAME, other))
    if not same:
        (root / other).write_bytes(b"x")
    dataset = read_bah(root)
    assert [video.path for video in dataset.videos] == [NAME]
    (issue,) = (i for i in dataset.issues if i.kind is not IssueKind.FILE_MISSING)
    kinds = (IssueKind.VIDEO_SPELLED_TWICE, IssueKind.VIDEO_SPELLINGS_DIFFER)
    assert issue.kind is kinds[not same]
    assert repr(NAME) in issue.detail
    assert repr(other) in issue.detail
    assert issue.detail.endswith(f": {NAME!r} is used")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_annotation_splits_and_details_match_files_whose_accents_are_stored_otherwise(
    tmp_path, form
):
    name = NAME.replace("90001", "José")
    on_disk = unicodedata.normalize(form, name)
    root = _release(
        tmp_path,
        annotation={unicodedata.normalize("NFC", name): POSITIVE},
        files=(on_disk,),
        splits={"val": f"{unicodedata.normalize('NFD', name)},1,x\n"},
        people={"José": YES},
    )
    video = _only(root)
    assert (video.path, video.split, video.label) == (on_disk, "val", 1)
    assert video.consent_publications is True
    assert video.issues == ()


def test_a_split_that_lists_a_video_in_two_spellings_is_an_issue(tmp_path):
    splits = {"train": f"{NAME},1,x\n{NAME.upper()},1,x\n"}
    video = _only(_release(tmp_path, annotation={NAME: POSITIVE}, files=(NAME,), splits=splits))
    (issue,) = video.issues
    assert issue.kind is IssueKind.VIDEO_SPELLED_TWICE
    assert repr(NAME.upper()) in issue.detail


def test_an_annotated_file_whose_suffix_is_not_taken_is_named_as_such(tmp_path):
    name = NAME.replace(".mp4", ".wav")
    dataset = read_bah(_release(tmp_path, annotation={name: POSITIVE}, files=(name, SPACED)))
    (issue,) = (i for i in dataset.issues if i.kind is IssueKind.VIDEO_MISSING)
    assert f"{name}: annotated, but the file is left out, as its suffix '.wav'" in issue.detail


def test_missing_files_and_videos_in_no_split_are_issues(tmp_path):
    splits = {"val": f"{NAME},0,x\n"}
    dataset = read_bah(_release(tmp_path, annotation=None, files=(NAME, SPACED), splits=splits))
    missing = [issue.detail for issue in dataset.issues if issue.kind is IssueKind.FILE_MISSING]
    assert missing == ["video_annotation_transcript.yaml is missing", "meta_data.yml is missing"]
    kinds = [[issue.kind for issue in video.issues] for video in dataset.videos]
    assert kinds == [[], [IssueKind.NOT_IN_SPLIT]]


def test_unquoted_participant_ids_and_answers_are_read(tmp_path):
    root = _release(tmp_path, annotation={NAME: POSITIVE}, files=(NAME,))
    (root / "meta_data.yml").write_text("90001:\n  Use in challenges: No\n")
    video = _only(root)
    assert (video.consent_challenges, video.consent_publications) == (False, None)


def test_a_participant_without_details_has_unknown_consent_and_an_issue(tmp_path):
    root = _release(tmp_path, annotation={NAME: POSITIVE}, files=(NAME,), people={"1": YES})
    video = _only(root)
    assert video.consent_publications is None
    assert IssueKind.NOT_DETAILED in [issue.kind for issue in video.issues]


@pytest.mark.parametrize("question", ["0", "8", "x"])
def test_a_question_outside_one_to_seven_is_unknown_and_reported(tmp_path, question):
    name = NAME.replace("Question_4", f"Question_{question}")
    video = _only(_release(tmp_path, annotation={name: POSITIVE}, files=(name,)))
    assert video.question is None
    assert IssueKind.NO_QUESTION in [issue.kind for issue in video.issues]


def test_a_file_in_another_participants_folder_is_an_issue(tmp_path):
    name = NAME.replace("Videos/90001", "Videos/90009")
    video = _only(_release(tmp_path, annotation={name: POSITIVE}, files=(name,)))
    assert video.participant_id == "90009"
    (issue,) = (i for i in video.issues if i.kind is IssueKind.PARTICIPANT_CONTRADICTED)
    assert issue.kind.invalidates
    assert "named after '90001'" in issue.detail


def test_certainty_cues_annotator_and_transcript_never_reach_a_record(tmp_path):
    seen = {"certainty_ah": [3], "all_cues": [{"facial": "frown"}], "annotator_id": "XY"}
    seen |= {"transcript": {"chunks": [{"text": "so", "timestamp": [0.0, 1.0]}]}}
    plain = _only(_release(tmp_path / "a", annotation={NAME: POSITIVE}, files=(NAME,)))
    cued = _only(_release(tmp_path / "b", annotation={NAME: POSITIVE | seen}, files=(NAME,)))
    assert cued == plain


def test_frames_and_transcripts_of_a_release_are_no_videos(tmp_path):
    other = ("transcription/Videos/90001/x.mp4/x.mp4", "cropped-aligned-faces/y.mp4")
    dataset = read_bah(_release(tmp_path, annotation={NAME: POSITIVE}, files=(NAME, *other)))
    assert [video.path for video in dataset.videos] == [NAME]


def test_a_python_object_in_the_annotation_is_rejected(tmp_path):
    root = _release(tmp_path, annotation={})
    ran = tmp_path / "ran"
    text = f"{NAME}: !!python/object/apply:os.mkdir ['{ran}']\n"
    (root / "video_annotation_transcript.yaml").write_text(text)
    with pytest.raises(DataError, match="nothing was executed"):
        read_bah(root)
    assert not ran.exists()


def test_issues_never_contain_a_participants_details_or_words(tmp_path):
    record = POSITIVE | {"transcript": {"chunks": [{"text": "private"}]}, "global_ah": 0}
    people = {"90001": {"Age": "private", "Use in challenges": "private"}}
    root = _release(
        tmp_path,
        annotation={NAME: record},
        files=(NAME,),
        people=people,
        splits={"train": f"{NAME},private,private\n{SPACED}\n"},
    )
    dataset = read_bah(root)
    details = " ".join(issue.detail for issue in (*dataset.issues, *dataset.videos[0].issues))
    assert len(dataset.videos[0].issues) >= 3
    assert "private" not in details
