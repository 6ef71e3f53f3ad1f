import io
from pathlib import Path

import pytest

from storage.errors import ItemFault, ModelError
from storage.records import SampleRecord
from storage.schema import to_table, write_parquet
from storage.store.store import Store
from tasks.inference import engine_memory as memory
from tasks.inference.settings import InferResources
from tasks.parity.child import answer_job, side_answer
from tasks.parity.job import SIDES, ParityJob
from tasks.parity.synthetic import draw_samples
from tasks.prompting.model_input import InputConfig, make_input
from tasks.prompting.prediction import Prediction, TokenCounts


@pytest.mark.parametrize("side", SIDES)
def test_a_model_that_memory_cannot_hold_is_refused_before_it_is_opened(
    tmp_path: Path, tiny_omni: Path, monkeypatch: pytest.MonkeyPatch, side
) -> None:
    samples_path = tmp_path / "samples.parquet"
    samples = draw_samples(Store(str(tmp_path)), 1)
    write_parquet(to_table(SampleRecord, samples), samples_path)
    job = ParityJob(
        side=side, store_url=str(tmp_path), samples_path=samples_path,
        answers_path=tmp_path / "answers.parquet",
        model_path=tiny_omni, dtype="float32", max_tokens=512, input=InputConfig(),
        resources=InferResources(),
    )  # fmt: skip
    monkeypatch.setattr(memory, "host_bytes", lambda: 2**20)
    monkeypatch.setattr("tasks.inference.engine.set_environment", lambda _: False)
    with pytest.raises(ModelError, match=r"needs about 3\.\d GiB"):
        answer_job(job, io.StringIO())


@pytest.mark.parametrize("is_answered", [True, False])
def test_the_fault_is_told_of_a_segment_that_cannot_be_decoded_once_or_twice(
    tmp_path: Path, is_answered: bool
) -> None:
    (sample,) = draw_samples(Store(str(tmp_path)), 1)
    token_counts = TokenCounts(num_text_tokens=1, num_video_tokens=0, num_audio_tokens=0)
    answer = Prediction(logp_yes=-1.0, logp_no=-1.0, token_counts=token_counts)
    inputs = make_input(InputConfig(), frames=None, audio=None, transcript="yes")
    damaged = ItemFault("damaged")
    pair = (answer, damaged) if is_answered else (damaged, inputs)
    assert side_answer(sample, *pair, read=lambda _: {}).fault == "damaged"
