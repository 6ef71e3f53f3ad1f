import shutil
from pathlib import Path

import pytest

from flows.context.open import open_run
from flows.context.preflight import check_before_start
from flows.context.request import RunRequest
from flows.context.run_context import Run
from storage.errors import ConfigError, ModelError
from storage.results import ModelRecord
from storage.store.variant import ItemOutput, open_variant
from tests.builders import a_model
from tests.flows.toys import MODEL, another_model, finish


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "my data"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"content")
    return folder


@pytest.mark.parametrize("store", ["", "store", "deeper/store"])
@pytest.mark.parametrize("protocol", ["", "file://"])
def test_a_store_among_the_videos_is_refused_and_not_made(
    data: Path, store: str, protocol: str
) -> None:
    request = RunRequest(data=str(data), store=f"{protocol}{data / store}")
    with pytest.raises(ConfigError, match=r"lies inside the data folder .*--store"):
        open_run(request)
    assert [path.name for path in data.iterdir()] == ["a.mp4"]


def test_a_store_behind_a_link_into_the_data_is_refused_too(data: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(data)
    with pytest.raises(ConfigError, match="lies inside the data folder"):
        open_run(RunRequest(data=str(data), store=str(tmp_path / "link" / "store")))


@pytest.mark.parametrize("store", ["my data/.waver/store", "my data 2", "store"])
def test_a_store_where_no_video_is_looked_for_is_welcome(
    data: Path, tmp_path: Path, store: str
) -> None:
    for _ in range(2):
        run = open_run(RunRequest(data=str(data), store=str(tmp_path / store)))
        run.store.write_bytes("segment/x/files/0000.mp4", b"segment")
        assert list(run.sources) == ["a.mp4"]


def test_a_model_in_a_remote_store_is_opened_as_a_local_folder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    (data / "split").mkdir()
    (data / "split" / "train.txt").write_text("a.mp4,1\n")
    run = open_run(RunRequest(data=str(data), store=f"memory://{tmp_path}"))
    variant = open_variant(run.store, "finetune", version=1, settings={})
    record = trained(variant.file_path("abc/model"), macro_f1=0.5)
    weights = tmp_path / "weights"
    weights.write_bytes(b"weights")
    files = {f"{record.model_path}/deeper/weights": weights}
    variant.commit([ItemOutput(item_id="model", rows=(record,), files=files)], {"model": "1"})
    vars(run).update(finetune=variant, expected_models={"model": "1"})
    assert (run.model_path / "deeper" / "weights").read_bytes() == b"weights"


def trained(path: str, macro_f1: float) -> ModelRecord:
    return a_model(path, val_loss=0.5, val_macro_f1=macro_f1, val_average_precision=0.5)


def test_models_that_answer_together_keep_the_variants_they_have_alone(
    finished: RunRequest, tmp_path: Path
) -> None:
    other = another_model(tmp_path / "other")

    def opened(*models: object) -> Run:
        return open_run(finished.model_copy(update={"model": tuple(map(str, models))}))

    together, alone = opened(MODEL, other), opened(other)
    assert together.is_ensemble
    assert together.model_name == f"{MODEL} and {other} together"
    assert list(together.model_paths.values()) == [MODEL, other]
    assert together.members[str(MODEL)].path == open_run(finished).infer.path
    assert together.members[str(other)].path == alone.infer.path
    assert together.infer.path not in {own.path for own in together.members.values()}
    assert opened(other, MODEL).infer.path == together.infer.path
    assert together.members[str(MODEL)].pending(together.expected_segments) == []


@pytest.mark.parametrize("copied", [True, False])
def test_one_model_under_two_names_is_no_ensemble(
    finished: RunRequest, tmp_path: Path, copied: bool
) -> None:
    twice = shutil.copytree(MODEL, tmp_path / "copy") if copied else f"{MODEL}/../{MODEL.name}"
    run = open_run(finished.model_copy(update={"model": (str(MODEL), str(twice))}))
    for refuse in (lambda: run.infer, lambda: check_before_start(run)):
        with pytest.raises(ModelError, match=r"omni-base' and '.*' are the same, by content"):
            refuse()


def test_without_labels_a_run_judges_by_what_an_earlier_one_chose_for_its_model(
    finished: RunRequest, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "made").mkdir()
    (tmp_path / "new" / "a.mp4").write_bytes(b"a")
    request = finished.model_copy(update={"data": str(tmp_path / "new")})
    finish(request, tmp_path / "made")
    there, here = open_run(finished), open_run(request)
    assert there.earlier is None, "it has chosen by itself"
    (chosen,) = (row for row in there.thresholds if row.chosen)
    assert here.earlier is not None
    assert here.earlier.rule == chosen
    (verdict,) = (row for row in here.verdicts if row.chosen)
    assert (verdict.pooling_rule, verdict.threshold) == (chosen.method, chosen.threshold)
    assert verdict.pooling_rule == "top_k_mean", "untuned it is the mean"
    assert open_run(request).expected_report == here.expected_report, "its own report is no choice"
    assert here.cautions == ()


def test_of_several_seeds_the_best_on_validation_is_used_and_named(
    data: Path, tmp_path: Path
) -> None:
    (data / "split").mkdir()
    (data / "split" / "train.txt").write_text("a.mp4,1\n")
    overrides = ("finetune.seeds=[4, 7, 1]",)
    run = open_run(RunRequest(data=str(data), store=str(tmp_path / "s"), overrides=overrides))
    variant = open_variant(run.store, "finetune", version=1, settings={})
    for seed, macro_f1 in ((7, 0.8), (4, 0.6), (1, 0.7)):
        record = trained(variant.file_path(f"{seed}/merged"), macro_f1)
        weights = tmp_path / "weights"
        weights.write_bytes(b"weights")
        files = {f"{record.model_path}/weights": weights}
        item = ItemOutput(item_id=f"seed {seed}", rows=(record,), files=files)
        variant.commit([item], {item.item_id: "1"})
    in_order = {f"seed {seed}": "1" for seed in (4, 7, 1)}
    vars(run).update(finetune=variant, expected_models=in_order)
    assert {seed: model.val_macro_f1 for seed, model in run.models.items()} == {
        4: 0.6, 7: 0.8, 1: 0.7,
    }  # fmt: skip
    assert run.seed == 7
    assert run.model_path == Path(run.store.full_path(variant.file_path("7/merged")))
    assert run.model_name.endswith("fine-tuned, seed 7: the best on validation of 3")
