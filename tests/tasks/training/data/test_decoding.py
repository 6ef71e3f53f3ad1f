import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from storage.errors import ItemFault, StageError
from storage.store.store import Store
from tasks.prompting.model_input import InputConfig
from tasks.training.data.decoding import (
    MediaRowMaker,
    decode,
    decoding_processes,
    num_decoders_for,
    reading_threads,
)
from tasks.training.data.samples import RowReader

_KILLED = """
import os, time
from tasks.training.data.decoding import MediaRowMaker, decoding_processes
from types import SimpleNamespace
if __name__ == "__main__":
    make = MediaRowMaker(store_url="", processor=SimpleNamespace(), config=None)
    executor = decoding_processes(make, 1)
    print(executor.submit(os.getpid).result(), flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(str(tmp_path_factory.mktemp("decoding") / "store"))


@pytest.fixture(scope="module")
def make(store, tiny_omni):
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(tiny_omni)
    return MediaRowMaker(
        store_url=store.url, processor=processor, config=InputConfig(max_pixels=64 * 64)
    )


@pytest.mark.slow
def test_rows_are_bitwise_equal_and_in_order_for_any_number_of_processes(make, store, toy_samples):
    samples = toy_samples(store, 6)
    store.write_bytes(samples[4].video_path, b"not a video")
    batches = [samples[:3], samples[2:], samples]
    results = []
    for num_processes in (0, 1, 2):
        executor = decoding_processes(make, num_processes) if num_processes else reading_threads()
        with executor:
            run = decode if num_processes else make
            reader = RowReader(run, executor, num_samples=100, cache_bytes=20_000)
            results.append([row for rows in reader.iter_batches(batches) for row in rows])
    first, *others = results
    assert [row is None for row in first] == [s is samples[4] for b in batches for s in b]
    for other in others:
        for mine, theirs in zip(first, other, strict=True):
            assert (mine is None) == (theirs is None)
            assert mine is None or mine.keys() == theirs.keys()
            assert all(torch.equal(mine[name], theirs[name]) for name in mine or ())


@pytest.mark.slow
def test_a_dead_decoding_process_is_an_error_with_advice(make, store, toy_samples):
    samples = toy_samples(store, 3)
    with decoding_processes(make, 1) as executor:
        reader = RowReader(decode, executor, num_samples=3, cache_bytes=0)
        assert next(reader.iter_batches([samples[:1]])) != [None]
        os.kill(executor.submit(os.getpid).result(), signal.SIGKILL)
        with pytest.raises(StageError, match=r"lower resources\.finetune\.num_decoders"):
            list(reader.iter_batches([samples] * 50))


@pytest.mark.slow
def test_decoding_processes_end_with_a_parent_that_is_killed(tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(_KILLED)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE) as parent:
        worker = int(parent.stdout.readline())
        assert Path(f"/proc/{worker}").exists()
        parent.kill()
    for _ in range(100):
        if not _is_running(worker):
            return
        time.sleep(0.1)
    pytest.fail("the worker outlived its parent by ten seconds")


def _is_running(process_id: int) -> bool:
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_a_missing_file_is_a_fault_without_its_name(make, store, toy_samples):
    (sample,) = toy_samples(store, 1)
    store.remove(sample.video_path)
    fault = make(sample)
    assert isinstance(fault, ItemFault)
    assert "toy" not in str(fault)


def test_the_number_of_decoders_is_as_set_or_by_cores_and_samples(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(16))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert num_decoders_for(0, 10_000) == 0
    assert num_decoders_for(3, 1) == 3
    assert num_decoders_for(None, 10_000) == 15
    assert num_decoders_for(None, 512) == 2
    assert num_decoders_for(None, 200) == 0
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert num_decoders_for(None, 10_000) == 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(1))
    assert num_decoders_for(None, 10_000) == 0
