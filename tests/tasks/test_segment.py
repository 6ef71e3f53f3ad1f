import io
import json
import subprocess
import sys
import time
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from storage.errors import StageError, StoreError, ToolError
from storage.fingerprint import digest_file, digest_stream
from storage.media_records import FrameTimesRecord, MediaFacts, SegmentRecord
from storage.records import RejectedRecord
from storage.store.store import Store
from storage.store.variant import Variant
from tasks import segment
from tasks.segment import SegmentConfig, SourceVideo, segment_shard, variant_of
from tasks.stage import Shard

CONFIG = SegmentConfig()
GOOD = ["very-short.mp4", "ntsc.mp4", "no-audio.mp4", "one-frame.mp4", "audio-only.m4a"]
BAD = ["empty.mp4", "text.mp4", "truncated-moov-first.mp4"]


@pytest.fixture
def variant(tmp_path) -> Variant:
    return variant_of(Store(str(tmp_path / "store")), CONFIG)


def expected_items(paths: dict[str, Path]) -> dict[str, str]:
    return {video_id: digest_file(path) for video_id, path in paths.items()}


def sources_of(paths: dict[str, Path]) -> dict[str, SourceVideo]:
    return {
        video_id: SourceVideo(path=path, source_digest=digest_file(path))
        for video_id, path in paths.items()
    }


def run(variant: Variant, paths: dict[str, Path], config: SegmentConfig = CONFIG) -> str:
    """Run the stage on one shard; return the name of its final state."""
    shard = Shard(name="1 of 1", expected=expected_items(paths))
    return segment_shard.fn(shard, sources_of(paths), config, variant).name


def tables(variant: Variant, paths: dict[str, Path]) -> list[pa.Table]:
    types = (MediaFacts, FrameTimesRecord, SegmentRecord, RejectedRecord)
    return [variant.table(record_type, expected_items(paths)) for record_type in types]


@pytest.fixture(scope="module")
def paths(video) -> dict[str, Path]:
    return {f"people/{name}": video(name) for name in [*GOOD, *BAD]}


@pytest.fixture(scope="module")
def uninterrupted(paths, tmp_path_factory) -> Variant:
    """Return the variant of good and bad videos, segmented without interruption."""
    variant = variant_of(Store(str(tmp_path_factory.mktemp("uninterrupted"))), CONFIG)
    assert run(variant, paths) == "Completed"
    return variant


def test_good_videos_have_facts_and_segments_and_bad_ones_a_reason(uninterrupted, paths):
    facts = uninterrupted.read(MediaFacts, expected_items(paths))
    assert [(f.video_id, f.duration_ms, f.num_frames, f.has_audio) for f in facts] == [
        ("people/very-short.mp4", 200, 5, True),
        ("people/ntsc.mp4", 7_307, 219, True),
        ("people/no-audio.mp4", 6_000, 150, False),
        ("people/one-frame.mp4", 40, 1, False),
        ("people/audio-only.m4a", 3_008, 0, True),
    ]
    rejected = {
        r.item_id: r.reason for r in uninterrupted.read(RejectedRecord, expected_items(paths))
    }
    assert list(rejected) == [f"people/{name}" for name in BAD]
    assert "empty (0 bytes)" in rejected["people/empty.mp4"]
    assert "not a video" in rejected["people/text.mp4"]
    assert "truncated" in rejected["people/truncated-moov-first.mp4"]


def test_segments_are_contiguous_and_point_to_their_video(uninterrupted, paths):
    rows = uninterrupted.read(SegmentRecord, expected_items(paths))
    ntsc = [row for row in rows if row.video_id == "people/ntsc.mp4"]
    assert [(row.segment_id, row.index) for row in ntsc] == [
        ("people/ntsc.mp4#0000", 0),
        ("people/ntsc.mp4#0001", 1),
    ]
    assert (ntsc[0].start_ms, ntsc[0].end_ms, ntsc[1].end_ms) == (0, ntsc[1].start_ms, 7_307)
    assert sum(row.num_frames for row in ntsc) == 219


