import pickle
import re

import pytest

from storage.issues import Issue, IssueKind


@pytest.mark.parametrize("kind", list(IssueKind))
def test_every_kind_has_a_plain_name_and_a_meaning_of_one_line(kind):
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.value)
    assert 10 < len(kind.meaning) <= 72
    assert "\n" not in kind.meaning
    assert isinstance(kind.invalidates, bool)
    assert isinstance(kind.withholds_labels, bool)


def test_a_kind_is_restored_from_its_name():
    assert IssueKind("frames_disagree") is IssueKind.FRAMES_DISAGREE
    assert f"{IssueKind.FRAMES_DISAGREE}" == "frames_disagree"
    issue = Issue(IssueKind.FRAMES_DISAGREE, "detail")
    assert pickle.loads(pickle.dumps(issue)) == issue


def test_contradictory_labels_invalidate_results_and_missing_ones_do_not():
    assert IssueKind.NEGATIVE_WITH_INTERVALS.invalidates
    assert IssueKind.SPLIT_CONTRADICTS_ANNOTATION.invalidates
    assert not IssueKind.POSITIVE_WITHOUT_INTERVALS.invalidates
    assert not IssueKind.NOT_ANNOTATED.invalidates


def test_lost_or_contradictory_annotation_withholds_labels_and_missing_one_does_not():
    withheld = {kind.value for kind in IssueKind if kind.withholds_labels}
    assert withheld == {
        "label_unreadable", "annotations_differ", "listed_with_two_labels",
        "split_contradicts_annotation", "negative_with_intervals", "annotation_unreadable",
        "interval_unreadable", "interval_empty", "interval_missing", "interval_far_past_end",
        "interval_after_end", "no_interval_within", "implausible_unit",
    }  # fmt: skip
