"""The whole pipeline through the command line, with added, copied and damaged videos."""

import csv
import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from flows.commands import ablate
from flows.context.context import open_context
from flows.context.models import Model, resolve_models
from flows.context.request import RunRequest
from flows.context.results import open_report
from flows.context.rows import read_manifest
from flows.context.settings import load_settings
from flows.context.stage_names import STAGES
from storage.records import VideoId
from storage.results import PredictionRecord, VerdictRecord
from storage.store.part import read_parts, read_rows
from storage.store.store import Store
from storage.store.variant import ItemOutput, Variant
from tasks.ablation.arms import arms_of, with_samples
from tasks.infer import variant_of
from tasks.inference.samples import expected_items
from tasks.model.model_folder import fingerprint_of
from tests.builders import a_prediction
from tests.flows.commands.command_line import (
    SandboxRun,
    Waver,
    arguments_of,
    computed,
    request_of,
    run,
)
from tests.flows.toys import QUICK, another_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_500)]

MODEL = Path(__file__).parents[2] / "infra" / "sandbox" / "models" / "omni-base"


@pytest.fixture(scope="module")
def world(sandbox_run: SandboxRun) -> Path:
    return sandbox_run.data


def predict(
    waver: Waver,
    store: Path,
    *videos: Path,
    models: tuple[Path, ...] = (MODEL,),
    options: tuple[str, ...] = (),
) -> tuple[dict, str]:
    """Predict single files; returns the document and the progress lines."""
    named = [part for path in models for part in ("--model", str(path))]
    ended = waver(
        "predict", *map(str, videos), "--json", *named, "--profile", "sandbox", "--store",
        str(store), *options,
    )  # fmt: skip
    assert ended.returncode == 3, ended.stdout + ended.stderr
    return json.loads(ended.stdout), ended.stderr


@dataclass(frozen=True)
class Predicted:
    """A run over single files: two good videos and one that is none."""

    store: Path
    good: tuple[Path, Path]
    bad: Path
    document: dict
    progress: str


@pytest.fixture(scope="module")
def predicted(waver, world, tmp_path_factory: pytest.TempPathFactory) -> Predicted:
    """The one run of this module that opens a model."""
    folder = tmp_path_factory.mktemp("single files")
    good, bad = (folder / "a ü.mp4", folder / "b.mp4"), folder / "bad.mp4"
    for source, path in zip(sorted(world.rglob("*.mp4")), good, strict=False):
        shutil.copy(source, path)
    bad.write_text("this is not a video")
    document, progress = predict(waver, folder / "store", *good, bad)
    return Predicted(folder / "store", good, bad, document, progress)


def copy_predictions(
    predicted: Predicted, store: Store, model: Path, names: Mapping[Path, str] | None = None
) -> None:
    """Commit the predictions for a model, of videos that have other names there."""
    first = Variant(
        store=Store(str(predicted.store)),
        stage="infer",
        variant_id=predicted.document["variants"]["infer"],
    )
    settings = load_settings("sandbox")
    variant = variant_of(store, settings.infer, settings.input, fingerprint_of(model))
    for part in read_parts(first.store, first.path):
        outputs, expected = [], {}
        for row in read_rows(first.store, first.path, part, PredictionRecord):
            video_id = VideoId((names or {}).get(Path(row.video_id), row.video_id))
            segment_id = row.segment_id.replace(row.video_id, video_id)
            renamed = replace(row, segment_id=segment_id, video_id=video_id)
            outputs.append(ItemOutput(item_id=segment_id, rows=(renamed,)))
            expected[segment_id] = part.items[row.segment_id]
        variant.commit(outputs, expected)


