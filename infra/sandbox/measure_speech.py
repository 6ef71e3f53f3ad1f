"""Measure the sandbox's speech model through the transcribe stage, on held-out voices: word error
rate, and errors of word starts.

``python -m infra.sandbox.measure_speech --videos 20``; exit status 1 above the targets.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import ffmpeg
import jiwer
import numpy as np

from flows.context.settings import load_settings
from infra.sandbox.espeak import SpokenWord
from infra.sandbox.plan import PlannedVideo, WorldSettings, plan_world
from infra.sandbox.render import Soundtrack, compose_audio
from storage.errors import ToolError
from storage.media_records import SegmentRecord
from storage.records import (
    AUDIO_SAMPLE_RATE,
    SegmentId,
    TranscriptRecord,
    VideoId,
    Word,
)
from storage.store.store import Store
from tasks.media.audio.wav import write_audio
from tasks.processes.tool import ToolLimits, run_tool
from tasks.transcribe import TranscribeConfig, transcribe_videos

MODEL_PATH = Path(__file__).parent / "models" / "whisper"
MAX_ERROR_RATE = 0.10
MAX_START_ERROR_MS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Recognized against spoken words, over some videos.

    ``start_errors_ms`` has one absolute difference per correctly recognized word.
    """

    num_words: int
    num_wrong: int
    start_errors_ms: tuple[int, ...]

    @property
    def error_rate(self) -> float:
        """Substitutions, deletions and insertions per spoken word."""
        return self.num_wrong / self.num_words if self.num_words else 0.0

    @property
    def median_start_ms(self) -> float:
        """Median error of word starts; infinite without a correct word."""
        return median(self.start_errors_ms) if self.start_errors_ms else float("inf")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=20)
    parser.add_argument("--model", default=str(MODEL_PATH))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cue-strength", type=float, default=1.0)
    options = parser.parse_args()
    config = sandbox_config(options.model)
    videos = held_out_videos(options.videos, options.seed)
    with tempfile.TemporaryDirectory(prefix="waver-speech-") as folder:
        errors = measure(videos, options.cue_strength, config, Path(folder))
    total = add(errors)
    for video, found in zip(videos, errors, strict=True):
        print(f"{video.participant.voice.name:24s} {describe(found)}")
    print(f"{len(videos)} videos of held-out voices: {describe(total)}")
    print(
        f"targets: word error rate <= {MAX_ERROR_RATE:.0%}, median word start error "
        f"<= {MAX_START_ERROR_MS} ms"
    )
    passed = total.error_rate <= MAX_ERROR_RATE and total.median_start_ms <= MAX_START_ERROR_MS
    sys.exit(0 if passed else 1)


def sandbox_config(model: str) -> TranscribeConfig:
    """Return the sandbox profile's settings of the stage, with this model folder."""
    return load_settings("sandbox").transcribe.model_copy(update={"model": model})


def held_out_videos(count: int, seed: int) -> list[PlannedVideo]:
    """Plan ``count`` videos of held-out voices, each used once before any is repeated."""
    settings = WorldSettings(num_participants=max(100, 4 * count), seed=seed)
    turns: Counter[str] = Counter()
    by_turn: list[tuple[int, PlannedVideo]] = []
    for video in plan_world(settings).videos:
        if video.participant.split != "train":
            voice = video.participant.voice.name
            by_turn.append((turns[voice], video))
            turns[voice] += 1
    return [video for _, video in sorted(by_turn, key=lambda pair: pair[0])][:count]


def measure(
    videos: Sequence[PlannedVideo], cue_strength: float, config: TranscribeConfig, folder: Path
) -> list[Errors]:
    """Generate soundtracks, transcribe them with the stage, and compare the words."""
    store = Store(str(folder))
    audios: list[Soundtrack] = []
    segments: dict[str, tuple[SegmentRecord, ...]] = {}
    for number, video in enumerate(videos):
        audio = compose_audio(video, cue_strength, np.random.default_rng(video.seed))
        audios.append(audio)
        name = f"{number:04d}"
        segments[name] = (_store_audio(audio, store, name),)
    outputs = transcribe_videos(list(segments), segments, config, store)
    return [
        compare(audio.words, _transcript(output.rows).words)
        for audio, output in zip(audios, outputs, strict=True)
    ]


