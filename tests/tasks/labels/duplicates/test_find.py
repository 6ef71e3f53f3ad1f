"""Computed hashes first; then videos transformed with ffmpeg, up to the leakage check."""

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storage.errors import LeakageError
from storage.fingerprint import digest_file
from storage.media_records import MediaHashRecord
from storage.records import ParticipantId, SampleRecord, VideoId
from storage.store.store import Store
from tasks.labels.duplicates.find import DuplicatePair, find_duplicates, groups_of
from tasks.labels.leakage import check_no_leakage
from tasks.media.audio.wav import write_audio
from tasks.media.perceptual_hash import VIDEO_HASH_RATE
from tasks.segment import SegmentConfig, SourceVideo, segment_shard, variant_of
from tasks.stage import Shard
from tests.tasks.labels.duplicates.recordings import (
    NO_FRAMES,
    RATE,
    Samples,
    a_hash,
    beeps,
    motion,
    speech,
    tone,
)

SECONDS = 12
VOICE = speech(SECONDS, seed=1)
ORIGINAL = a_hash("original", motion(SECONDS, 1), VOICE)
OTHER_WORDS = a_hash("other words", motion(SECONDS, 2), speech(SECONDS, seed=2))


def found(*rows: MediaHashRecord) -> list[tuple[str, str, str]]:
    return [(pair.one, pair.other, pair.evidence) for pair in find_duplicates(rows)]


def noisy(samples: Samples) -> Samples:
    return 0.3 * samples + np.random.default_rng(0).normal(0, 20, len(samples))


def test_identical_audio_under_another_video_is_a_copy() -> None:
    copy = a_hash("copy", motion(SECONDS, 3), noisy(VOICE))
    assert found(ORIGINAL, OTHER_WORDS, copy) == [("copy", "original", "audio")]
    assert found(copy, OTHER_WORDS, ORIGINAL) == [("copy", "original", "audio")]


@pytest.mark.parametrize(("start", "seconds"), [(0, 4), (3.7, 5), (6.21, 5.5), (0.3, 11)])
def test_excerpt_at_any_offset_is_found(start, seconds):
    part = VOICE[round(start * RATE) :][: round(seconds * RATE)]
    assert found(ORIGINAL, a_hash("part", NO_FRAMES, noisy(part)))


@pytest.mark.parametrize("extra", [1, 6, 20])
def test_recording_with_other_audio_before_it_is_found(extra):
    longer = np.concatenate([speech(extra, seed=5), VOICE])
    assert found(ORIGINAL, a_hash("longer", motion(SECONDS + extra, 4), longer))


@pytest.mark.parametrize(("common", "is_found"), [(3, False), (6, False), (8, False), (11, True)])
def test_two_answers_with_a_part_in_common_are_no_copies(common, is_found):
    start = VOICE[: round(common * RATE)]
    rows = [
        a_hash(f"{n}", motion(12, n), np.concatenate([start, speech(12 - common, seed=20 + n)]))
        for n in range(2)
    ]
    assert bool(found(*rows)) is is_found


def test_audio_only_files_with_4_of_9_seconds_in_common_are_no_copies():
    rows = [
        a_hash(str(n), NO_FRAMES, np.concatenate([VOICE[: 4 * RATE], speech(5, seed=30 + n)]))
        for n in range(3)
    ]
    assert found(*rows) == []


def test_jingle_before_silence_is_no_evidence():
    jingle = np.pad(VOICE[: 4 * RATE], (0, 10 * RATE))
    assert found(*[a_hash(str(n), motion(14, n), jingle) for n in range(3)]) == []


@pytest.mark.parametrize(
    "audio",
    [
        tone(SECONDS, 440), tone(SECONDS, 50), np.zeros(SECONDS * RATE),
        tone(SECONDS, 600) * np.linspace(0.05, 1, SECONDS * RATE),
        beeps(SECONDS, 1.0), beeps(SECONDS, 0.7, 1_200), beeps(SECONDS, 4.0),
        tone(SECONDS, 300) + tone(SECONDS, 301.5),
        np.random.default_rng(0).normal(0, 500, SECONDS * RATE),
    ],
    ids=["tone", "hum", "silence", "swell", "beeps", "fast beeps", "rare beeps", "beat", "hiss"],
)  # fmt: skip
def test_steady_and_repeating_audio_is_no_evidence(audio):
    rows = [a_hash(str(n), motion(SECONDS, n), audio) for n in range(3)]
    assert found(*rows) == []
    assert found(*(replace(row, motion=b"") for row in rows)) == []


def test_beeps_under_speech_do_not_hide_a_copy():
    mixed = VOICE + beeps(SECONDS, 1.0)
    copy = a_hash("copy", motion(SECONDS, 3), noisy(mixed))
    other = a_hash("other", motion(SECONDS, 4), speech(SECONDS, 9) + beeps(SECONDS, 1.0))
    assert found(a_hash("original", motion(SECONDS, 1), mixed), copy, other) == [
        ("copy", "original", "audio")
    ]


MOVES = motion(20, 1)


