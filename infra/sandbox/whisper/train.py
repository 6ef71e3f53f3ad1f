"""Train the tiny Whisper from scratch: ``python -m infra.sandbox.whisper.train --out DIR``.

One thread computes and one more prepares windows; about an hour. The same command
resumes an interrupted training from its last checkpoint.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import torch
from tokenizers import Tokenizer

from infra.sandbox.sentences import WORDS
from infra.sandbox.whisper.bank import write_banks
from infra.sandbox.whisper.batches import Batch, Batches
from infra.sandbox.whisper.export import export
from infra.sandbox.whisper.model import Trainee
from infra.sandbox.whisper.schedule import NUM_STEPS, learning_rate_at, phase_at
from infra.sandbox.whisper.vocabulary import Vocabulary, build_tokenizer, read_vocabulary
from storage.store.atomic import atomic_file
from tasks.model.tensor_files import write_pickle
from tasks.processes.prefetch import prefetch

_REPORT_EVERY, _SAVE_EVERY, _BATCHES_AHEAD = 50, 200, 4


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the finished model")
    parser.add_argument("--work", type=Path, help="bank and checkpoints (default: OUT/training)")
    parser.add_argument("--sentences", type=int, default=80, help="sentences for each voice")
    parser.add_argument("--stop-after", type=int, default=NUM_STEPS, help="steps to train at most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    work_path = options.work or options.out / "training"
    print(f"speaking the utterance banks, unless they are in {work_path}", flush=True)
    banks = write_banks(work_path, options.sentences, options.seed)
    tokenizer = build_tokenizer(WORDS)
    vocabulary = read_vocabulary(tokenizer, WORDS)
    trainee = train(vocabulary, banks, work_path, options.seed, options.stop_after)
    finish(trainee, tokenizer, vocabulary, options.out)


def finish(trainee: Trainee, tokenizer: Tokenizer, vocabulary: Vocabulary, out_path: Path) -> None:
    """Write the model folder and print its size."""
    export(trainee.whisper, tokenizer, vocabulary, out_path)
    size = sum(f.stat().st_size for f in out_path.iterdir() if f.is_file())
    print(f"wrote {out_path} ({size / 1e6:.2f} MB)", flush=True)


def train(
    vocabulary: Vocabulary, banks: tuple[Path, Path], work_path: Path, seed: int, stop_after: int
) -> Trainee:
    """Train from scratch, or from the checkpoint in ``work_path``, up to ``stop_after`` steps."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    trainee = Trainee(vocabulary)
    optimizer = torch.optim.AdamW(trainee.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    checkpoint_path = work_path / "checkpoint.pt"
    first, stop = _read_checkpoint(checkpoint_path, trainee, optimizer), min(stop_after, NUM_STEPS)
    batches = Batches(banks, vocabulary, seed)
    sums: Counter[str] = Counter()
    began = monotonic()
    for step, batch in enumerate(_prepare_ahead(batches, range(first, stop)), start=first + 1):
        optimizer.param_groups[0]["lr"] = learning_rate_at(step - 1)
        losses = trainee(batch)
        optimizer.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(trainee.parameters(), 1.0)
        optimizer.step()
        sums.update(losses.parts)
        if step % _REPORT_EVERY == 0:
            _report(step, sums, monotonic() - began)
            sums.clear()
        if step % _SAVE_EVERY == 0 or step == stop:
            _write_checkpoint(checkpoint_path, trainee, optimizer, step)
    return trainee


def _prepare_ahead(batches: Batches, steps: range) -> Iterator[Batch]:
    """Yield each step's batch while a thread prepares the next ones."""
    get = batches.__getitem__
    with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as thread:
        for _, batch in prefetch(steps, lambda k: thread.submit(get, k), _BATCHES_AHEAD):
            yield batch


def _report(step: int, sums: Counter[str], seconds: float) -> None:
    phase = phase_at(step - 1)
    means = "  ".join(f"{name} {total / _REPORT_EVERY:.3f}" for name, total in sums.items())
    name = phase.name if phase else ""
    print(f"step {step}/{NUM_STEPS} {name:5s} {seconds:.0f} s  {means}", flush=True)


def _write_checkpoint(
    path: Path, trainee: Trainee, optimizer: torch.optim.Optimizer, step: int
) -> None:
    state = {"step": step, "trainee": trainee.state_dict(), "optimizer": optimizer.state_dict()}
    with atomic_file(path) as unfinished:
        write_pickle(state, unfinished)


def _read_checkpoint(path: Path, trainee: Trainee, optimizer: torch.optim.Optimizer) -> int:
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    trainee.load_state_dict(state["trainee"])
    optimizer.load_state_dict(state["optimizer"])
    print(f"continuing from step {state['step']}", flush=True)
    return int(state["step"])


if __name__ == "__main__":
    main()
