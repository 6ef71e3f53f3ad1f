import pytest

from infra.benchmarks.ways import cut_as_the_paper, cut_as_waver, decode, segment_outputs
from storage.media_records import SegmentRecord
from tasks.media.audio.wav import read_audio
from tasks.media.video.verify import read_times


def test_the_papers_way_writes_every_segment_and_one_audio(video, tmp_path):
    cut_as_the_paper(video("cfr25.mp4"), 12.0, tmp_path)
    counts = [len(read_times(tmp_path / name)) for name in ("0000.mp4", "0001.mp4", "0002.mp4")]
    assert counts == [125, 125, 50]
    assert len(read_audio(tmp_path / "audio.wav")) == pytest.approx(12 * 16_000, abs=1_000)


def test_decoding_writes_nothing(video, tmp_path):
    decode(video("very-short.mp4"), 0.2, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_ours_is_what_the_stage_makes(video, tmp_path):
    (output,) = segment_outputs(video("ntsc.mp4"), tmp_path)
    segments = [row for row in output.rows if isinstance(row, SegmentRecord)]
    assert [segment.num_frames for segment in segments] == [110, 109]
    assert all(path.exists() for path in output.files.values())


def test_a_video_that_is_rejected_is_no_measurement(video, tmp_path):
    with pytest.raises(ValueError, match=r"'text\.mp4' cannot be measured: .*not a video"):
        cut_as_waver(video("text.mp4"), 1.0, tmp_path)
