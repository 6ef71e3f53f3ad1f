import logging
from collections import Counter
from pathlib import Path

import pytest

from flows.context import context as context_module
from flows.context.context import context_of, make_context, open_context
from flows.context.overrides import read_overrides
from flows.context.request import RunRequest
from flows.context.settings import load_settings
from storage.datasets.dataset import Dataset
from storage.erasure.erase import erase_participant, find_traces
from storage.errors import ConfigError, DataError
from storage.records import (
    Interval,
    ParticipantId,
    VideoId,
    VideoRecord,
)
from storage.store.store import Store
from tests.flows.toys import request_of, write_release


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "my data"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"content")
    return folder


@pytest.mark.parametrize("store", ["", "store", "deeper/store"])
@pytest.mark.parametrize("protocol", ["", "file://"])
def test_a_store_inside_the_data_folder_is_rejected_and_not_created(
    data: Path, store: str, protocol: str
) -> None:
    request = RunRequest(data=str(data), store=f"{protocol}{data / store}")
    with pytest.raises(ConfigError, match=r"inside the data folder .*--store"):
        open_context(request)
    assert [path.name for path in data.iterdir()] == ["a.mp4"]


def test_a_store_behind_a_link_into_the_data_is_rejected_too(data: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(data)
    with pytest.raises(ConfigError, match="inside the data folder"):
        open_context(RunRequest(data=str(data), store=str(tmp_path / "link" / "store")))


@pytest.mark.parametrize("store", ["my data/.waver/store", "my data 2", "store"])
def test_a_store_where_no_video_is_looked_for_is_accepted(
    data: Path, tmp_path: Path, store: str
) -> None:
    for _ in range(2):
        context = open_context(RunRequest(data=str(data), store=str(tmp_path / store)))
        context.store.write_bytes("segment/x/files/0000.mp4", b"segment")
        assert [video.video_id for video in context.videos] == ["a.mp4"]


@pytest.mark.parametrize(
    ("rows", "warned"),
    [
        ("a.mp4,1\n", None), ("a.mp4,1\na.mp4,0\n", "listed_with_two_labels 1"),
        ("a.mp4,1\nA.mp4,0\n", "video_spellings_differ 1"),
    ],
)  # fmt: skip
def test_a_run_on_a_contradictory_data_set_starts_with_a_warning(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, rows: str, warned: str | None
) -> None:
    (data / "labels.csv").write_text(f"video,label\n{rows}")
    (data / "A.mp4").write_bytes(b"another")
    if warned is None:
        (data / "A.mp4").unlink()
    with caplog.at_level(logging.WARNING, logger="waver"):
        open_context(RunRequest(data=str(data), store=str(tmp_path / "store")))
    assert (warned or "untrustworthy") in (caplog.text or "untrustworthy")
    assert ("untrustworthy" in caplog.text) == (warned is not None)


def test_reassigned_splits_are_those_that_every_stage_sees(tmp_path: Path) -> None:
    videos = tuple(
        VideoRecord(
            video_id=VideoId(f"{n}"), path=f"{n}", participant_id=ParticipantId(f"{n // 2}"),
            split="train", label=n % 2, intervals=(Interval(start_ms=1, end_ms=9),) * (n % 2),
        )
        for n in range(20)
    )  # fmt: skip
    overrides = read_overrides(["manifest.split_by=folds", "manifest.fold=3"])
    context = make_context(
        RunRequest(data=str(tmp_path), settings=overrides),
        load_settings("default", overrides.given()),
        Dataset(root=tmp_path, videos=videos),
        Store(str(tmp_path)),
    )
    assert Counter(video.split for video in context.videos) == {"train": 12, "val": 4, "test": 4}


def test_single_videos_are_a_data_set_and_exclude_a_data_folder(data: Path, tmp_path: Path) -> None:
    video, store = str(data / "a.mp4"), str(tmp_path / "store")
    context = open_context(RunRequest(videos=(video,), store=store))
    assert [row.video_id for row in context.videos] == [video]
    with pytest.raises(ConfigError, match=r"both a data folder .* and single videos"):
        open_context(RunRequest(data=str(data), videos=(video,), store=store))


def test_flows_use_the_context_that_their_caller_opened(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, really_open = [], context_module._open

    def counted(*arguments):  # type: ignore[no-untyped-def]
        opened.append(arguments)
        return really_open(*arguments)

    monkeypatch.setattr(context_module, "_open", counted)
    request = RunRequest(data=str(data), store=str(tmp_path / "store"))
    with context_of(request) as outer:
        with context_of(request.model_copy(update={"only": ("segment",)})) as inner:
            assert inner.dataset is outer.dataset
            assert inner.stages == ("segment",)
        assert len(opened) == 1
        other = request.model_copy(update={"store": str(tmp_path / "other")})
        with context_of(other) as apart:
            assert apart.store.url == other.store
        with context_of(request) as inner:
            assert inner.store is outer.store
        assert len(opened) == 2
    with context_of(request):
        assert len(opened) == 3, "a context ends with the block that opened it"


def test_settings_that_replace_the_profiles_reach_the_flows_below(
    data: Path, tmp_path: Path
) -> None:
    request = RunRequest(data=str(data), store=str(tmp_path / "store"))
    settings = load_settings("default", {"segment": {"crf": 31}})
    with context_of(request, settings), context_of(request) as context:
        assert context.settings.segment.crf == 31


def test_erased_participants_are_left_out_and_counted_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "data").mkdir()
    write_release(tmp_path / "data")
    request = request_of(tmp_path / "data", tmp_path / "store")
    store = Store(request.store)
    for number in range(1, 5):
        erase_participant(store, find_traces(store, f"9000{number}", set(), set()))
        if number == 1:
            with context_of(request) as context, context_of(request):
                assert len(context.videos) == 6
            assert caplog.text.count("2 videos of") == 1
    with pytest.raises(DataError, match="No video of the data set"):
        open_context(request)


def test_accepted_duplicates_must_be_videos_of_the_data_set(data: Path, tmp_path: Path) -> None:
    (data / "b.mp4").write_bytes(b"other content")
    accepted = tmp_path / "accepted.csv"
    request = RunRequest(
        data=str(data), store=str(tmp_path / "store"),
        settings=read_overrides([f"manifest.accept_duplicates='{accepted}'"]),
    )  # fmt: skip
    accepted.write_text("b.mp4,a.mp4\n")
    context = open_context(request)
    assert context.accepted_duplicates == {frozenset({"a.mp4", "b.mp4"})}
    plain = open_context(request.model_copy(update={"settings": read_overrides([])}))
    assert plain.accepted_duplicates == frozenset()
    assert plain.manifest.variant_id == context.manifest.variant_id
    accepted.write_text("b.mp4,gone.mp4\n")
    with pytest.raises(ConfigError, match=r"accepted\.csv") as caught:
        open_context(request)
    assert caught.value.details == ("line 1: no video 'gone.mp4' in the data set",)
