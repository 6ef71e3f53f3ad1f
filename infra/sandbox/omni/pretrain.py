"""Train the sandbox's base model from scratch: ``python -m infra.sandbox.omni.pretrain --out DIR``.

It learns to recognize the stance of a face, a voice or words, until the accuracy on each is at
least 99% on held-out people. Waver's own prompts get random answers in pretraining, so fine-tuning
starts at chance on them.
"""

import argparse
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from infra.sandbox.omni.build import build_model, build_processor, save
from infra.sandbox.omni.material import draw_faces, draw_voices, draw_words
from infra.sandbox.omni.pool import LabeledRow, Pool, RowMaker, face_tensors, voice_tensors
from infra.sandbox.omni.questions import CUES, Question, all_texts, cue_question, waver_questions
from infra.sandbox.speech import HELD_OUT_VOICES, TRAIN_VOICES
from tasks.prompting.model_input import collate_rows
from tasks.prompting.prompt import answer_token_ids

BATCH = 32
LEARNING_RATE = 2e-3
WARM_UP_STEPS = 50
DECAY_STEPS = 400
LOWEST_FRACTION = 0.05  # of the learning rate, from DECAY_STEPS on
CHECK_EVERY = 50
NUM_TRAIN_PIECES, NUM_TRAIN_PEOPLE = 1_200, 300
NUM_HELD_OUT_PIECES, NUM_HELD_OUT_PEOPLE = 200, 50
TARGET_ACCURACY = 0.99
WAVER_FRACTION = 0.25
MAX_STEPS = 800


def main() -> int:
    """Pretrain and save; status 1 if the target accuracy is not reached."""
    options = _options()
    torch.set_num_threads(1)
    started = time.monotonic()

    def report(line: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {line}", flush=True)

    processor = build_processor(list(all_texts()))
    model = build_model(processor.tokenizer, options.seed)
    report(f"{sum(p.numel() for p in model.parameters()):,} parameters; drawing faces, voices")
    train = make_pool(processor, options.seed, held_out=False)
    held_out = make_pool(processor, options.seed, held_out=True)
    report(f"{len(train.faces)} faces and {len(train.voices)} voices to train on")
    reached = pretrain(model.thinker, processor, train, held_out, options, report)
    save(model, processor, options.out)
    (options.out / "model.safetensors").chmod(0o644)
    report(f"saved in {options.out}")
    return 0 if reached else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-steps", type=int, default=MAX_STEPS)
    return parser.parse_args()


def make_pool(processor: Any, seed: int, *, held_out: bool) -> Pool:
    """Draw pieces; people and voices of the held-out pool are in no other."""
    rng = np.random.default_rng([seed, int(held_out)])
    num_pieces = NUM_HELD_OUT_PIECES if held_out else NUM_TRAIN_PIECES
    num_people = NUM_HELD_OUT_PEOPLE if held_out else NUM_TRAIN_PEOPLE
    voices = HELD_OUT_VOICES if held_out else TRAIN_VOICES
    faces = draw_faces(num_pieces, num_people, rng, all_strong=held_out)
    spoken = draw_voices(num_pieces, voices, rng, all_strong=held_out)
    return Pool(
        faces=[face_tensors(processor, piece) for piece in faces],
        voices=[voice_tensors(processor, piece) for piece in spoken],
        words=draw_words(4 * num_pieces, rng),
    )


def pretrain(
    thinker: Any,
    processor: Any,
    train: Pool,
    held_out: Pool,
    options: argparse.Namespace,
    report: Callable[[str], None],
) -> bool:
    """Train all parameters on the answer token until every cue is recognized on held-out people."""
    rng = np.random.default_rng([options.seed, 2])
    maker = RowMaker(processor.tokenizer, train)
    answers = answer_token_ids(processor.tokenizer)
    pad_id = processor.tokenizer.pad_token_id
    optimizer = torch.optim.AdamW(
        thinker.parameters(), lr=LEARNING_RATE, weight_decay=0.01, betas=(0.9, 0.98)
    )
    losses: list[float] = []
    thinker.train()
    for step in range(1, options.max_steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        rows = [maker.make(draw_question(rng), rng) for _ in range(BATCH)]
        loss = answer_loss(thinker, rows, answers, pad_id)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(thinker.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if step % CHECK_EVERY == 0:
            accuracy = perceive(thinker, processor, held_out)
            shown = ", ".join(f"{cue} {value:.3f}" for cue, value in accuracy.items())
            report(f"step {step}  loss {np.mean(losses[-CHECK_EVERY:]):.3f}  held out: {shown}")
            if min(accuracy.values()) >= TARGET_ACCURACY:
                return True
    return False


def learning_rate(step: int) -> float:
    """Return warm-up over 50 steps, then a cosine: a constant rate does not converge."""
    if step <= WARM_UP_STEPS:
        return LEARNING_RATE * step / WARM_UP_STEPS
    way = min((step - WARM_UP_STEPS) / (DECAY_STEPS - WARM_UP_STEPS), 1.0)
    scale = LOWEST_FRACTION + (1 - LOWEST_FRACTION) * (1 + math.cos(math.pi * way)) / 2
    return LEARNING_RATE * scale


def draw_question(rng: np.random.Generator) -> Question:
    """Draw one of Waver's prompts, or a cue's question, which quotes the words half of the time."""
    if rng.random() < WAVER_FRACTION:
        questions = waver_questions()
        return questions[int(rng.integers(len(questions)))]
    cue = CUES[int(rng.integers(len(CUES)))]
    return cue_question(cue, quotes_words=cue == "words" or bool(rng.random() < 0.5))


def answer_loss(
    thinker: Any, rows: list[LabeledRow], answers: tuple[int, int], pad_id: int
) -> torch.Tensor:
    """Compute the cross-entropy of the answer token over the whole vocabulary."""
    targets = torch.tensor([answers[0] if row.is_yes else answers[1] for row in rows])
    return torch.nn.functional.cross_entropy(last_logits(thinker, rows, pad_id), targets)


def last_logits(thinker: Any, rows: list[LabeledRow], pad_id: int) -> torch.Tensor:
    """Return the logits at the answer's position, [batch, vocabulary]."""
    batch = collate_rows([labeled.row for labeled in rows], pad_id)
    logits: torch.Tensor = thinker(**batch, use_audio_in_video=False).logits[:, -1]
    return logits


def perceive(
    thinker: Any, processor: Any, pool: Pool, num_rows: int = 400, seed: int = 9
) -> dict[str, float]:
    """Return the accuracy on each cue's question, half of them with the words quoted."""
    rng = np.random.default_rng(seed)
    maker = RowMaker(processor.tokenizer, pool)
    yes_id, no_id = answer_token_ids(processor.tokenizer)
    thinker.eval()
    accuracy = {}
    for cue in CUES:
        num_right = 0
        for start in range(0, num_rows, 50):
            quoted = cue == "words" or start % 100 == 0
            question = cue_question(cue, quotes_words=quoted)
            rows = [maker.make(question, rng) for _ in range(50)]
            with torch.no_grad():
                logits = last_logits(thinker, rows, processor.tokenizer.pad_token_id)
            predicts_yes = (logits[:, yes_id] > logits[:, no_id]).tolist()
            num_right += sum(
                prediction == row.is_yes for prediction, row in zip(predicts_yes, rows, strict=True)
            )
        accuracy[cue] = num_right / num_rows
    thinker.train()
    return accuracy


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
