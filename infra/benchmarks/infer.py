"""Cost of inference: the stage against the engine alone, and against the paper's way.

``python -m infra.benchmarks.infer [--model FOLDER] [--segments N]``; status 1 below the target.
Segments are synthetic and all different, so no cache helps. All ways run in turn, round by round,
so that noise affects all of them, each in a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from infra.benchmarks.infer_ways import WAYS, Measured
from storage.records import SampleRecord
from storage.schema import to_table, write_parquet
from storage.store.store import Store
from storage.store.variant import Variant
from tasks.infer import infer_missing, variant_of
from tasks.inference.job import InferJob
from tasks.inference.samples import expected_items
from tasks.inference.settings import InferConfig, InferResources
from tasks.inference.shard_claims import shard_size_for
from tasks.model.model_folder import check_model, fingerprint_of, stored_dtype
from tasks.parity.synthetic import write_synthetic_samples
from tasks.processes.child_process import YIELDING
from tasks.prompting.model_input import InputConfig
from tasks.prompting.request_length import by_length, longest_request
from tasks.stage import Shard

LEAST_OF_BARE = 0.90
_MODEL = Path(__file__).parents[1] / "sandbox" / "models" / "omni-base"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Inputs common to all ways."""

    store: Store
    samples: Sequence[SampleRecord]
    model_path: Path
    input: InputConfig
    resources: InferResources
    folder: Path

    def variant(self, name: str) -> Variant:
        """Open a separate variant for one measurement."""
        return variant_of(self.store, InferConfig(), self.input, f"{self.model_path} {name}")

    def write_job(self, name: str) -> Path:
        """Write the job of one measurement."""
        folder = self.folder / name
        folder.mkdir()
        rows = by_length(self.samples, self.input, self.model_path)
        write_parquet(to_table(SampleRecord, rows), folder / "samples.parquet")
        job = InferJob(
            store_url=self.store.url, variant_id=self.variant(name).variant_id,
            samples_path=folder / "samples.parquet", claims_url=str(folder / "claims"),
            journal_path=folder / "journal", job_path=folder / "job.json", suspects=(), alone=(),
            shard_size=shard_size_for(len(rows), 1), max_failures=len(rows),
            model_path=self.model_path, dtype=stored_dtype(self.model_path),
            max_tokens=longest_request(rows, self.input, self.model_path), input=self.input,
            resources=self.resources.for_one_engine(1, len(rows)),
        )  # fmt: skip
        path = folder / "job.json"
        path.write_text(job.model_dump_json(), encoding="utf-8")
        return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table; return 1 if the target is missed."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="waver-infer-") as name:
        bench = _bench(options, Path(name))
        found: dict[str, list[Measured]] = {way: [] for way in options.ways}
        for repeat in range(options.repeats):
            for way, measured in found.items():
                measured.append(measure(bench, way, f"{repeat}-{way}"))
        print_table(found)
        if options.restart:
            _print_restart(bench)
    return 0 if fraction_of_bare(found) >= LEAST_OF_BARE else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.benchmarks.infer", description=__doc__)
    parser.add_argument("--model", default=str(_MODEL))
    parser.add_argument(
        "--layers", type=int, help="layers of random weights instead of the model's"
    )
    parser.add_argument("--segments", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--max-pixels", type=int, default=192 * 144)
    parser.add_argument("--decoders", type=int, help="decoding processes (default: as the stage)")
    parser.add_argument("--threads", type=int, help="engine threads on CPUs")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--restart", action="store_true", help="also measure the cost of a restart")
    return parser.parse_args(arguments)


def _bench(options: argparse.Namespace, folder: Path) -> Bench:
    store = Store(str(folder / "store"))
    model_path = check_model(options.model)
    if options.layers:
        model_path = deepened(model_path, options.layers, folder / "deepened")
    return Bench(
        store=store,
        samples=write_synthetic_samples(store, options.segments),
        model_path=model_path,
        input=InputConfig(max_pixels=options.max_pixels),
        resources=InferResources(num_decoders=options.decoders, cpu_threads=options.threads),
        folder=folder,
    )


def deepened(model_path: Path, num_layers: int, folder: Path) -> Path:
    """Write a model of random weights that differs from a small one only in its number of layers.

    The real model spends far longer on a segment than preparing it takes; the sandbox's model less.
    """
    from transformers import AutoProcessor, Qwen3OmniMoeConfig, Qwen3OmniMoeForConditionalGeneration

    config = Qwen3OmniMoeConfig.from_pretrained(model_path)
    config.thinker_config.text_config.num_hidden_layers = num_layers
    Qwen3OmniMoeForConditionalGeneration(config).save_pretrained(folder)
    AutoProcessor.from_pretrained(model_path).save_pretrained(folder)
    return folder


def measure(bench: Bench, way: str, name: str) -> Measured:
    """Run one way in a separate process."""
    job_path = str(bench.write_job(name))
    command = [sys.executable, "-m", "infra.benchmarks.infer_ways", way, job_path]
    with (bench.folder / f"{name}.log").open("w") as log:
        ended = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, check=True,
            env={**os.environ, **YIELDING, "VLLM_LOGGING_LEVEL": "ERROR"}, text=True,
        )  # fmt: skip
    return Measured(**json.loads(ended.stdout.splitlines()[-1]))