def test_an_added_video_alone_is_computed_and_bad_ones_are_rejected_with_a_reason(
    waver, predicted: Predicted, tmp_path: Path
) -> None:
    data, good = tmp_path / "mixed folder", predicted.good
    data.mkdir()
    shutil.copy(good[0], data / "good one.mp4")
    cheap = ("--only", "segment", "--only", "transcribe", "--only", "manifest")
    output = run(waver, data, tmp_path / "store", *cheap)
    assert [computed(output, stage) for stage in STAGES[:3]] == [1, 1, 1]
    shutil.copy(good[1], data / "added.mp4")
    (data / "empty.mp4").write_bytes(b"")
    (data / "text.mp4").write_text("this is not a video\n" * 50)
    (data / "truncated.mp4").write_bytes(good[0].read_bytes()[: good[0].stat().st_size // 3])
    names = dict(zip(good, ("good one.mp4", "added.mp4"), strict=True))
    copy_predictions(predicted, Store(str(tmp_path / "store")), MODEL, names)
    output = run(waver, data, tmp_path / "store", "--model", str(MODEL), status=3)
    assert computed(output, "infer") == 0, "what the model sees does not depend on names"
    assert [computed(output, stage) for stage in STAGES[:3]] == [1 + 3, 1, 1]
    assert "the file is empty" in output
    assert "not a video" in output
    assert "aggregate: verdicts by mean at 0.500 (0.5, because validation has" in output
    report = open_report(open_context(request_of(data, tmp_path / "store", MODEL)))
    inference = report.inference
    samples = inference.manifest.samples
    assert {sample.video_id for sample in samples} == {"good one.mp4", "added.mp4"}
    verdicts = report.read(VerdictRecord)
    with_verdict = {row.video_id for row in verdicts if row.verdict is not None}
    assert with_verdict == {"good one.mp4", "added.mp4"}
    reasons = {row.item_id: row.reason for row in inference.rejected}
    assert set(reasons) == {"empty.mp4", "text.mp4", "truncated.mp4"}
    assert "not a video" in reasons["text.mp4"]
    assert "empty" in reasons["empty.mp4"]


def test_a_re_encoded_copy_under_another_name_stops_the_run(waver, world, tmp_path: Path) -> None:
    data, (first, second) = tmp_path / "copied", sorted(world.rglob("*.mp4"))[:2]
    data.mkdir()
    shutil.copy(first, data / "first.mp4")
    shutil.copy(second, data / "second.mp4")
    again = ("-vf", "scale=-2:240", "-r", "15", "-c:v", "mpeg4", "-q:v", "8", "-c:a", "libmp3lame")
    source = ("-ss", "0.3", "-i", str(first))
    ffmpeg = ("ffmpeg", "-loglevel", "error", *source, *again, str(data / "copy.mkv"))
    subprocess.run(ffmpeg, check=True, timeout=100, stdin=subprocess.DEVNULL)
    rows = ("first.mp4,1,ann,train", "second.mp4,0,bea,val", "copy.mkv,1,cem,test")
    (data / "labels.csv").write_text("\n".join(["video,label,participant,split", *rows]) + "\n")
    cheap = ("--only", "segment", "--only", "transcribe", "--only", "manifest")
    stopped = waver(*arguments_of(data, tmp_path / "store", *cheap))
    assert stopped.returncode == 2, stopped.stdout + stopped.stderr
    assert "The same recording (1) is in more than one of train, val" in stopped.stderr
    assert "recording copy.mkv = first.mp4: test, train" in stopped.stderr


def test_single_files_are_predicted_and_a_second_time_read_from_the_store(
    waver, world, predicted: Predicted, tmp_path: Path
) -> None:
    document, (video, _), bad = predicted.document, predicted.good, predicted.bad
    good, other_good, rejected = document["videos"]
    paths = [row["path"] for row in document["videos"]]
    assert paths == [*map(str, predicted.good), str(bad)]
    assert "not a video" in rejected["rejected"]
    predictions = [segment["p_ah"] for segment in good["segments"]]
    num_predicted = len(predictions) + len(other_good["segments"])
    assert computed(predicted.progress, "infer") == num_predicted > 3
    assert good["verdict"]["p_ah"] == pytest.approx(sum(predictions) / len(predictions))
    assert any(segment["transcript"] for segment in good["segments"])
    assert good["segments"][-1]["end_ms"] == good["duration_ms"]
    assert video.read_bytes() == sorted(world.rglob("*.mp4"))[0].read_bytes()
    other = another_model(tmp_path / "other model")
    copy_predictions(predicted, Store(str(predicted.store)), other)
    again, progress = predict(
        waver,
        predicted.store,
        video,
        bad,
        models=(other, MODEL),
        options=("--force", "manifest"),
    )  # cached predictions of either model are not computed again
    assert [computed(progress, stage) for stage in STAGES[:3]] == [0, 0, 1]
    ended = [line for line in progress.splitlines() if "infer: " in line and " cached, " in line]
    assert [line.split(" cached, ")[1].split(" computed")[0] for line in ended] == [
        "0", "0", str(len(predictions)),
    ]  # fmt: skip
    assert [member["name"] for member in again["model"]["members"]] == [str(other), str(MODEL)]
    assert again["model"]["members"][1]["variant"] == document["variants"]["infer"]
    assert document["model"]["members"] == []
    probabilities = [segment["p_ah"] for segment in again["videos"][0]["segments"]]
    assert probabilities == pytest.approx(predictions)


def model_of(request: RunRequest) -> Model:
    context = open_context(request)
    (model,) = resolve_models(context, read_manifest(context)).members
    return model


def predict_all_arms(request: RunRequest) -> None:
    """Predict all segments in all arms by their labels; arms without video get the opposite."""
    context = open_context(request)
    samples = read_manifest(context).samples
    model = model_of(request)
    for arm in arms_of(context.settings.input):
        in_arm = with_samples(
            arm, samples, context.store, context.settings.infer, model.fingerprint
        )
        rows = [
            a_prediction(row.segment_id, 0.2 + 0.6 * (row.label == ("video" in arm.modalities)))
            for row in in_arm.samples
        ]
        outputs = [ItemOutput(item_id=row.segment_id, rows=(row,)) for row in rows]
        in_arm.variant.commit(outputs, expected_items(in_arm.samples))


def test_an_ablation_whose_arms_are_cached_opens_no_model_and_compares_them(
    waver, finished: RunRequest, tmp_path: Path
) -> None:
    predict_all_arms(finished)
    out = tmp_path / "ablation.csv"
    overrides = [part for setting in QUICK for part in ("--set", setting)]
    ended = waver(
        "ablate", "--data", finished.data, "--profile", "sandbox", "--store", finished.store,
        "--model", str(MODEL), "--out", str(out), *overrides,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "opening the model" not in ended.stdout
    assert "On segments: 8 labeled in test" in ended.stdout
    with out.open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["name"] == "accuracy"]
    by_arm = {row["arm"]: row for row in rows if row["level"] == "segment"}
    assert len(by_arm) == 8
    with_video, transcript = by_arm["VT"], by_arm["T"]
    assert (with_video["value"], with_video["difference"]) == ("1.0", "0.0")
    # Without video, all validation videos have the same prediction.
    assert (transcript["value"], transcript["difference"]) == ("0.5", "-0.5")
    assert by_arm["A"]["num_rows"] == "0"  # no video of this release has audio
    forced = open_context(finished.model_copy(update={"force": ("infer",)}))
    samples = read_manifest(forced).samples
    for arm in ablate.prepare_arms(forced, model_of(finished), samples):
        assert arm.variant.finished(expected_items(arm.samples)) == set(), "it is computed again"
