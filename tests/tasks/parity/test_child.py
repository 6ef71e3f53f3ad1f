import io
from pathlib import Path

import pytest

from storage.errors import ItemFault, ModelError
from storage.records import SampleRecord
from storage.schema import to_table, write_parquet
from storage.store.store import Store
from tasks.inference import engine_memory as memory
from tasks.inference.settings import InferResources
from tasks.parity.child import backend_prediction, run_job
from tasks.parity.job import BACKENDS, ParityJob
from tasks.parity.synthetic import write_synthetic_samples
from tasks.prompting.model_input import InputConfig, make_input
from tasks.prompting.prediction import Prediction, TokenCounts


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_larger_than_memory_is_rejected_before_it_is_opened(
    tmp_path: Path, tiny_omni: Path, monkeypatch: pytest.MonkeyPatch, backend
) -> None:
    samples_path = tmp_path / "samples.parquet"
    samples = write_synthetic_samples(Store(str(tmp_path)), 1)
    write_parquet(to_table(SampleRecord, samples), samples_path)
    job = ParityJob(
        backend=backend, store_url=str(tmp_path), samples_path=samples_path,
        predictions_path=tmp_path / "predictions.parquet",
        model_path=tiny_omni, dtype="float32", max_tokens=512, input=InputConfig(),
        resources=InferResources(),
    )  # fmt: skip
    monkeypatch.setattr(memory, "host_bytes", lambda: 2**20)
    monkeypatch.setattr("tasks.inference.engine.set_environment", lambda _: False)
    with pytest.raises(ModelError, match=r"needs about 3\.\d GiB"):
        run_job(job, io.StringIO())


@pytest.mark.parametrize("is_answered", [True, False])
def test_a_segment_that_fails_to_decode_is_rejected_before_or_after_its_prediction(
    tmp_path: Path, is_answered: bool
) -> None:
    (sample,) = write_synthetic_samples(Store(str(tmp_path)), 1)
    token_counts = TokenCounts(num_text_tokens=1, num_video_tokens=0, num_audio_tokens=0)
    answer = Prediction(logp_yes=-1.0, logp_no=-1.0, token_counts=token_counts)
    inputs = make_input(InputConfig(), frames=None, audio=None, transcript="yes")
    damaged = ItemFault("damaged")
    pair = (answer, damaged) if is_answered else (damaged, inputs)
    assert backend_prediction(sample, *pair, digest_features=lambda _: {}).rejected == "damaged"