def test_frame_times_match_the_segments(uninterrupted, paths):
    segments = uninterrupted.read(SegmentRecord, expected_items(paths))
    frame_times = uninterrupted.read(FrameTimesRecord, expected_items(paths))
    assert [row.video_id for row in frame_times] == [f"people/{name}" for name in GOOD]
    assert (frame_times[-1].frame_ms, frame_times[-1].end_ms) == ((), 3_008)
    for row in frame_times[:-1]:
        own = [segment for segment in segments if segment.video_id == row.video_id]
        indices = np.cumsum([0, *(segment.num_frames for segment in own)])
        bounds = [*(segment.start_ms for segment in own), own[-1].end_ms]
        assert [*row.frame_ms, row.end_ms] == sorted((*row.frame_ms, row.end_ms))
        assert [(*row.frame_ms, row.end_ms)[index] for index in indices] == bounds
        assert row.frame_ms[0] == 0


def test_stored_files_match_their_rows(uninterrupted, paths):
    for row in uninterrupted.read(SegmentRecord, expected_items(paths)):
        if row.video_path is None:
            assert (row.num_frames, row.video_digest) == (0, None)
            assert row.video_id == "people/audio-only.m4a"
        else:
            with uninterrupted.store.open(row.video_path) as stream:
                assert digest_stream(stream) == row.video_digest
        if row.audio_path is None:
            assert (row.num_samples, row.audio_digest) == (0, None)
            continue
        content = uninterrupted.store.open(row.audio_path).read()
        assert digest_stream(io.BytesIO(content)) == row.audio_digest
        with wave.open(io.BytesIO(content)) as audio:
            assert audio.getnframes() == row.num_samples


def test_audio_may_be_lost_in_segments_and_go_on_after_the_last_frame(variant, video):
    paths = {name: video(f"audio-{name}.mp4") for name in ("longer", "shorter")}
    run(variant, paths)
    rows = variant.read(SegmentRecord, expected_items(paths))
    media = [(r.start_ms, r.num_frames, r.video_path is None, r.audio_path is None) for r in rows]
    assert media == [
        (0, 75, False, False),
        (3_000, 75, False, False),
        (6_000, 0, True, False),
        (0, 87, False, False),
        (3_480, 88, False, True),
    ]
    assert [row.num_samples for row in rows[2:]] == [48_043, 55_680, 0]
    assert [round(row.audio_quality.decoded_fraction, 2) for row in rows] == [1, 1, 1, 1, 0.15]
    facts = variant.read(MediaFacts, expected_items(paths))
    assert [(f.duration_ms, f.has_audio) for f in facts] == [(9_003, True), (7_000, True)]
    frame_times = variant.read(FrameTimesRecord, expected_items(paths))
    assert [row.end_ms for row in frame_times] == [6_000, 7_000]


def test_second_run_needs_no_ffmpeg_and_is_cached(uninterrupted, paths, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    before = tables(uninterrupted, paths)
    again = variant_of(Store(uninterrupted.store.url), CONFIG)
    assert run(again, paths) == "Cached"
    assert tables(again, paths) == before


def test_added_video_is_the_only_one_computed(variant, video, monkeypatch, tmp_path):
    paths = {"a": video("very-short.mp4")}
    run(variant, paths)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="ffprobe"):
        run(variant, paths | {"b": video("one-frame.mp4")})
    assert tables(variant, paths | {"b": video("one-frame.mp4")})[-1].num_rows == 0
    monkeypatch.undo()
    both = paths | {"b": video("one-frame.mp4")}
    shard = Shard(name="", expected=expected_items(both))
    state = segment_shard.fn(shard, sources_of(both), CONFIG, variant)
    assert (state.data.num_cached, state.data.num_computed) == (1, 1)


@pytest.mark.parametrize("suffix", [".mp4", ".wav"])
def test_damaged_segment_is_computed_again_with_the_same_rows(variant, video, suffix):
    paths = {"a": video("very-short.mp4"), "b": video("one-frame.mp4"), "c": video("ntsc.mp4")}
    run(variant, paths)
    before = tables(variant, paths)
    files = Path(variant.store.root, variant.path, "files")
    damaged = sorted(files.glob(f"ntsc-*/*{suffix}"))[0]
    content = bytearray(damaged.read_bytes())
    content[200] ^= 1
    damaged.write_bytes(content)
    assert variant.pending(expected_items(paths)) == ["c"]
    assert run(variant, paths) == "Completed"
    assert tables(variant, paths) == before


