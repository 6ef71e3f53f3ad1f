"""Generate copies of recordings, and recordings that only look or listen like copies."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.sandbox.plan import WorldSettings, plan_world
from infra.sandbox.world import make_world

Options = tuple[tuple[str, ...], tuple[str, ...]]  # of the input, of the output

_VIDEO = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "23", "-pix_fmt", "yuv420p")
_AUDIO = ("-c:a", "aac", "-b:a", "64k", "-ar", "16000", "-ac", "1")


def _filtered(video: str = "null", audio: str = "anull") -> Options:
    return (), ("-vf", video, "-af", audio, *_VIDEO, *_AUDIO)


COPIES: Mapping[str, Options] = {
    "re-encoded, MPEG-4 at a low rate": ((), ("-c:v", "mpeg4", "-q:v", "14", *_AUDIO)),
    "scaled to half": _filtered("scale=iw/2:ih/2"),
    "12 frames per second": _filtered("fps=12"),
    "15 of 25 frames, VP8, Opus": (
        (),
        ("-r", "15", "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "100k",
         "-c:a", "libopus", "-b:a", "24k"),
    ),
    "brighter, more contrast": _filtered("eq=brightness=0.1:contrast=1.2"),
    "cropped by 10 %": _filtered("crop=iw*0.9:ih*0.9"),
    "cropped by 20 %": _filtered("crop=iw*0.8:ih*0.8"),
    "cropped by 20 % at one corner": _filtered("crop=iw*0.8:ih*0.8:0:0"),
    "mirrored": _filtered("hflip"),
    "rotated by 5 degrees": _filtered("rotate=5*PI/180"),
    "rotated by 45 degrees": _filtered("rotate=45*PI/180"),
    "rotated by 90 degrees": _filtered("transpose=1"),
    "letterbox": _filtered("pad=iw:ih*4/3:0:(oh-ih)/2"),
    "white border of 10 %": _filtered("pad=iw*1.2:ih*1.2:(ow-iw)/2:(oh-ih)/2:color=white"),
    "banner over 15 %": _filtered("drawbox=0:ih*0.85:iw:ih*0.15:color=red:t=fill"),
    "volume 0.1": _filtered(audio="volume=0.1"),
    "noise": _filtered(audio="aeval=val(0)+0.01*(random(0)-0.5):c=same"),
    "audio at 16 kbit/s, Opus": (
        (), ("-c:v", "copy", "-c:a", "libopus", "-b:a", "16k", "-f", "matroska"),
    ),
    "audio at 8 kHz, MP3": (
        (), ("-c:v", "copy", "-ar", "8000", "-c:a", "libmp3lame", "-b:a", "16k", "-f", "matroska"),
    ),
    "trimmed by 0.4 s": (("-ss", "0.4"), (*_VIDEO, *_AUDIO)),
    "excerpt, 80 %": (("-ss", "{length*0.13}", "-t", "{length*0.8}"), (*_VIDEO, *_AUDIO)),
    "excerpt, 50 %": (("-ss", "{length*0.31}", "-t", "{length*0.5}"), (*_VIDEO, *_AUDIO)),
    "speed 1.05": _filtered("setpts=PTS/1.05", "atempo=1.05"),
    "speed 1.10": _filtered("setpts=PTS/1.1", "atempo=1.1"),
    "speed 0.95": _filtered("setpts=PTS/0.95", "atempo=0.95"),
    "speed 1.05, higher pitch": _filtered("setpts=PTS/1.05", "asetrate=16800,aresample=16000"),
    "cropped, mirrored, speed 1.05": _filtered(
        "crop=iw*0.9:ih*0.9,hflip,setpts=PTS/1.05", "atempo=1.05"
    ),
}  # fmt: skip
"""Transformations by name; ``{length*N}`` stands for a fraction of the source's duration."""

_TONES: Mapping[str, str] = {
    "steady tone": "sine=frequency=440:sample_rate=16000",
    "hum and hiss": "aevalsrc=0.2*sin(100*PI*t)+0.05*(random(0)-0.5):s=16000",
    "a beep every second": "sine=frequency=330:beep_factor=4:sample_rate=16000",
    "silence": "anullsrc=r=16000:cl=mono",
}
_TUNE = "aevalsrc=0.3*sin(2*PI*t*(330+110*floor(mod(t*t*1.7\\,5))))*(1-mod(t*3\\,1)):s=16000:d=4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One original: its file, whose it is, and its duration in seconds."""

    name: str
    person: str
    path: Path
    seconds: float