@pytest.mark.parametrize(
    "frames",
    [
        MOVES[:, :, ::-1],
        np.rot90(MOVES, axes=(1, 2)),
        np.repeat(np.repeat(MOVES[:, 4:28, 5:32], 2, axis=1), 2, axis=2),
        np.pad(MOVES, ((0, 0), (6, 6), (6, 6)), constant_values=255),
        np.pad(MOVES[8:-5, 3:], ((0, 0), (3, 0), (0, 0))),
        MOVES // 2 + 40,
    ],
    ids=["mirrored", "rotated", "cropped", "border", "trimmed, banner", "paler"],
)
def test_copy_without_audio_is_found_by_its_motion(frames):
    original = a_hash("original", MOVES, speech(20, 1))
    others = [a_hash(str(n), motion(20, n), speech(20, n)) for n in (2, 3)]
    assert found(original, *others, a_hash("copy", frames)) == [("copy", "original", "motion")]
    assert found(a_hash("original", MOVES), a_hash("copy", frames), a_hash("x", motion(20, 4)))


def test_motion_at_another_speed_is_found():
    faster = MOVES[np.round(np.arange(0, len(MOVES) - 1, 1.05)).astype(int)]
    assert found(a_hash("original", MOVES), a_hash("faster", faster))


def test_excerpt_without_audio_is_found_by_its_motion():
    longer = motion(40, 6)
    assert found(a_hash("longer", longer, speech(40, 1)), a_hash("part", longer[171:560]))


@pytest.mark.parametrize("seconds", [0, 0.1, 1, 4, 8])
def test_few_seconds_without_audio_are_too_short_to_compare(seconds):
    frames = motion(20, 1)[: round(seconds * VIDEO_HASH_RATE)]
    assert found(a_hash("a", frames), a_hash("b", frames)) == []


def test_static_videos_without_audio_are_no_evidence():
    random = np.random.default_rng(0)
    frames = np.repeat(MOVES[:1], len(MOVES), axis=0) + random.integers(0, 3, MOVES.shape)
    row = a_hash("a", frames.astype(np.uint8))
    assert found(row, replace(row, video_id=VideoId("b"))) == []


def test_common_start_of_all_recordings_is_not_a_match():
    rows = []
    for take in range(4):
        frames = motion(20, 40 + take)
        frames[:48] = MOVES[:48]  # the camera adjusts its exposure
        rows.append(a_hash(str(take), frames))
    assert found(*rows) == []


def test_copies_of_copies_are_one_group():
    def a_pair(one: str, other: str) -> DuplicatePair:
        return DuplicatePair(one=VideoId(one), other=VideoId(other), evidence="audio")

    pairs = [a_pair("a", "z"), a_pair("b", "c"), a_pair("d", "e"), a_pair("c", "e")]
    assert groups_of(pairs) == [("a", "z"), ("b", "c", "d", "e")]
    assert groups_of([]) == []


def test_fewer_than_two_videos_have_no_duplicates():
    assert found() == []
    assert found(ORIGINAL) == []


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
    time = np.arange(4_000) / RATE
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
    "faster.mp4": (
        "-vf", "hflip,crop=iw*0.8:ih*0.8,setpts=PTS/1.06", "-af", "atempo=1.06", "-c:v", "libx264",
        "-preset", "ultrafast",
    ),
    "part.mp4": (
        "-ss", "3.3", "-t", "6", "-vf", "rotate=0.3,pad=iw:ih*1.4:0:(oh-ih)/2", "-c:v", "libx264",
        "-preset", "ultrafast",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two answers of one person and one of another, and copies of the first."""
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


def test_transformed_copies_and_parts_are_found(hashes):
    assert groups_of(find_duplicates(list(hashes.values()))) == [
        tuple(sorted(("ann 1.mp4", *REENCODED)))
    ]


def test_reencoded_copy_without_audio_is_found_by_its_motion(hashes):
    muted = replace(hashes["again.mkv"], audio=b"")
    rows = [hashes["ann 1.mp4"], hashes["ann 2.mp4"], hashes["bea 1.mp4"], muted]
    assert found(*rows) == [("again.mkv", "ann 1.mp4", "motion")]


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


def test_only_the_accepted_pair_passes_the_gate(hashes, toy_samples, tmp_path):
    (sample,) = toy_samples(Store(str(tmp_path)), 1)
    splits = {"ann 1.mp4": "train", "again.mkv": "test", "again.webm": "val"}
    rows = [in_split(sample, name, split) for name, split in splits.items()]
    accepted = frozenset({frozenset({VideoId("again.mkv"), VideoId("ann 1.mp4")})})
    check_no_leakage(rows[:2], list(hashes.values()), accepted)
    with pytest.raises(LeakageError, match=r"recording \(1\).*--accept-duplicates"):
        check_no_leakage(rows[::2], list(hashes.values()), accepted)
    with pytest.raises(LeakageError, match=r"recording \(1\)"):
        check_no_leakage(rows, list(hashes.values()), accepted)


def test_identical_files_are_reported_once(hashes, toy_samples, tmp_path):
    (sample,) = toy_samples(Store(str(tmp_path)), 1)
    rows = [
        replace(in_split(sample, name, split), source_digest="one content")
        for name, split in [("ann 1.mp4", "train"), ("copied.mp4", "val")]
    ]
    with_copy = [*hashes.values(), replace(hashes["ann 1.mp4"], video_id=VideoId("copied.mp4"))]
    with pytest.raises(LeakageError, match=r"^The same file content \(1\) is in"):
        check_no_leakage(rows, with_copy)