def test_changed_video_is_cut_again_and_replaces_the_old_rows(variant, video, tmp_path):
    path = tmp_path / "daily.mp4"
    path.write_bytes(video("very-short.mp4").read_bytes())
    run(variant, {"a": path})
    path.write_bytes(video("ntsc.mp4").read_bytes())
    run(variant, {"a": path})
    rows = variant.read(SegmentRecord, expected_items({"a": path}))
    assert [row.num_frames for row in rows] == [110, 109]


def test_data_sets_with_equal_file_names_can_use_one_store(variant, video, tmp_path):
    data_sets = []
    for name in ("very-short.mp4", "one-frame.mp4"):
        path = tmp_path / name[:3] / "a.mp4"
        path.parent.mkdir()
        path.write_bytes(video(name).read_bytes())
        data_sets.append({"a": path})
    assert [run(variant, paths) for paths in data_sets] == ["Completed", "Completed"]
    assert [run(variant, paths) for paths in data_sets] == ["Cached", "Cached"]


@pytest.mark.parametrize("change", ["overwritten", "removed"])
@pytest.mark.parametrize("name", ["very-short.mp4", "text.mp4"])
def test_file_that_changes_while_it_is_cut_is_not_stored(
    variant, video, tmp_path, monkeypatch, name, change
):
    path = tmp_path / "daily.mp4"
    path.write_bytes(video(name).read_bytes())
    cut_video = segment.cut_video

    def cut_and_change(*arguments):
        try:
            return cut_video(*arguments)
        finally:
            path.unlink()
            if change == "overwritten":
                path.write_bytes(video("one-frame.mp4").read_bytes())

    before = expected_items({"daily": path})
    monkeypatch.setattr(segment, "cut_video", cut_and_change)
    with pytest.raises(StageError, match=r"changed or was removed .*run again") as caught:
        run(variant, {"daily": path})
    assert ("daily" in str(caught.value), caught.value.details) == (False, ("video daily",))
    assert variant.pending(before) == ["daily"]


def test_settings_determine_the_variant(tmp_path):
    store = Store(str(tmp_path))
    configs = [
        SegmentConfig(),
        SegmentConfig(max_segment_ms=4_000),
        SegmentConfig(long_side=224),
        SegmentConfig(crf=30),
        SegmentConfig(min_decoded_fraction=0.5),
        SegmentConfig(boundaries="annotated"),
    ]
    assert len({variant_of(store, config).variant_id for config in configs}) == len(configs)


def test_shorter_limit_gives_more_segments(tmp_path, video):
    config = SegmentConfig(max_segment_ms=1_000)
    variant = variant_of(Store(str(tmp_path)), config)
    paths = {"a": video("no-audio.mp4")}
    run(variant, paths, config)
    rows = variant.read(SegmentRecord, expected_items(paths))
    assert [row.duration_ms for row in rows] == [1_000] * 6


def test_changed_cut_points_cut_only_that_video_again(tmp_path, video):
    config = SegmentConfig(boundaries="annotated")
    variant = variant_of(Store(str(tmp_path)), config)
    plain = sources_of({"a": video("no-audio.mp4"), "b": video("very-short.mp4")})
    bounds = []
    for cut_points_ms in ((), (1_000, 1_410), (1_000, 1_520)):
        sources = plain | {"a": replace(plain["a"], cut_points_ms=cut_points_ms)}
        expected = {name: source.digest for name, source in sources.items()}
        state = segment_shard.fn(Shard(name="", expected=expected), sources, config, variant)
        rows = variant.read(SegmentRecord, expected)
        bounds.append([row.start_ms for row in rows if row.video_id == "a"])
        assert state.data.num_computed == (1 if cut_points_ms else 2)
        facts = variant.read(MediaFacts, expected)
        assert [row.source_digest for row in facts] == [s.source_digest for s in plain.values()]
    assert bounds == [[0, 3_000], [0, 1_000, 1_400], [0, 1_000, 1_520]]


def test_videos_with_equal_file_names_do_not_overwrite_each_other(variant, video):
    paths = {"ann/a.mp4": video("very-short.mp4"), "bea/a.mp4": video("one-frame.mp4")}
    run(variant, paths)
    rows = variant.read(SegmentRecord, expected_items(paths))
    assert len({row.video_path for row in rows}) == 2
    assert variant.finished(expected_items(paths)) == set(paths)


