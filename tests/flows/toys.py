"""A finished store of toy rows: every stage's variant is the real one; no model is opened."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from flows.context.context import Context, open_context
from flows.context.models import resolve_models
from flows.context.overrides import read_overrides
from flows.context.request import RunRequest
from flows.context.results import open_report
from flows.context.rows import (
    expected_transcripts,
    expected_videos,
    read_manifest,
    read_segments,
    read_video_inputs,
)
from storage.media_records import FrameTimesRecord
from storage.records import RejectedRecord, SampleRecord, VideoId
from storage.store.variant import ItemOutput
from tasks.aggregate import aggregate_shard
from tasks.inference.samples import expected_items
from tasks.manifest import sample_videos
from tasks.stage import Shard
from tests.builders import a_prediction, a_segment, a_transcript, a_word, media_facts

MODEL = Path(__file__).parents[2] / "infra" / "sandbox" / "models" / "omni-base"
WORDS = "unspeakable"
QUICK = ("aggregate.bootstrap_draws=20", "manifest.split_seed=3")
ANSWERS = {  # participant: split, publications, challenges
    "90001": ("train", "Yes", "Yes"),
    "90002": ("val", "No", "Yes"),
    "90003": ("test", None, "No"),
    "90004": ("test", "Yes", None),
}


def another_model(folder: Path) -> Path:
    """A model of other content than the sandbox's, with the same predictions."""
    shutil.copytree(MODEL, folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "note": "another"}))
    return folder


def videos_of(participant: str) -> list[str]:
    return [
        f"Videos/{participant}/Visite_1/{participant}_Question_{q}_2024-01-01 10-00-0{q}_Video.mp4"
        for q in (1, 4)
    ]


def write_release(root: Path) -> None:
    """Two videos of each of four participants; the files are not videos."""
    lines: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    details = []
    for participant, (split, publications, challenges) in ANSWERS.items():
        for label, name in enumerate(videos_of(participant)):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(name.encode())
            lines[split].append(f"{name},{label},words that are not read")
        details.append(f"'{participant}':\n  Age: 33\n")
        if publications:
            details.append(f"  Use in publications: {publications}\n")
        if challenges:
            details.append(f"  Use in challenges: {challenges}\n")
    (root / "split").mkdir()
    for split, rows in lines.items():
        (root / "split" / f"{split}.txt").write_text("\n".join(rows) + "\n")
    (root / "meta_data.yml").write_text("".join(details))
    positive = [videos_of(participant)[1] for participant in ANSWERS]
    (root / "video_annotation_transcript.yaml").write_text(
        "".join(
            f"{name}:\n  global_ah: 1\n  time_detailed_ah: [['00:00:01.000', '00:00:03.500']]\n"
            for name in positive
        )
    )


def request_of(data: Path, store: Path) -> RunRequest:
    return RunRequest(
        data=str(data),
        store=str(store),
        profile="sandbox",
        model=str(MODEL),
        settings=read_overrides(QUICK),
    )


def finish(request: RunRequest, folder: Path) -> None:
    """Commit every stage's rows, three items per part, as the stages do; the report is real."""
    context = open_context(request)
    videos = expected_videos(context)
    _commit(context.segment, videos, (_cut(context, name, folder) for name in videos))
    segments = read_segments(context)
    transcripts = expected_transcripts(context, segments)
    _commit(context.transcribe, transcripts, map(_transcribed, transcripts))
    inputs = read_video_inputs(context, segments)
    samples = sample_videos(list(inputs), inputs, context.settings.manifest)
    _commit(context.manifest, {name: rows.digest for name, rows in inputs.items()}, samples)
    manifest = read_manifest(context)
    predictions = resolve_models(context, manifest).variant
    _commit(predictions, expected_items(manifest.samples), map(_predicted, manifest.samples))
    report = open_report(context)
    shard = Shard(name="1 of 1", expected=report.expected)
    aggregate_shard.fn(shard, report.sources, context.settings.aggregate, report.variant)


def _commit(variant, expected, outputs: Iterable[ItemOutput]) -> None:
    waiting = list(outputs)
    for start in range(0, len(waiting), 3):
        variant.commit(waiting[start : start + 3], expected)


def _cut(context: Context, name: str, folder: Path) -> ItemOutput:
    """Two segments of 2 s at 5 frames a second."""
    stem = Path(name).stem.replace(" ", "_")
    stored = [context.segment.file_path(f"{stem}/{index:04d}.mp4") for index in (0, 1)]
    files = {path: folder / path.replace("/", "-") for path in stored}
    for path in files.values():
        path.write_bytes(b"video")
    video_id = VideoId(name)
    facts = media_facts(name, source_digest=expected_videos(context)[name], has_audio=False)
    times = FrameTimesRecord(video_id=video_id, frame_ms=tuple(range(0, 4_000, 200)), end_ms=4_000)
    segments = [
        a_segment(
            name, index, start_ms=2_000 * index, end_ms=2_000 * (index + 1), num_frames=10,
            num_samples=0, video_path=path, audio_path=None, audio_digest=None,
        )
        for index, path in enumerate(stored)
    ]  # fmt: skip
    return ItemOutput(item_id=name, rows=(facts, times, *segments), files=files)


def _transcribed(name: str) -> ItemOutput:
    transcript = a_transcript(name, a_word(WORDS, 100, 500))
    return ItemOutput(item_id=name, rows=(transcript,))


def _predicted(sample: SampleRecord) -> ItemOutput:
    """Predict the label; the second segment of one video is rejected."""
    if sample.segment_id == f"{videos_of('90004')[0]}#0001":
        row: object = RejectedRecord(item_id=sample.segment_id, stage="infer", reason="damaged")
    else:
        row = a_prediction(sample.segment_id, 0.2 + 0.6 * (sample.label or 0))
    return ItemOutput(item_id=sample.segment_id, rows=(row,))
