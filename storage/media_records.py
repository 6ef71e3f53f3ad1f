"""The rows that describe decoded media: a video's facts, frame times, hashes and segments.

Times and digests are as in `storage.records`.
"""

from dataclasses import dataclass

from storage.records import SegmentId, VideoId


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoQuality:
    """How much of a video's or segment's duration shows nothing, as fractions in [0, 1].

    Attributes:
        black_fraction: Frames without any visible content.
        frozen_fraction: Stretches of three seconds or more in which nothing moves.
    """

    black_fraction: float
    frozen_fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioQuality:
    """Measures of a video's or segment's audio; fractions are in [0, 1].

    Attributes:
        decoded_fraction: Fraction of the duration for which the source's audio was decoded.
        silence_fraction: Fraction of the decoded audio that is digital silence.
        rms_dbfs: Level of the decoded audio in dB below full scale, from -120 to 0.
        clipped_fraction: Fraction of the decoded samples that are clipped at full scale.
    """

    decoded_fraction: float
    silence_fraction: float
    rms_dbfs: float
    clipped_fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFacts:
    """Properties of a source video, from decoding the whole file.

    Attributes:
        source_digest: Digest of the file's content.
        duration_ms: Up to the end of the last segment.
        num_frames: Decoded frames; 0 without a video stream, as are ``width`` and ``height``.
        width: Pixels, after rotation.
        height: Pixels, after rotation.
        has_audio: Whether any segment has audio.
        warnings: Differences between container and decoded streams.
        video_quality: ``None`` without a video stream.
        audio_quality: ``None`` without an audio stream.
        dead_channel: Whether one of two audio channels is silent; the other one was used.
        antiphase: Whether two audio channels cancel each other; only one was used.
    """

    video_id: VideoId
    source_digest: str
    duration_ms: int
    num_frames: int
    width: int
    height: int
    has_audio: bool
    warnings: tuple[str, ...] = ()
    video_quality: VideoQuality | None = None
    audio_quality: AudioQuality | None = None
    dead_channel: bool = False
    antiphase: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTimesRecord:
    """The presentation times of a video's frames; no row for a video without a video stream.

    Attributes:
        frame_ms: One time per frame, sorted, starting at 0. Segments with frames start at one of
            these.
        end_ms: When the last frame ends.
    """

    video_id: VideoId
    frame_ms: tuple[int, ...]
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaHashRecord:
    """Perceptual hashes of a whole video (`tasks.media.perceptual_hash`).

    Attributes:
        motion: Eight bytes per second, one per level of motion; empty without a video stream.
        audio: 32 words of 64 bits per second, little endian; empty without an audio stream.
    """

    video_id: VideoId
    motion: bytes
    audio: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRecord:
    """The video and audio files of one segment; at least one of them exists.

    Audio that goes on after the last frame is in segments without video, and a segment of which
    the audio is lost is one without audio.

    Attributes:
        index: Position in the video, from 0.
        num_frames: The source's frames in the segment. 0 without video, and if the frame before
            the segment stands still all through it: the video file repeats that frame.
        num_samples: Audio samples at `AUDIO_SAMPLE_RATE`, mono 16-bit PCM; 0 without audio.
        video_path: Relative to the store's root; ``None`` without video.
        audio_path: Relative to the store's root; ``None`` without audio.
        video_digest: Digest of the file's content; ``None`` without a file.
        audio_digest: Digest of the file's content; ``None`` without a file.
        video_quality: ``None`` without a video stream.
        audio_quality: ``None`` without an audio stream.
    """

    segment_id: SegmentId
    video_id: VideoId
    index: int
    start_ms: int
    end_ms: int
    num_frames: int
    num_samples: int
    video_path: str | None
    audio_path: str | None
    video_digest: str | None
    audio_digest: str | None
    video_quality: VideoQuality | None = None
    audio_quality: AudioQuality | None = None

    @property
    def duration_ms(self) -> int:
        """The duration of the segment."""
        return self.end_ms - self.start_ms