def test_stage_works_with_a_store_in_memory(video, tmp_path):
    variant = variant_of(Store(f"memory://{tmp_path}"), CONFIG)
    paths = {"a": video("very-short.mp4"), "bad": video("text.mp4")}
    assert run(variant, paths) == "Completed"
    assert run(variant, paths) == "Cached"
    (row,) = variant.read(SegmentRecord, expected_items(paths))
    assert variant.store.open(row.video_path).read(12)[4:8] == b"ftyp"


_STAGE_TO_KILL = """
import json, sys
from pathlib import Path
from storage.store.store import Store
from tasks.segment import SegmentConfig, SourceVideo, segment_videos, variant_of
from tasks.stage import Shard, compute_missing
url, paths, expected = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
config = SegmentConfig()
variant = variant_of(Store(url), config)
sources = {
    name: SourceVideo(path=Path(path), source_digest=expected[name]) for name, path in paths.items()
}
with variant.store.staging() as folder:
    compute_missing(
        variant,
        Shard(name="", expected=expected),
        lambda ids: segment_videos(ids, sources, config, variant, folder),
        commit_seconds=0,
    )
"""


@pytest.mark.slow
def test_killed_stage_computes_only_the_rest_and_ends_with_the_same_tables(
    uninterrupted, paths, variant
):
    arguments = [
        variant.store.url,
        json.dumps({name: str(path) for name, path in paths.items()}),
        json.dumps(expected_items(paths)),
    ]
    done = Path(variant.store.root, variant.path, "done")
    num_finished = 0
    for num_parts in (1, 3):
        child = subprocess.Popen([sys.executable, "-c", _STAGE_TO_KILL, *arguments])
        while child.poll() is None and len(list(done.glob("*.json"))) < num_parts:
            time.sleep(0.005)
        child.kill()
        assert child.wait() == -9
        reopened = variant_of(Store(variant.store.url), CONFIG)
        assert len(reopened.finished(expected_items(paths))) >= max(num_finished, num_parts)
        num_finished = len(reopened.finished(expected_items(paths)))
    assert num_finished < len(paths)
    assert reopened.store.sweep() >= 1
    shard = Shard(name="", expected=expected_items(paths))
    state = segment_shard.fn(shard, sources_of(paths), CONFIG, reopened)
    assert (state.data.num_cached, state.data.num_computed) == (
        num_finished,
        len(paths) - num_finished,
    )
    assert tables(reopened, paths) == tables(uninterrupted, paths)
    for row in reopened.read(SegmentRecord, expected_items(paths)):
        if row.video_path is None:
            continue
        with reopened.store.open(row.video_path) as stream:
            assert digest_stream(stream) == row.video_digest


_STAGE_ON_A_SMALL_DISK = """
import os, subprocess, sys
from pathlib import Path
from storage.errors import WaverError
from storage.fingerprint import digest_file
from storage.records import RejectedRecord
from storage.store.store import Store
from tasks.segment import SegmentConfig, SourceVideo, segment_shard, variant_of
from tasks.stage import Shard
disk, path = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk], check=True)
variant = variant_of(Store(disk), SegmentConfig())
expected = {"video": digest_file(Path(path))}
def run():
    shard = Shard(name="", expected=expected)
    source = SourceVideo(path=Path(path), source_digest=expected["video"])
    return segment_shard.fn(shard, {"video": source}, SegmentConfig(), variant).name
try:
    run()
except WaverError as error:
    print(type(error).__name__, str(error))
print(variant.read(RejectedRecord, expected), variant.pending(expected), os.listdir(disk + "/.tmp"))
subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
print(run())
"""


def test_full_disk_stops_the_run_and_rejects_no_video(video, tmp_path, with_own_mounts):
    arguments = [str(tmp_path), str(video("cfr25.mp4"))]
    command = [*with_own_mounts, sys.executable, "-c", _STAGE_ON_A_SMALL_DISK, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    message, state, after = done.stdout.splitlines()
    assert message.startswith(f"{StoreError.__name__} No space left while writing to ")
    assert state == "[] ['video'] []"
    assert after == "Completed"
