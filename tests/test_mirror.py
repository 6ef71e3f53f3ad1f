"""Tests mirror the sources: ``tasks/stage.py`` is tested by ``tests/tasks/test_stage.py``.

A module that is tested elsewhere is listed in `COVERED_BY`, a test module of no single source in
`WITHOUT_SOURCE`.
"""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
PACKAGES = ("flows", "tasks", "storage", "infra")
NOT_TESTED = ("__init__.py", "__main__.py")

COVERED_BY = {
    "flows/running/begin.py": "flows/server/test_history.py",
    "flows/server/connection.py": "flows/operations/test_serve.py",
    "flows/server/pools.py": "flows/operations/test_serve.py",
    "flows/planning/models.py": "flows/planning/test_plan.py",
    "flows/planning/reasons.py": "flows/planning/test_plan.py",
    "flows/planning/records.py": "flows/planning/test_plan.py",
    "flows/planning/videos.py": "flows/planning/test_plan.py",
    "flows/upkeep/garbage.py": "flows/upkeep/test_collect.py",
    "flows/upkeep/needed.py": "flows/upkeep/test_collect.py",
    "flows/server/process.py": "flows/server/test_local_server.py",
    "flows/server/worker.py": "flows/operations/test_serve.py",
    "flows/cluster/engines.py": "flows/cluster/test_ray_cluster.py",
    "flows/cluster/tasks_on_nodes.py": "flows/cluster/test_ray_cluster.py",
    "flows/stage_definitions.py": "flows/running/test_stage.py",
    "flows/operations/deploy.py": "infra/test_prefect_yaml.py",
    "flows/operations/schedules.py": "infra/test_prefect_yaml.py",
    "flows/running/run_stage.py": "flows/test_pipeline.py",
    "flows/running/show.py": "flows/test_pipeline.py",
    "infra/benchmarks/chaos/deployment.py": "infra/benchmarks/chaos/test_campaign.py",
    "infra/benchmarks/chaos/disks.py": "infra/benchmarks/chaos/test_campaign.py",
    "infra/benchmarks/chaos/disturbed_run.py": "infra/benchmarks/chaos/test_campaign.py",
    "infra/benchmarks/chaos/trial.py": "infra/benchmarks/chaos/test_sandbox.py",
    "infra/benchmarks/chaos/two_nodes.py": "flows/cluster/test_ray_cluster.py",
    "infra/benchmarks/chaos/victims.py": "infra/benchmarks/chaos/test_campaign.py",
    "infra/benchmarks/duplicate_media.py": "infra/benchmarks/test_duplicates.py",
    "infra/benchmarks/duplicate_timing.py": "infra/benchmarks/test_duplicates.py",
    "infra/benchmarks/finetune_ways.py": "infra/benchmarks/test_finetune.py",
    "infra/benchmarks/infer_ways.py": "infra/benchmarks/test_infer.py",
    "infra/sandbox/whisper/export.py": "infra/sandbox/whisper/test_train.py",
    "infra/zoo/recipes.py": "infra/zoo/test_shelf.py",
    "storage/media_records.py": "storage/test_schema.py",
    "storage/records.py": "storage/test_schema.py",
    "storage/results.py": "storage/test_schema.py",
    "storage/store/url.py": "storage/store/test_store.py",
    "tasks/ablation/job.py": "tasks/ablation/test_child.py",
    "tasks/inference/engines.py": "tasks/test_infer.py",
    "tasks/inference/requests.py": "tasks/test_infer.py",
    "tasks/media/rules.py": "tasks/media/test_cut_video.py",
    "tasks/ms_swift/child.py": "tasks/training/test_process.py",
    "tasks/ms_swift/source.py": "tasks/ms_swift/test_export.py",
    "tasks/parity/job.py": "tasks/parity/test_child.py",
    "tasks/parity/table.py": "tasks/parity/test_measure.py",
    "tasks/training/child.py": "tasks/training/test_process.py",
    "tasks/training/data/reading.py": "tasks/training/data/test_towers.py",
}

WITHOUT_SOURCE = {
    "test_browser.py": "the browser of tests",
    "test_mirror.py": "the layout of the tests themselves",
    "test_readmes.py": "commands, settings and paths in READMEs",
    "test_stage_digests.py": "versions of all stages",
    "flows/server/test_postgresql.py": "the server on another database",
    "flows/test_prefect_ui.py": "what Prefect's UI shows of runs",
    "flows/test_pipeline_inputs.py": "the pipeline again, on other inputs",
    "infra/profiles/test_recipes.py": "TOML files",
    "infra/test_containers.py": "compose file, manifests, Dockerfile",
    "infra/test_handbook.py": "quotes of the operator's handbook",
    "infra/test_prefect_yaml.py": "a YAML file",
    "infra/test_setup_scripts.py": "shell scripts",
    "storage/store/remote/test_variant_in_s3.py": "a variant in a remote store",
    "storage/store/test_variant_interrupted.py": "a variant's writes that fail",
    "storage/store/test_variant_killed.py": "a variant's writes in killed processes",
}


def sources() -> set[str]:
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return {str(path.relative_to(ROOT)) for path in paths if path.name not in NOT_TESTED}


def modules_of_tests() -> set[str]:
    return {str(path.relative_to(TESTS)) for path in TESTS.rglob("test_*.py")}


def mirror_of(source: str) -> str:
    path = Path(source)
    return str(path.with_name(f"test_{path.name}"))


def test_every_source_module_has_a_test_module_or_names_the_one_that_covers_it() -> None:
    present = modules_of_tests()
    missing = {source for source in sources() if mirror_of(source) not in present}
    assert missing - set(COVERED_BY) == set(), "add a test module, or an entry to COVERED_BY"
    assert set(COVERED_BY) - missing == set(), "these have a mirror, or are gone"


@pytest.mark.parametrize("source", COVERED_BY)
def test_a_covering_test_module_mentions_the_module_it_covers(source: str) -> None:
    module = source.removesuffix(".py").replace("/", ".")
    package, _, name = module.rpartition(".")
    text = (TESTS / COVERED_BY[source]).read_text(encoding="utf-8")
    imported = rf"from {re.escape(package)} import .*\b{name}\b"
    assert re.search(rf"\b{re.escape(module)}\b|{imported}", text)


def test_every_test_module_mirrors_a_source_module_or_has_a_reason() -> None:
    others = modules_of_tests() - {mirror_of(source) for source in sources()}
    assert others == set(WITHOUT_SOURCE)
