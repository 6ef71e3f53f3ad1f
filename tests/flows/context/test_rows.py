from dataclasses import replace
from pathlib import Path

import pytest

from flows.context import rows
from flows.context.context import Context, make_context, open_context
from flows.context.overrides import read_overrides
from flows.context.request import RunRequest
from flows.context.rows import (
    check_leakage,
    expected_videos,
    read_manifest,
    read_segments,
    sources_of,
    verified_sources,
    verify_segments,
)
from flows.context.settings import load_settings
from storage.datasets.dataset import Dataset, source_index
from storage.errors import LeakageError, StageError
from storage.fingerprint import digest_file
from storage.records import (
    Interval,
    ParticipantId,
    VideoId,
    VideoRecord,
)
from storage.store.file_identity import identity_of
from storage.store.store import Store
from tests.flows.toys import QUICK, finish, request_of, videos_of, write_release


def context_with(folder: Path, videos: tuple[VideoRecord, ...], *overrides: str) -> Context:
    return make_context(
        RunRequest(data=str(folder), settings=read_overrides(overrides)),
        load_settings("default", read_overrides(overrides).given()),
        Dataset(root=folder, videos=videos),
        Store(str(folder)),
    )


@pytest.mark.parametrize("boundaries", ["fixed", "annotated"])
def test_only_training_videos_have_cut_points_and_only_for_annotated_boundaries(
    tmp_path: Path, boundaries: str
) -> None:
    intervals = (Interval(start_ms=1_000, end_ms=2_000),)
    videos = tuple(
        VideoRecord(
            video_id=VideoId(name), path=name, participant_id=ParticipantId(name),
            split=split, label=label, intervals=intervals if label else (),
        )
        for name, split, label in [
            ("a", "train", 1), ("b", "train", 0), ("c", "val", 1), ("d", "test", 1),
            *((f"assigned {n}", None, 1) for n in range(20)),
        ]
    )  # fmt: skip
    context = context_with(tmp_path, videos, f"segment.boundaries={boundaries}")
    with_points = {name for name, s in sources_of(context).items() if s.cut_points_ms}
    to_train = {v.video_id for v in context.videos if v.split == "train"}
    assert len(to_train) < len(videos)
    assert with_points == (to_train - {"b"} if boundaries == "annotated" else set())
    digests = context.dataset.source_digests()
    expected = expected_videos(context)
    assert {name for name, digest in expected.items() if digest != digests[name]} == with_points


def test_videos_of_a_reassigned_training_split_have_cut_points(tmp_path: Path) -> None:
    videos = tuple(
        VideoRecord(
            video_id=VideoId(f"{n}"), path=f"{n}", participant_id=ParticipantId(f"{n // 2}"),
            split="train", label=n % 2, intervals=(Interval(start_ms=1, end_ms=900),) * (n % 2),
        )
        for n in range(20)
    )  # fmt: skip
    overrides = ("manifest.split_by=folds", "manifest.fold=3", "segment.boundaries=annotated")
    context = context_with(tmp_path, videos, *overrides)
    with_points = {name for name, s in sources_of(context).items() if s.cut_points_ms}
    assert with_points == {v.video_id for v in context.videos if v.split == "train" and v.label}


def test_segments_without_ah_of_an_annotated_positive_video_are_not_trained_on(
    tmp_path: Path,
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "files").mkdir()
    write_release(tmp_path / "data")
    request = request_of(tmp_path / "data", tmp_path / "store")
    overrides = (*QUICK, "segment.boundaries=annotated", "manifest.positive_at=0.6")
    request = request.model_copy(update={"settings": read_overrides(overrides)})
    finish(request, tmp_path / "files")
    samples = read_manifest(open_context(request)).samples
    trained = {s.segment_id: s.label for s in samples if s.in_training}
    negative, positive = videos_of("90001")
    assert trained == {f"{negative}#0000": 0, f"{negative}#0001": 0, f"{positive}#0001": 1}
    left_out = next(s for s in samples if s.segment_id == f"{positive}#0000")
    assert (left_out.label, left_out.split, left_out.in_training) == (0, "train", False)


def test_rows_are_those_that_the_store_has_now(finished: RunRequest) -> None:
    context = open_context(finished)
    assert len(read_segments(context)) == 8
    context.segment.invalidate(dict([*expected_videos(context).items()][:1]))
    with pytest.raises(StageError, match="'segment' is not finished: 1 of 8"):
        read_segments(context)


def test_a_damaged_segment_file_ends_a_run_that_is_about_to_use_it(
    finished: RunRequest, tmp_path: Path
) -> None:
    """Also where no time stamp shows the damage: here the snapshot was taken before it."""
    context = open_context(finished)
    _, second = read_segments(context)[videos_of("90001")[0]]
    verify_segments(context, [videos_of("90001")[0]])
    path = Path(context.store.full_path(str(second.video_path)))
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[::-1])
        verify_segments(context, [videos_of("90002")[0]])
        with pytest.raises(StageError, match=r"1 videos in .* are damaged or missing") as error:
            verify_segments(context, videos_of("90001"))
        assert error.value.details == (f"video {videos_of('90001')[0]}",)
        again = open_context(finished)
        assert again.segment.pending(expected_videos(again)) == [videos_of("90001")[0]]
    finally:
        path.write_bytes(whole)


def test_a_video_that_is_about_to_be_cut_is_read_whatever_the_index_knows(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"content")
    videos = (VideoRecord(video_id=VideoId("a.mp4"), path="a.mp4"),)
    wrong = "0" * 32
    context = context_with(tmp_path, videos)
    identity = identity_of(tmp_path / "a.mp4")
    source_index(context.store).record(str(tmp_path / "a.mp4"), identity, wrong, is_settled=True)
    context.store.save_indexes()
    context = context_with(tmp_path, videos)
    assert sources_of(context)["a.mp4"].source_digest == wrong
    assert verified_sources(context)["a.mp4"].source_digest == digest_file(tmp_path / "a.mp4")


def test_one_manifest_is_checked_for_leakage_once_per_context_and_a_leak_every_time(
    finished: RunRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, num_checks = open_context(finished), []
    really_check = rows.check_no_leakage

    def check(*arguments) -> None:  # type: ignore[no-untyped-def]
        num_checks.append(1)
        really_check(*arguments)

    monkeypatch.setattr(rows, "check_no_leakage", check)
    for _ in range(3):
        check_leakage(context, read_manifest(context))
    assert len(num_checks) == 1
    manifest = read_manifest(context)
    leaking = replace(
        manifest,
        expected={**manifest.expected, "other": "digest"},
        samples=tuple(
            replace(sample, split="test" if sample.index % 2 else "train", video_id=VideoId("one"))
            for sample in manifest.samples
        ),
    )
    for _ in range(2):
        with pytest.raises(LeakageError):
            check_leakage(context, leaking)
