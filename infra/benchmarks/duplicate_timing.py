"""Time of the search for duplicates among synthetic hashes of many videos."""

import time

import numpy as np

from storage.media_records import MediaHashRecord
from storage.records import VideoId
from tasks.labels.duplicates.find import find_duplicates
from tasks.media.perceptual_hash import AUDIO_HASH_RATE, MOTION_HASH_RATE, NUM_AUDIO_BITS, packed

_SECONDS = 27
_ACTIVE_LEVEL = 0.72  # standard deviations: as many keys as the sandbox's speech has
_NUM_COPIES = 20


def time_of_search(num_videos: int, num_without_audio: int, seed: int = 0) -> float:
    """Return the CPU seconds to compare synthetic videos of 27 s and copies of 20 of them.

    Raises:
        RuntimeError: other pairs than the copies were found.
    """
    random = np.random.default_rng(seed)
    rows = [_synthetic(f"{number:06}", random) for number in range(num_videos)]
    for number in range(num_without_audio):
        rows[-1 - number] = MediaHashRecord(
            video_id=rows[-1 - number].video_id, motion=rows[-1 - number].motion, audio=b""
        )
    copies = rows[:_NUM_COPIES]
    rows += [
        MediaHashRecord(video_id=VideoId(f"copy {r.video_id}"), motion=r.motion, audio=r.audio)
        for r in copies
    ]
    started = time.process_time()
    found = {(pair.one, pair.other) for pair in find_duplicates(rows)}
    seconds = time.process_time() - started
    if found != {(row.video_id, f"copy {row.video_id}") for row in copies}:
        raise RuntimeError(f"{len(found)} pairs were found among {num_videos}, expected the copies")
    return seconds


def _synthetic(name: str, random: np.random.Generator) -> MediaHashRecord:
    """Draw hashes that change as smoothly in time and frequency as those of speech do."""
    steps = random.normal(size=(_SECONDS * AUDIO_HASH_RATE + 11, NUM_AUDIO_BITS + 2))
    totals = np.cumsum(np.pad(steps, ((1, 0), (0, 0))), axis=0)
    smooth = totals[12:] - totals[:-12]
    smooth = smooth[:, :-2] + smooth[:, 1:-1] + smooth[:, 2:]
    smooth /= smooth.std()
    words = packed(smooth > 0)
    words |= packed(np.abs(smooth) > _ACTIVE_LEVEL) << np.uint64(NUM_AUDIO_BITS)
    motion = np.convolve(random.exponential(size=_SECONDS * MOTION_HASH_RATE + 3), np.ones(4) / 4)
    levels = np.clip(20 * motion[3:-3], 0, 255).astype(np.uint8)
    return MediaHashRecord(
        video_id=VideoId(name), motion=levels.tobytes(), audio=words.astype("<u8").tobytes()
    )
