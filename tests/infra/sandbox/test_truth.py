import pytest

from infra.sandbox.espeak import SpokenWord
from infra.sandbox.plan import Statement
from infra.sandbox.truth import VideoTruth, dump_truth, iter_truths, load_truth
from storage.errors import DataError
from storage.records import VideoId

TRUTH = VideoTruth(
    video_id=VideoId("Videos/1/a b.mp4"),
    voice="en+f1",
    statements=(Statement(start_ms=0, end_ms=9, face_stance=1, voice_stance=-1, words_stance=1),),
    sentences=(SpokenWord(text="i can", start_ms=1, end_ms=8),),
    words=(
        SpokenWord(text="i", start_ms=1, end_ms=3),
        SpokenWord(text="can", start_ms=4, end_ms=8),
    ),
)


def test_what_is_written_is_read_back():
    assert load_truth(dump_truth(TRUTH)) == TRUTH


def test_a_folder_without_truth_is_rejected_with_a_remedy(tmp_path):
    with pytest.raises(DataError, match=r"infra\.sandbox\.world"):
        list(iter_truths(tmp_path))
