from collections import Counter
from pathlib import Path

import pytest

from flows.context.open import open_run
from flows.context.request import RunRequest
from flows.context.run_context import Run
from flows.context.settings import load_settings
from storage.datasets.dataset import Dataset
from storage.records import Interval
from storage.store.store import Store
from tests.builders import a_video
from tests.flows.toys import finish, request_of, videos_of, write_release


@pytest.mark.parametrize("boundaries", ["fixed", "annotated"])
def test_only_training_videos_are_marked_and_only_for_annotated_cuts(
    tmp_path: Path, boundaries: str
) -> None:
    intervals = (Interval(start_ms=1_000, end_ms=2_000),)
    videos = tuple(
        a_video(
            name, participant_id=name, split=split, label=label,
            intervals=intervals if label else (),
        )
        for name, split, label in [
            ("a", "train", 1), ("b", "train", 0), ("c", "val", 1), ("d", "test", 1),
            *((f"drawn {n}", None, 1) for n in range(20)),
        ]
    )  # fmt: skip
    request = RunRequest(data=str(tmp_path), overrides=(f"segment.boundaries={boundaries}",))
    settings = load_settings("default", request.overrides)
    dataset = Dataset(root=tmp_path, videos=videos)
    run = Run(request, settings, dataset, Store(str(tmp_path)))
    marked = {name for name, source in run.sources.items() if source.cut_points_ms}
    to_train = {v.video_id for v in run.videos if v.split == "train"}
    assert len(to_train) < len(videos)
    assert marked == (to_train - {"b"} if boundaries == "annotated" else set())
    digests = dataset.source_digests()
    assert {
        name for name, digest in run.expected_videos.items() if digest != digests[name]
    } == marked


def test_a_split_drawn_anew_is_the_one_that_every_stage_knows(tmp_path: Path) -> None:
    videos = tuple(
        a_video(
            f"{n}", participant_id=f"{n // 2}", split="train", label=n % 2,
            intervals=(Interval(start_ms=1, end_ms=9),) * (n % 2),
        )
        for n in range(20)
    )  # fmt: skip
    overrides = ("manifest.split_by=folds", "manifest.fold=3", "segment.boundaries=annotated")
    settings = load_settings("default", overrides)
    request = RunRequest(data=str(tmp_path), overrides=overrides)
    run = Run(request, settings, Dataset(root=tmp_path, videos=videos), Store(str(tmp_path)))
    assert Counter(video.split for video in run.videos) == {"train": 12, "val": 4, "test": 4}
    marked = {name for name, source in run.sources.items() if source.cut_points_ms}
    assert marked == {v.video_id for v in run.videos if v.split == "train" and v.label}


def test_what_an_annotated_cut_leaves_calm_in_a_positive_video_does_not_train(
    tmp_path: Path,
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "made").mkdir()
    write_release(tmp_path / "data")
    request = request_of(tmp_path / "data", tmp_path / "store")
    overrides = (*request.overrides, "segment.boundaries=annotated", "manifest.positive_at=0.6")
    finish(request.model_copy(update={"overrides": overrides}), tmp_path / "made")
    run = open_run(request.model_copy(update={"overrides": overrides}))
    trained = {s.segment_id: s.label for s in run.samples if s.in_training}
    calm, positive = videos_of("90001")
    assert trained == {f"{calm}#0000": 0, f"{calm}#0001": 0, f"{positive}#0001": 1}
    left_out = next(s for s in run.samples if s.segment_id == f"{positive}#0000")
    assert (left_out.label, left_out.split, left_out.in_training) == (0, "train", False)