def make_sources(folder: Path, num_people: int, seed: int) -> list[Recording]:
    """Render two recordings each of several people, with the sandbox's generator, at 320 by 240."""
    world = folder / "world"
    settings = WorldSettings(num_participants=num_people, videos_per_participant=2, seed=seed)
    make_world(world, settings, workers=2)
    recordings = []
    for number, video in enumerate(plan_world(settings).videos):
        path = folder / f"source-{number}.mp4"
        if not path.exists():
            encode(
                ("-i", str(world / video.path)), ("-vf", "scale=320:240", *_VIDEO, *_AUDIO), path
            )
        recordings.append(
            Recording(
                name=str(number),
                person=str(video.participant.participant_id),
                path=path,
                seconds=video.duration_ms / 1000,
            )
        )
    return recordings


def make_copy(source: Recording, name: str, path: Path) -> None:
    """Write a transformed copy of a recording, unless it exists."""
    before, after = COPIES[name]
    encode((*(_length(source, o) for o in before), "-i", str(source.path)), after, path)


def _length(source: Recording, option: str) -> str:
    if not option.startswith("{length*"):
        return option
    return f"{source.seconds * float(option[8:-1]):.3f}"


def make_innocents(folder: Path, sources: Sequence[Recording]) -> dict[str, list[Path]]:
    """Write groups of recordings, no two of a group copies of each other."""
    groups: dict[str, list[Path]] = {}
    for name, audio in _TONES.items():
        groups[name] = [folder / f"{name}-{source.name}.mp4" for source in sources]
        for source, path in zip(sources, groups[name], strict=True):
            inputs = ("-i", str(source.path), "-f", "lavfi", "-i", audio)
            encode(inputs, ("-map", "0:v", "-map", "1:a", "-shortest", *_VIDEO, *_AUDIO), path)
    groups["the same jingle of 4 s"] = [folder / f"jingle-{source.name}.mp4" for source in sources]
    for source, path in zip(sources, groups["the same jingle of 4 s"], strict=True):
        card = ("-f", "lavfi", "-i", "color=navy:s=320x240:r=25:d=4", "-f", "lavfi", "-i", _TUNE)
        encode((*card, "-i", str(source.path)), _joined("[0:v][1:a][2:v][2:a]"), path)
    groups |= _halves(folder, sources)
    return groups


def _halves(folder: Path, sources: Sequence[Recording]) -> dict[str, list[Path]]:
    """Let every two recordings of a person start with the same recording of the next person."""
    halves: dict[str, list[Path]] = {"one half in common": [], "audio only, 4 of 9 s in common": []}
    for index, source in enumerate(sources):
        start = sources[(index // 2 * 2 + 2) % len(sources)]
        half = min(start.seconds, source.seconds) / 2
        path = folder / f"half-{source.name}.mp4"
        first = ("-t", f"{half}", "-i", str(start.path))
        # Not the beginning: the sandbox's voices may begin with the same sentence.
        own = ("-ss", f"{source.seconds - half}", "-t", f"{half}", "-i", str(source.path))
        encode((*first, *own), _joined("[0:v][0:a][1:v][1:a]"), path)
        halves["one half in common"].append(path)
        path = folder / f"audio-{source.name}.m4a"
        first = ("-t", "4", "-i", str(start.path))
        own = ("-ss", f"{source.seconds - 5}", "-t", "5", "-i", str(source.path))
        joined = "[0:a][1:a]concat=v=0:a=1[a]"
        encode((*first, *own), ("-filter_complex", joined, "-map", "[a]", *_AUDIO), path)
        halves["audio only, 4 of 9 s in common"].append(path)
    return halves


def _joined(streams: str) -> tuple[str, ...]:
    joined = f"{streams}concat=n=2:v=1:a=1[v][a]"
    # Without a rate, parts of different rates are encoded at a million frames per second.
    return ("-filter_complex", joined, "-map", "[v]", "-map", "[a]", "-r", "25", *_VIDEO, *_AUDIO)


def encode(inputs: Sequence[str], outputs: Sequence[str], path: Path) -> None:
    """Run ffmpeg, unless the file exists."""
    if path.exists():
        return
    unfinished = path.with_name(f"unfinished-{path.name}")
    command = ("ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-y", *inputs, *outputs)
    subprocess.run((*command, str(unfinished)), check=True, timeout=600)
    unfinished.rename(path)
