"""The zoo's inputs and the expected outcome of each: cut, cut with a warning, or rejected."""

from dataclasses import dataclass

from storage.issues import IssueKind

ODD_NAMES = (
    "with space.mp4", "it's 'quoted' \"twice\".mp4", "100% %04d %s.mp4", "-leading -i dash.mp4",
    "é ü 日本 🙂.mp4", "a:b,c;d[1].mp4", "back\\slash.mp4", "line\nbreak.mp4", "http:x.mp4",
    "🙂" * 62 + ".mp4", "\u202ebackward.mp4",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A video that must be cut.

    ``beeps`` are the times of its beeps on the video stream's clock, in seconds; None without
    audio. ``video_stream`` is the index of the expected stream; None without video: the clock is
    then the container's. ``warning`` is a part of the one expected warning. ``turns`` quarter turns
    to the left map written frames to stored ones. ``exact_seconds`` is a beep's tolerance.
    ``is_joined`` is whether ffmpeg's own filters lose the track where its format changes, so that
    only the beeps can be compared.
    """

    beeps: tuple[float, ...] | None
    warning: str | None = None
    video_stream: int | None = 0
    audio_stream: int = 0
    turns: int = 0
    exact_seconds: float = 0.012
    is_joined: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """A damaged video that must be cut, as far as it decodes, with this warning."""

    warning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Poor:
    """A video that must be cut into ``num_frames`` frames, and whose input has these problems.

    ``is_warned`` is whether it must be cut with a warning: audio of which a part is digital silence
    is only reported by `waver check` and the report.
    """

    problems: tuple[IssueKind, ...]
    num_frames: int
    is_warned: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A file that must be rejected, with this part of a reason."""

    reason: str


_EARLY = "s of audio before the first frame are not used"

GOOD: dict[str, Cut] = {
    "cinema.mp4": Cut(beeps=(4,)),
    "cfr25.mp4": Cut(beeps=(1, 6.5, 11)),
    "ntsc.mp4": Cut(beeps=(2,)),
    "thirty.mp4": Cut(beeps=(4.5,)),
    "fifty.mp4": Cut(beeps=(3,)),
    "sixty.mp4": Cut(beeps=(4,)),
    "vfr.mp4": Cut(beeps=(4, 8)),
    "two-rates.webm": Cut(beeps=(3, 9)),
    "still-for-seconds.mkv": Cut(beeps=(1,), warning="frozen for 75% of its duration"),
    "jitter.mkv": Cut(beeps=(1, 6)),
    "rotated.mp4": Cut(beeps=(1,), turns=3),
    "odd.mp4": Cut(beeps=(1,)),
    "wide-pixels.mp4": Cut(beeps=None),
    "ten-bit.mp4": Cut(beeps=(2,)),
    "hevc.mp4": Cut(beeps=(3,)),
    "vp9.webm": Cut(beeps=(3,)),
    "studio.mov": Cut(beeps=(3,)),
    "camcorder.mpg": Cut(beeps=(3,)),
    "windows.wmv": Cut(beeps=(1,)),
    "flash.flv": Cut(beeps=(1,)),
    "b-frames.mkv": Cut(beeps=(5,)),
    # AVI stores no times: its reordered frames come one frame late.
    "b-frames.avi": Cut(beeps=(5,), exact_seconds=0.045),
    "matroska-inside.mp4": Cut(beeps=(5,)),
    # Without an edit list the encoder's priming is audible: 21 ms of AAC at 48 kHz.
    "fragmented.mp4": Cut(beeps=(2.021,)),
    "many-streams.mp4": Cut(beeps=(4,), video_stream=1, audio_stream=1),
    "cover-art.mp4": Cut(beeps=(3,)),
    "no-audio.mp4": Cut(beeps=None),
    "audio-longer.mp4": Cut(beeps=(1, 5)),
    "audio-much-longer.mp4": Cut(beeps=(0.5,)),
    "audio-shorter.mp4": Cut(beeps=(1,), warning="audio is missing for 2.99 of 7.00 s of video"),
    "audio-late.mp4": Cut(beeps=(2.5,), warning="audio is missing for 1.97 of 6.00 s of video"),
    "audio-hours-late.mkv": Cut(beeps=(), warning="2 of 2 segments are without audio"),
    "audio-away-for-minutes.mkv": Cut(
        beeps=(797,), warning="159 of 160 segments are without audio"
    ),
    "audio-with-a-hole.mkv": Cut(
        beeps=(1, 6), warning="audio is missing for 2.01 of 8.00 s of video"
    ),
    "video-late.mkv": Cut(beeps=(1.8, 4.8), warning=_EARLY),
    "video-late.mp4": Cut(beeps=(1.8, 4.8), warning=_EARLY),
    "recorded-live.webm": Cut(beeps=(1.2, 3.2), warning=_EARLY),
    "clock-not-at-zero.ts": Cut(beeps=(2, 5.5)),
    "trimmed.mp4": Cut(beeps=(5.2, 9.7)),
    "audio-only.m4a": Cut(beeps=(1,), video_stream=None, warning="no video stream, only audio"),
    "long-audio.m4a": Cut(
        beeps=(1, 6.5, 11), video_stream=None, warning="no video stream, only audio"
    ),
    "song-with-cover.mp3": Cut(
        beeps=(1, 6.5, 11), video_stream=None, warning="no video stream, only audio"
    ),
    "audio-8-khz.mp4": Cut(beeps=(4,)),
    "audio-44-khz-stereo.mov": Cut(beeps=(4,)),
    "surround.mkv": Cut(beeps=(4,)),
    # Packets of audio overlap where files are joined.
    **{
        name: Cut(beeps=(1, 5), exact_seconds=0.06, warning="frame size changes within the video")
        for name in ("size-change.webm", "size-change.mkv")
    },
    "size-change-rotated.mp4": Cut(
        beeps=(1, 5), exact_seconds=0.06, turns=3, warning="frame size changes within the video"
    ),
    "audio-format-change.mkv": Cut(beeps=(1, 5), exact_seconds=0.06, is_joined=True),
    "audio-format-change.ts": Cut(beeps=(1, 5), exact_seconds=0.06, is_joined=True),
    "untyped-stream.ts": Cut(beeps=(2,)),
    "odd-length-tag.mkv": Cut(beeps=(5,)),
    "no-length-tag.mkv": Cut(beeps=(5,)),
    "field-coded.mts": Cut(beeps=(2, 5.5)),
    "field-coded.mkv": Cut(beeps=(2, 5.5)),
    "second-fields-late.mkv": Cut(beeps=(2, 5.5)),
    "one-frame.mp4": Cut(beeps=None),
    "very-short.mp4": Cut(beeps=(0,)),
    "third-of-a-second.mp4": Cut(beeps=(0.1,)),
    "one-frame-over.mp4": Cut(beeps=(9,)),
    "ten-minutes.mp4": Cut(beeps=(1, 299.99, 599)),
    **{name: Cut(beeps=(0,)) for name in ODD_NAMES},
}

POOR: dict[str, Poor] = {
    "black.mp4": Poor(problems=(IssueKind.BLACK_VIDEO,), num_frames=40),
    # Short beeps: more than half of the audio is digital silence.
    "black-for-seconds.mp4": Poor(
        problems=(IssueKind.BLACK_VIDEO, IssueKind.SILENT_AUDIO), num_frames=60
    ),
    "frozen.mp4": Poor(problems=(IssueKind.FROZEN_VIDEO,), num_frames=40),
    "still-for-six-seconds.mkv": Poor(
        problems=(IssueKind.FROZEN_VIDEO, IssueKind.SILENT_AUDIO), num_frames=40
    ),
    "silent-track.mp4": Poor(problems=(IssueKind.SILENT_AUDIO,), num_frames=40),
    "clipped.mov": Poor(problems=(IssueKind.CLIPPED_AUDIO,), num_frames=40),
    "dead-channel.mov": Poor(problems=(IssueKind.DEAD_CHANNEL,), num_frames=40),
    "antiphase.mov": Poor(problems=(IssueKind.ANTIPHASE_AUDIO,), num_frames=40),
    "clock-restart.ts": Poor(problems=(IssueKind.SILENT_AUDIO,), num_frames=150, is_warned=False),
    "damaged-audio.mp4": Poor(problems=(IssueKind.MISSING_AUDIO,), num_frames=40),
}

DAMAGED: dict[str, Damaged | Rejected] = {
    "truncated-little.mp4": Damaged(warning="1 of 193 frames are damaged"),
    "a-little-rotten.mp4": Damaged(warning=" of 200 frames are damaged (ffmpeg: "),
    "truncated-moov-first.mp4": Rejected(reason="truncated: the container declares 8.00 s of "),
    "truncated.mkv": Rejected(reason="truncated: the container declares 6.00 s of video"),
    "truncated.webm": Rejected(reason="truncated: the container declares 5.20 s of video"),
    "truncated.avi": Rejected(reason="truncated: the container declares 6.00 s of video"),
    "truncated-moov-last.mp4": Rejected(reason="moov atom not found"),
    "rotten.mp4": Rejected(reason="of 200 frames are damaged"),
    "field-coded-losses.mts": Damaged(warning=" of 150 frames are damaged (ffmpeg: "),
    "field-coded-ruin.mts": Rejected(reason="frames are damaged"),
    "twice.mp4": Rejected(reason="another file starts at byte "),
    "twice.flv": Rejected(reason="another file starts at byte "),
    "empty.mp4": Rejected(reason="the file is empty (0 bytes)"),
    "text.mp4": Rejected(reason="not a video that ffmpeg can open"),
    "noise.mp4": Rejected(reason="not a video that ffmpeg can open"),
    "single-image.mp4": Rejected(reason="not a video but a still image"),
    "a-little-rotten-audio.m4a": Damaged(warning="11.97 of 12.00 s of audio decode, with "),
    "rotten-audio.m4a": Rejected(reason="s of audio decode, with "),
    "truncated-audio.m4a": Rejected(reason="truncated: the container declares 12.00 s of audio"),
    "audio-only-away.mkv": Rejected(reason="gaps in the audio timestamps add up to 795 s"),
    "encrypted-audio.m4a": Rejected(reason="the audio stream is encrypted"),
    "encrypted.mp4": Rejected(reason="the video stream is encrypted"),
    "of-absurd-size.mov": Rejected(reason="size 30000x30000 is invalid"),
    "of-great-size.mov": Rejected(reason="needs more than the 512 MiB"),
    "pipe.mp4": Rejected(reason="not a regular file but a pipe or device"),
    "device.mp4": Rejected(reason="not a regular file but a pipe or device"),
}