def _transcript(rows: tuple[object, ...]) -> TranscriptRecord:
    (row,) = rows
    if not isinstance(row, TranscriptRecord):
        raise RuntimeError(f"the stage rejected a soundtrack: {row!r}")
    return row


def _store_audio(audio: Soundtrack, store: Store, name: str) -> SegmentRecord:
    """Store a soundtrack as the segment stage does: through AAC, then as 16 kHz mono."""
    raw, coded = Path(store.full_path(f"{name}.raw")), Path(store.full_path(f"{name}.m4a"))
    raw.write_bytes((audio.samples * 32767).astype("<i2").tobytes())
    pcm = {"format": "s16le", "ar": AUDIO_SAMPLE_RATE, "ac": 1}
    source = ffmpeg.input(str(raw), **pcm)
    _run(ffmpeg.output(source, str(coded), acodec="aac", audio_bitrate="96k", ar=44100, ac=2))
    _run(ffmpeg.output(ffmpeg.input(str(coded)), str(raw), **pcm))
    samples = np.frombuffer(raw.read_bytes(), np.int16)
    write_audio(Path(store.full_path(f"{name}.wav")), samples)
    return SegmentRecord(
        segment_id=SegmentId(f"{name}#0000"),
        video_id=VideoId(name),
        index=0,
        start_ms=0,
        end_ms=len(samples) * 1000 // AUDIO_SAMPLE_RATE,
        num_frames=0,
        num_samples=len(samples),
        video_path=None,
        audio_path=f"{name}.wav",
        video_digest=None,
        audio_digest=None,
    )


def _run(output: ffmpeg.Stream) -> None:
    command = output.global_args("-hide_banner", "-loglevel", "error")
    result = run_tool(command.compile(overwrite_output=True), limits=ToolLimits(seconds=60))
    if result.status != 0:
        raise ToolError(f"ffmpeg could not encode a soundtrack: {' '.join(result.stderr_tail)}")


def compare(spoken: Sequence[SpokenWord], recognized: Sequence[Word]) -> Errors:
    """Align recognized with spoken words and return the starts of the correct ones."""
    names = [word.text for word in spoken], [word.text for word in recognized]
    if not names[0] or not names[1]:
        return Errors(num_words=len(spoken), num_wrong=max(map(len, names)), start_errors_ms=())
    aligned = jiwer.process_words(" ".join(names[0]), " ".join(names[1]))
    right = [part for part in aligned.alignments[0] if part.type == "equal"]
    starts = [
        abs(recognized[part.hyp_start_idx + i].start_ms - spoken[part.ref_start_idx + i].start_ms)
        for part in right
        for i in range(part.ref_end_idx - part.ref_start_idx)
    ]
    num_wrong = aligned.substitutions + aligned.deletions + aligned.insertions
    return Errors(num_words=len(spoken), num_wrong=num_wrong, start_errors_ms=tuple(starts))


def add(errors: Sequence[Errors]) -> Errors:
    """Pool several videos' errors, weighted by words."""
    return Errors(
        num_words=sum(e.num_words for e in errors),
        num_wrong=sum(e.num_wrong for e in errors),
        start_errors_ms=tuple(start for e in errors for start in e.start_errors_ms),
    )


def describe(errors: Errors) -> str:
    """Format the errors as one line."""
    return (
        f"{errors.num_words:5d} words, word error rate {errors.error_rate:6.1%}, "
        f"median word start error {errors.median_start_ms:3.0f} ms"
    )


if __name__ == "__main__":
    main()
