"""A toy store of two stages for tests of erasing, and for the processes they kill."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant, open_variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    segment_id: str
    video_id: str
    participant_id: str | None
    transcript: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    video_id: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    chosen_on: tuple[str, ...]


def name_of(participant: str, number: int) -> str:
    return f"Videos/{participant}/Visite_1/{participant}_Question_{number}_10-00 Video.mp4"


def cut_variant(store: Store, crf: int = 23) -> Variant:
    return open_variant(store, "cut", version=1, settings={"crf": crf})


def sum_variant(store: Store) -> Variant:
    return open_variant(store, "sum", version=1, settings={})


def cut(variant: Variant, folder, participant: str | None, video: str) -> ItemOutput:
    """A sample, its transcript, and two files in a folder of the video's own."""
    stem = video.rpartition("/")[2].replace(" ", "_")
    files = {}
    for number in (0, 1):
        local = folder / f"{stem}-{number}"
        local.write_text(f"media of {video}")
        files[variant.file_path(f"{stem}-0123/000{number}.bin")] = local
    sample = Sample(
        segment_id=f"{video}#0000",
        video_id=video,
        participant_id=participant,
        transcript="12 times",
    )
    talk = Talk(video_id=video, pieces=(Piece(text="a word"), Piece(text="12")))
    return ItemOutput(item_id=video, rows=(sample, talk), files=files)


def commit_cuts(
    variant: Variant, owners: Mapping[str, str | None], parts: Iterable[Sequence[str]]
) -> None:
    """Commit videos part by part."""
    expected = dict.fromkeys(owners, "1")
    for videos in parts:
        with variant.store.staging() as folder:
            outputs = [cut(variant, folder, owners[video], video) for video in videos]
            variant.commit(outputs, expected)


def commit_summary(variant: Variant, name: str, videos: Sequence[str]) -> None:
    """Commit one item that names many videos, in a row and in a page."""
    with variant.store.staging() as folder:
        page = folder / "page"
        page.write_text("".join(f"<td>{video}</td>" for video in videos))
        stored = {variant.file_path(f"{name}/report.html"): page}
        row = Summary(chosen_on=tuple(videos))
        variant.commit([ItemOutput(item_id=name, rows=(row,), files=stored)], {name: "1"})
