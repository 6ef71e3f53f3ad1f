import shutil
from pathlib import Path

import pytest

from flows.context.context import open_context
from flows.context.models import Models, resolve_models, trained_models
from flows.context.overrides import read_overrides
from flows.context.preflight import check_before_start
from flows.context.request import RunRequest
from flows.context.rows import read_manifest
from storage.errors import ModelError
from storage.results import ModelRecord
from storage.store.variant import ItemOutput, Variant, open_variant
from tasks.inference.samples import expected_items
from tests.flows.toys import MODEL, another_model


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "split").mkdir(parents=True)
    (folder / "a.mp4").write_bytes(b"content")
    (folder / "split" / "train.txt").write_text("a.mp4,1\n")
    return folder


def commit_model(variant: Variant, folder: Path, seed: int, macro_f1: float) -> ModelRecord:
    """Commit a trained model; its weights are another copy of the base with a note of the seed."""
    record = ModelRecord(
        model_path=variant.file_path(f"{seed}/merged"), adapter_path=None, method="full",
        base_fingerprint="base", num_train_samples=1, num_val_samples=1, num_parameters=1,
        num_trained=1, num_steps=1, best_step=1, val_loss=0.5, val_macro_f1=macro_f1,
        val_average_precision=0.5,
    )  # fmt: skip
    model = another_model(folder / f"model {seed}")
    (model / "generation_config.json").write_text(f'{{"seed": {seed}}}')
    files = {f"{record.model_path}/{path.name}": path for path in [*model.iterdir()]}
    output = ItemOutput(item_id=f"seed {seed}", rows=(record,), files=files)
    variant.commit([output], {output.item_id: "1"})
    return record


def test_a_model_in_a_remote_store_is_opened_as_a_local_folder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    context = open_context(RunRequest(data=str(data), store=f"memory://{tmp_path}"))
    variant = open_variant(context.store, "finetune", version=1, settings={})
    seed = context.settings.finetune.seed
    record = commit_model(variant, tmp_path, seed, macro_f1=0.5)
    (model,) = trained_models(context, {seed: record}).members
    assert (model.path / "config.json").read_bytes() == (MODEL / "config.json").read_bytes()


@pytest.mark.parametrize("seeds", ["best", "ensemble"])
def test_of_several_seeds_the_best_on_validation_or_all_are_used_and_named(
    data: Path, tmp_path: Path, seeds: str
) -> None:
    overrides = read_overrides(["finetune.seeds=[4, 7, 1]", f"infer.seeds={seeds}"])
    request = RunRequest(data=str(data), store=str(tmp_path / "s"), settings=overrides)
    context = open_context(request)
    variant = open_variant(context.store, "finetune", version=1, settings={})
    records = {
        seed: commit_model(variant, tmp_path, seed, macro_f1)
        for seed, macro_f1 in ((4, 0.6), (7, 0.8), (1, 0.7))
    }
    best = trained_models(context, records, best_only=True)
    assert [model.name for model in best.members] == ["seed 7"]
    assert best.members[0].path == Path(context.store.full_path(variant.file_path("7/merged")))
    assert best.variant == best.members[0].variant
    assert best.name.endswith("fine-tuned, seed 7: the best on validation of 3")
    models = trained_models(context, records)
    if seeds == "best":
        assert models == best
    else:
        assert list(models.member_variants) == ["seed 4", "seed 7", "seed 1"]
        assert models.name.endswith("fine-tuned, ensemble of 3 seeds")


def test_members_of_an_ensemble_keep_the_variants_they_have_alone(
    finished: RunRequest, tmp_path: Path
) -> None:
    other = another_model(tmp_path / "other")
    context = open_context(finished)
    manifest = read_manifest(context)

    def resolved(*names: object) -> Models:
        request = finished.model_copy(update={"model": tuple(map(str, names))})
        return resolve_models(open_context(request), manifest)

    together, alone, first = resolved(MODEL, other), resolved(other), resolved(MODEL)
    assert together.is_ensemble
    assert not alone.member_variants
    assert together.name == f"{MODEL} and {other} together"
    assert [model.path for model in together.members] == [MODEL, other]
    assert together.member_variants[str(MODEL)].path == first.variant.path
    assert together.member_variants[str(other)].path == alone.variant.path
    assert together.variant.path not in {own.path for own in together.member_variants.values()}
    assert resolved(other, MODEL).variant.path == together.variant.path
    assert together.member_variants[str(MODEL)].pending(expected_items(manifest.samples)) == []


@pytest.mark.parametrize("copied", [True, False])
def test_one_model_under_two_names_is_no_ensemble(
    finished: RunRequest, tmp_path: Path, copied: bool
) -> None:
    twice = shutil.copytree(MODEL, tmp_path / "copy") if copied else f"{MODEL}/../{MODEL.name}"
    context = open_context(finished.model_copy(update={"model": (str(MODEL), str(twice))}))
    manifest = read_manifest(context)
    for reject in (lambda: resolve_models(context, manifest), lambda: check_before_start(context)):
        with pytest.raises(ModelError, match=r"omni-base' and '.*' have the same content"):
            reject()