def fraction_of_bare(found: Mapping[str, Sequence[Measured]]) -> float:
    """Return the stage's rate as a fraction of the bare engine's, median over the rounds."""
    if not {"waver", "bare"} <= found.keys():
        return 1.0
    pairs = zip(found["waver"], found["bare"], strict=True)
    return median(waver.rate / bare.rate for waver, bare in pairs)


def print_table(found: Mapping[str, Sequence[Measured]]) -> None:
    """Print the medians of every way, and the target."""
    columns = (
        "way", "segments/s", "fraction of bare", "engine idle", "engine's thread, ms", "CPU ms",
        "open in s", "peak MiB",
    )  # fmt: skip
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for way, rounds in found.items():
        print(f"| {way} | {' | '.join(_cells(way, rounds, found.get('bare')))} |")
    print(f"| target | | >= {LEAST_OF_BARE:.2f} |{' |' * (len(columns) - 3)}", flush=True)


def _cells(way: str, rounds: Sequence[Measured], bare: Sequence[Measured] | None) -> Iterator[str]:
    rate = median(one.rate for one in rounds)
    yield f"{rate:.1f}"
    yield f"{rate / median(one.rate for one in bare):.2f}" if bare else ""
    yield f"{median(one.idle_fraction for one in rounds):.0%}" if way == "waver" else ""
    yield f"{median(1000 * one.thread_seconds / one.num_segments for one in rounds):.1f}"
    yield f"{median(1000 * one.cpu_seconds / one.num_segments for one in rounds):.1f}"
    yield f"{median(one.open_seconds for one in rounds):.1f}"
    yield f"{max(one.peak_mib for one in rounds):.0f}"


def _print_restart(bench: Bench) -> None:
    """Print the seconds of a run with nothing missing, and of one with one segment missing."""
    variant = bench.variant(f"restart {fingerprint_of(bench.model_path)}")
    expected = expected_items(bench.samples[:2])
    by_id: dict[str, SampleRecord] = {sample.segment_id: sample for sample in bench.samples}
    for name, items in (
        ("the first segment, engine and all", list(expected)[:1]),
        ("one more segment after a kill", list(expected)),
        ("nothing missing", list(expected)),
    ):
        shard = Shard(name=name, expected={item: expected[item] for item in items})
        started = time.monotonic()
        infer_missing(
            shard, by_id, bench.model_path, InferConfig(), bench.input, bench.resources, variant
        )
        print(f"{name}: {time.monotonic() - started:.2f} s")


if __name__ == "__main__":
    sys.exit(main())
