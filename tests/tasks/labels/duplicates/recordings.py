"""Speech and motion to hash: each seed is another recording."""

from functools import cache

import numpy as np
import numpy.typing as npt

from storage.media_records import MediaHashRecord
from storage.records import AUDIO_SAMPLE_RATE, VideoId
from tasks.media.perceptual_hash import VIDEO_HASH_RATE, VIDEO_HASH_SIZE, hashes_of

Samples = npt.NDArray[np.float64]
Frames = npt.NDArray[np.uint8]
RATE = AUDIO_SAMPLE_RATE
NO_FRAMES: Frames = np.zeros((0, *reversed(VIDEO_HASH_SIZE)), np.uint8)
NO_SAMPLES: Samples = np.zeros(0)


@cache
def speech(seconds: float, seed: int) -> Samples:
    """Return syllables of changing pitch and timbre, with pauses between them."""
    random = np.random.default_rng(seed)
    samples = random.normal(0, 3, round(seconds * RATE))
    for start in np.arange(0, seconds - 0.2, 0.2):
        if random.random() < 0.8:
            time = np.arange(round(0.2 * RATE)) / RATE
            pitch = random.uniform(90, 220) * (1 + random.normal(0, 0.3) * time)
            weights = random.exponential(1, 20)
            tones = [w * np.sin(2 * np.pi * n * pitch * time) for n, w in enumerate(weights, 1)]
            at = round(start * RATE)
            samples[at : at + len(time)] += 300 * np.hanning(len(time)) * np.sum(tones, axis=0)
    return samples


def tone(seconds: float, hertz: float) -> Samples:
    return 3_000 * np.sin(np.arange(round(seconds * RATE)) * 2 * np.pi * hertz / RATE)


def beeps(seconds: float, period: float, hertz: float = 440) -> Samples:
    time = np.arange(round(seconds * RATE)) / RATE
    return tone(seconds, hertz) * (time % period < 0.2)


@cache
def motion(seconds: float, seed: int) -> Frames:
    """Return small gray frames of a bright spot that wanders over a fixed background."""
    random = np.random.default_rng(seed)
    width, height = VIDEO_HASH_SIZE
    count = round(seconds * VIDEO_HASH_RATE)
    background = np.random.default_rng(7).integers(30, 120, (height, width)).astype(np.float64)
    speed = np.convolve(random.normal(0, 1, (count + 7)), np.ones(8) / 8, "valid")
    path = np.cumsum(speed + 0.3 * random.normal(0, 1, count))
    rows, columns = np.mgrid[:height, :width]
    across, down = 18 + 9 * np.sin(path), 16 + 6 * np.cos(1.7 * path)
    far = (columns - across[:, None, None]) ** 2 + (rows - down[:, None, None]) ** 2
    return np.clip(background + 110 * np.exp(-far / 30), 0, 255).astype(np.uint8)


def a_hash(name: str, frames: Frames = NO_FRAMES, samples: Samples = NO_SAMPLES) -> MediaHashRecord:
    hashes = hashes_of(frames, np.clip(samples, -32_768, 32_767).astype(np.int16))
    return MediaHashRecord(video_id=VideoId(name), motion=hashes.motion, audio=hashes.audio)
