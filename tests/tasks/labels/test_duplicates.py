"""Synthetic hashes first; then videos re-encoded with ffmpeg, up to the leakage check."""

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from storage.errors import LeakageError
from storage.fingerprint import digest_file
from storage.records import AUDIO_SAMPLE_RATE, MediaHashRecord, ParticipantId, SampleRecord, VideoId
from storage.store.store import Store
from tasks.labels.duplicates import find_duplicates
from tasks.labels.leakage import check_no_leakage
from tasks.media.audio.wav import write_audio
from tasks.media.perceptual_hash import SILENT
from tasks.segment import SegmentConfig, SourceVideo, segment_shard, variant_of
from tasks.stage import Shard

Bits = npt.NDArray[np.bool_]
LENGTH = 80  # video words, 20 s


def a_clip(scene: int, take: int, length: int = LENGTH) -> Bits:
    """Return a fixed scene of 64 bits, eight of which change with motion [words, 64]."""
    bits = np.tile(np.random.default_rng(scene).random(64) < 0.5, (length, 1))
    random = np.random.default_rng(1_000 + take)
    for bit in random.choice(64, 8, replace=False):
        bits[:, bit] ^= np.repeat(random.random(length // 3 + 1) < 0.5, 3)[:length]
    return bits


def an_audio(take: int, length: int = LENGTH) -> Bits:
    return np.random.default_rng(2_000 + take).random((4 * length, 32)) < 0.5


def blurred(bits: Bits, fraction: float, seed: int = 0) -> Bits:
    """Flip a fraction of the bits, as re-encoding does."""
    return bits ^ (np.random.default_rng(seed).random(bits.shape) < fraction)


def a_hash(name: str, video: Bits, audio: Bits | None = None) -> MediaHashRecord:
    packed = np.packbits(video, axis=1).view(">i8").reshape(-1)
    words = () if audio is None else (audio @ (1 << np.arange(32))).tolist()
    return MediaHashRecord(video_id=VideoId(name), video=tuple(packed.tolist()), audio=tuple(words))


ORIGINAL = a_hash("original", a_clip(1, 1), an_audio(1))
COPY = a_hash("copy", blurred(a_clip(1, 1), 0.03)[2:-1], blurred(an_audio(1), 0.15)[8:-4])
OTHER_QUESTION = a_hash("other question", a_clip(1, 2), an_audio(2))
OTHER_SCENE = a_hash("other scene", a_clip(2, 1), an_audio(1))


def audio_only(row: MediaHashRecord) -> MediaHashRecord:
    return replace(row, video_id=VideoId(f"{row.video_id}, audio only"), video=())


def without_audio(row: MediaHashRecord) -> MediaHashRecord:
    return replace(row, video_id=VideoId(f"{row.video_id}, no audio"), audio=())


def test_file_without_video_is_identified_by_its_audio() -> None:
    first, other = audio_only(COPY), audio_only(OTHER_QUESTION)
    assert find_duplicates([ORIGINAL, first, other]) == [(first.video_id, "original")]
    again = audio_only(ORIGINAL)
    assert find_duplicates([first, other, again]) == [(first.video_id, again.video_id)]
    quiet = replace(first, audio=(SILENT,) * len(first.audio))
    assert find_duplicates([quiet, replace(quiet, video_id=VideoId("quiet too"))]) == []
    shorter = a_hash("shorter", a_clip(1, 1), an_audio(1)[:200])
    assert find_duplicates([audio_only(shorter), ORIGINAL]) == []


def test_only_a_blurred_and_trimmed_copy_is_found():
    rows = [OTHER_QUESTION, COPY, OTHER_SCENE, ORIGINAL]
    assert find_duplicates(rows) == [("copy", "original")]
    assert find_duplicates(rows[::-1]) == [("copy", "original")]


def test_videos_without_audio_must_have_the_same_motion():
    rows = [without_audio(row) for row in (ORIGINAL, COPY, OTHER_QUESTION, OTHER_SCENE)]
    assert find_duplicates(rows) == [("copy, no audio", "original, no audio")]


def test_copy_without_audio_is_found_by_its_video():
    muted = replace(COPY, audio=(SILENT,) * len(COPY.audio))
    for copy in (without_audio(COPY), muted):
        rows = [ORIGINAL, OTHER_QUESTION, copy]
        assert find_duplicates(rows) == [tuple(sorted((copy.video_id, "original")))]


@pytest.mark.parametrize("video", [np.zeros((LENGTH, 64), bool), a_clip(3, 0)[:1]])
def test_black_and_static_videos_match_by_their_audio_only(video):
    static = np.repeat(video, LENGTH // len(video), axis=0)
    rows = [a_hash(f"silent {n}", blurred(static, 0.002, n)) for n in range(3)]
    assert find_duplicates(rows) == []
    rows += [a_hash(f"take {n}", static, an_audio(n)) for n in range(3)]
    assert find_duplicates(rows) == []
    rows += [a_hash("take 1 again", static, blurred(an_audio(1), 0.1))]
    assert find_duplicates(rows) == [("take 1", "take 1 again")]


def test_common_start_of_all_recordings_is_not_a_match():
    rows = []
    for take in range(6):
        video = a_clip(1, take)
        video[:5] = False  # the camera adjusts its exposure
        rows.append(a_hash(f"take {take}", video))
    assert find_duplicates(rows) == []


@pytest.mark.parametrize("seconds", [0, 1, 4, 8])
def test_few_seconds_without_audio_are_too_short_to_compare(seconds):
    video = a_clip(1, 1, length=4 * seconds)
    rows = [a_hash("a", video), a_hash("b", video)]
    assert find_duplicates(rows) == []


@pytest.mark.parametrize(("words", "expected"), [(31, []), (32, [("a", "b")])])
def test_two_seconds_of_audio_are_enough_to_compare(words, expected):
    static = np.zeros((LENGTH, 64), bool)
    rows = [a_hash(name, static, an_audio(1)[:words]) for name in "ab"]
    assert find_duplicates(rows) == expected


@pytest.mark.parametrize(("cut", "is_found"), [(2, True), (3, True), (12, False)])
def test_only_slightly_trimmed_copies_are_found(cut, is_found):
    trimmed = a_hash("trimmed", a_clip(1, 1)[cut:], an_audio(1)[4 * cut :])
    assert bool(find_duplicates([ORIGINAL, trimmed])) is is_found


def test_copies_of_copies_are_one_group():
    copies = [
        a_hash(f"copy {n}", blurred(a_clip(1, 1), 0.03, n), blurred(an_audio(1), 0.1, n))
        for n in range(3)
    ]
    pair = [replace(OTHER_SCENE, video_id=VideoId(name)) for name in ("z", "a")]
    assert find_duplicates([ORIGINAL, pair[0], *copies, pair[1]]) == [
        ("a", "z"),
        ("copy 0", "copy 1", "copy 2", "original"),
    ]


def test_copy_is_found_among_hundreds_of_takes_with_one_background():
    takes = [a_hash(f"{n:03}", a_clip(1, n), an_audio(n)) for n in range(2, 300)]
    assert find_duplicates([*takes, ORIGINAL, COPY]) == [("copy", "original")]


def test_fewer_than_two_videos_have_no_duplicates():
    assert find_duplicates([]) == []
    assert find_duplicates([ORIGINAL]) == []


SECONDS = 12
FPS = 12


def write_recording(path: Path, person: int, take: int) -> None:
    """Write a video of a swaying, mumbling person in front of that person's background."""
    room, random = np.random.default_rng(person), np.random.default_rng(100 * person + take)
    background = np.kron(room.integers(40, 200, (12, 16)), np.ones((10, 10)))
    sway = np.cumsum(random.normal(0, 3, (SECONDS * FPS, 2)), axis=0)
    sway -= np.linspace(0, 1, len(sway))[:, None] * sway[-1]
    rows, columns = np.mgrid[:120, :160]
    frames = bytearray()
    for left, down in sway:
        head = ((columns - 80 - left) / 28) ** 2 + ((rows - 60 - down / 2) / 36) ** 2 < 1
        noise = random.normal(0, 3, background.shape)
        video = np.where(head, 230, background) + noise
        frames += np.clip(video, 0, 255).astype(np.uint8).tobytes()
    audio = path.with_suffix(".wav")
    write_mumble(audio, random)
    inputs = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", "160x120", "-r", str(FPS), "-i", "pipe:"]
    encoded = ["-c:a", "aac", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
    ffmpeg([*inputs, "-i", str(audio), *encoded, "-shortest", str(path)], bytes(frames))


def write_mumble(path: Path, random: np.random.Generator) -> None:
    time = np.arange(4_000) / AUDIO_SAMPLE_RATE
    syllables = []
    for _ in range(SECONDS * 4):
        tones = np.sin(2 * np.pi * random.uniform(90, 220) * np.outer(np.arange(1, 20), time))
        syllables.append(np.hanning(4_000) * (random.exponential(1, 19) @ tones))
    samples = (600 * np.concatenate(syllables)).clip(-32_768, 32_767).astype(np.int16)
    write_audio(path, samples)


def ffmpeg(arguments: Sequence[str], stdin: bytes | None = None) -> None:
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-y", *arguments]
    subprocess.run(command, check=True, input=stdin, timeout=100)


REENCODED = {
    "again.mkv": (
        "-ss", "0.4", "-t", "11", "-r", "15", "-vf", "scale=96:72", "-c:v", "mpeg4", "-q:v", "9",
        "-ar", "8000", "-c:a", "libmp3lame", "-b:a", "24k",
    ),
    "again.webm": (
        "-vf", "scale=128:96", "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8",
        "-b:v", "80k", "-af", "volume=0.2", "-ac", "2", "-c:a", "libopus", "-b:a", "24k",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two answers of one person and one of another; the first re-encoded twice."""
    folder = tmp_path_factory.mktemp("recordings")
    takes = {"ann 1.mp4": (1, 1), "ann 2.mp4": (1, 2), "bea 1.mp4": (2, 1)}
    for name, (person, take) in takes.items():
        write_recording(folder / name, person, take)
    for name, options in REENCODED.items():
        start = options[:2] if options[0] == "-ss" else ()
        source = [*start, "-i", str(folder / "ann 1.mp4")]
        ffmpeg([*source, *options[len(start) :], str(folder / name)])
    names = [*takes, *REENCODED]
    return {name: folder / name for name in names}


@pytest.fixture(scope="module")
def hashes(
    recordings: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, MediaHashRecord]:
    """Return the hashes that the segment stage stores for the recordings."""
    config = SegmentConfig(long_side=96)
    variant = variant_of(Store(str(tmp_path_factory.mktemp("store"))), config)
    sources = {
        name: SourceVideo(path=path, source_digest=digest_file(path))
        for name, path in recordings.items()
    }
    expected = {name: source.digest for name, source in sources.items()}
    segment_shard.fn(Shard(name="", expected=expected), sources, config, variant)
    return {str(row.video_id): row for row in variant.read(MediaHashRecord, expected)}


def named(hashes: dict[str, MediaHashRecord], *names: str) -> list[MediaHashRecord]:
    return [hashes[name] for name in names]


def test_reencoded_scaled_and_trimmed_copies_are_found(hashes):
    assert find_duplicates(named(hashes, "ann 1.mp4", "ann 2.mp4", "bea 1.mp4", *REENCODED)) == [
        ("again.mkv", "again.webm", "ann 1.mp4")
    ]


def test_reencoded_copy_without_audio_is_found_by_its_motion(hashes):
    rows = [without_audio(row) for row in named(hashes, "ann 1.mp4", "ann 2.mp4", "again.mkv")]
    assert find_duplicates(rows) == [("again.mkv, no audio", "ann 1.mp4, no audio")]


def in_split(sample: SampleRecord, name: str, split: str) -> SampleRecord:
    return replace(
        sample,
        video_id=VideoId(name),
        participant_id=ParticipantId(f"participant of {name}"),
        split=split,
        source_digest=f"content of {name}",
    )


def test_reencoded_recording_under_another_name_is_leakage(hashes, toy_samples, tmp_path):
    (sample,) = toy_samples(Store(str(tmp_path)), 1)
    rows = [in_split(sample, "ann 1.mp4", "train"), in_split(sample, "ann 2.mp4", "test")]
    check_no_leakage(rows, list(hashes.values()))
    copied = [*rows, in_split(sample, "again.mkv", "test")]
    with pytest.raises(LeakageError, match=r"^The same recording \(1\) .* one split") as caught:
        check_no_leakage(copied, list(hashes.values()))
    assert caught.value.details == ("recording again.mkv = ann 1.mp4: test, train",)
    assert "again.mkv" not in str(caught.value)
    check_no_leakage([replace(row, split="train") for row in copied], list(hashes.values()))


def test_identical_files_are_reported_once(hashes, toy_samples, tmp_path):
    (sample,) = toy_samples(Store(str(tmp_path)), 1)
    rows = [
        replace(in_split(sample, name, split), source_digest="one content")
        for name, split in [("ann 1.mp4", "train"), ("copied.mp4", "val")]
    ]
    with_copy = [*hashes.values(), replace(hashes["ann 1.mp4"], video_id=VideoId("copied.mp4"))]
    with pytest.raises(LeakageError, match=r"^The same file content \(1\) is in"):
        check_no_leakage(rows, with_copy)
