import io
from pathlib import Path

from storage.records import RejectedRecord
from storage.schema import to_table, write_parquet
from storage.store.store import Store
from storage.store.variant import Variant
from tasks.ablation.child import run_job
from tasks.ablation.job import AblationJob, ArmJob
from tasks.inference.samples import expected_items
from tasks.inference.settings import InferResources
from tasks.prompting.model_input import InputConfig
from tests.tasks.ablation.toy_child import ToyEngine


def test_an_arm_with_too_many_rejected_segments_ends_the_ablation(  # type: ignore[no-untyped-def]
    tmp_path: Path, toy_samples, tiny_omni: Path
) -> None:
    store, samples_path = Store(str(tmp_path)), tmp_path / "samples.parquet"
    samples = toy_samples(store, 6)
    for sample in samples[1:]:
        store.write_bytes(sample.video_path, b"no video")
    write_parquet(to_table(type(samples[0]), samples), samples_path)
    arms = [
        ArmJob(
            number=number, name=f"arm {number}", stage="infer", variant_id=str(number),
            samples_path=samples_path, max_failures=1,
            input=InputConfig(video=number == 0, audio=number == 1),
        )
        for number in range(2)
    ]  # fmt: skip
    job = AblationJob(
        store_url=store.url, journal_path=tmp_path / "journal", job_path=tmp_path / "job.json",
        alone=(), model_path=tiny_omni, dtype="float32", max_tokens=448, arms=tuple(arms),
        resources=InferResources(num_decoders=0),
    )  # fmt: skip
    lines = io.StringIO()
    run_job(job, lines, lambda *_: (ToyEngine("nobody"), None))  # type: ignore[arg-type, return-value]
    first, second = (Variant(store=store, stage="infer", variant_id=n) for n in "01")
    assert len(first.read(RejectedRecord, expected_items(samples))) == 2
    assert len(second.finished(expected_items(samples))) == 0
    assert lines.getvalue().splitlines()[-1] == "done 3"
