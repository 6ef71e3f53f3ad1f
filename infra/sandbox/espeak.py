"""Bindings to espeak-ng's C library by ctypes; the sandbox needs no system package.

espeak-ng keeps its oscillator's phase between utterances, so repeating a call gives different
samples. Every utterance therefore reloads the library (about 4 ms), and its samples depend only on
the arguments. Calls are serialized within a process.

Constants: espeak-ng/src/include/espeak-ng/speak_lib.h.
"""

import _ctypes
import ctypes as c
import re
import threading
from dataclasses import dataclass
from itertools import pairwise

import espeakng_loader
import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from storage.records import AUDIO_SAMPLE_RATE

_ESPEAK_RATE = 22_050
_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS; plain retrieval (1) deadlocks
_DONT_EXIT = 0x8000
_UTF8, _WORD_EVENT = 1, 1
_RATE, _VOLUME, _PITCH, _RANGE, _GAP = 1, 2, 3, 4, 7
_AUDIBLE, _TAIL_MS = 0.004, 50
_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prosody:
    """Prosody of a sentence, in espeak-ng's own parameters."""

    pitch: int
    """0-99, about an octave and a half in each voice."""
    pitch_range: int
    """0-99: 0 is monotonous, 50 normal."""
    rate: int
    """Words per minute, 80-450."""
    word_gap: int
    """Pause between words in units of 10 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenWord:
    """One word and its time from the start of its utterance's samples."""

    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One sentence's audio (16 kHz mono float32 within [-1, 1]) and its words in order."""

    samples: NDArray[np.float32]
    words: tuple[SpokenWord, ...]

    @property
    def duration_ms(self) -> int:
        """Length of the audio, rounded down to a whole millisecond."""
        return len(self.samples) * 1000 // AUDIO_SAMPLE_RATE


def synthesize(text: str, espeak_voice: str, prosody: Prosody) -> Utterance:
    """Speak ``text`` (lower-case ASCII words and spaces); deterministic in its arguments.

    The audio ends 50 ms after the last audible sample.

    Raises:
        ValueError: espeak-ng has no such voice.
        RuntimeError: the library does not start.
    """
    with _lock:
        pcm, word_starts = _run_library(text, espeak_voice, prosody)
    audio = resample_poly(
        pcm.astype(np.float32) / 32768, AUDIO_SAMPLE_RATE // 50, _ESPEAK_RATE // 50
    )
    samples = np.clip(audio, -1, 1).astype(np.float32)
    audible = np.flatnonzero(np.abs(samples) > _AUDIBLE)
    last = int(audible[-1]) + 1 if len(audible) else len(samples)
    words = word_times(text, word_starts, last * 1000 // AUDIO_SAMPLE_RATE)
    return Utterance(samples=samples[: last + _TAIL_MS * AUDIO_SAMPLE_RATE // 1000], words=words)


def word_times(text: str, starts: dict[int, int], end_ms: int) -> tuple[SpokenWord, ...]:
    """Return the words of ``text`` with times from espeak-ng's events, {offset in text: start ms}.

    espeak-ng emits no event for a word joined to the one before ("do not"): both divide the
    time of the preceding event's word in proportion to their letters.
    """
    groups: list[tuple[int, list[str]]] = []
    for match in re.finditer(r"\S+", text):
        if match.start() in starts or not groups:
            groups.append((starts.get(match.start(), 0), []))
        groups[-1][1].append(match.group())
    bounds = [start for start, _ in groups] + [end_ms]
    words: list[SpokenWord] = []
    for (start, names), (_, stop) in zip(groups, pairwise(bounds), strict=True):
        letters = [sum(map(len, names[:i])) for i in range(len(names) + 1)]
        edges = [start + (stop - start) * n // letters[-1] for n in letters]
        words += [
            SpokenWord(text=name, start_ms=a, end_ms=max(a + 1, b))
            for name, (a, b) in zip(names, pairwise(edges), strict=True)
        ]
    return tuple(words)


_BREATH_SEED = 1  # otherwise breathy voices draw their noise from the clock


class _EventId(c.Union):
    _fields_ = [("number", c.c_int), ("name", c.c_char_p), ("string", c.c_char * 8)]


class _Event(c.Structure):
    _fields_ = [
        ("type", c.c_int),
        ("unique_identifier", c.c_uint),
        ("text_position", c.c_int),
        ("length", c.c_int),
        ("audio_position", c.c_int),
        ("sample", c.c_int),
        ("user_data", c.c_void_p),
        ("id", _EventId),
    ]


_Callback = c.CFUNCTYPE(c.c_int, c.POINTER(c.c_short), c.c_int, c.POINTER(_Event))


def _run_library(
    text: str, espeak_voice: str, prosody: Prosody
) -> tuple[NDArray[np.int16], dict[int, int]]:
    """Return 22.05 kHz samples and {offset of a word in text: start ms}."""
    library = c.CDLL(espeakng_loader.get_library_path())
    try:
        return _speak_once(library, text, espeak_voice, prosody)
    finally:
        library.espeak_Terminate()
        _ctypes.dlclose(library._handle)


def _speak_once(
    library: c.CDLL, text: str, espeak_voice: str, prosody: Prosody
) -> tuple[NDArray[np.int16], dict[int, int]]:
    blocks: list[NDArray[np.int16]] = []
    starts: dict[int, int] = {}

    def collect(wav: "c._Pointer[c.c_short]", count: int, events: "c._Pointer[_Event]") -> int:
        if count > 0:
            blocks.append(np.ctypeslib.as_array(wav, (count,)).copy())
        index = 0
        while events[index].type:
            if events[index].type == _WORD_EVENT:
                starts[events[index].text_position - 1] = events[index].audio_position
            index += 1
        return 0

    callback = _Callback(collect)
    _open(library, espeak_voice, prosody)
    library.espeak_SetSynthCallback(callback)
    encoded = text.encode("ascii") + b"\0"
    library.espeak_Synth(c.c_char_p(encoded), c.c_size_t(len(encoded)), 0, 1, 0, _UTF8, None, None)
    return np.concatenate(blocks), starts


def _open(library: c.CDLL, espeak_voice: str, prosody: Prosody) -> None:
    data_path = espeakng_loader.get_data_path().encode()
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data_path, _DONT_EXIT)
    if rate != _ESPEAK_RATE:
        raise RuntimeError(
            f"espeak-ng did not start (it returned {rate!r}, expected {_ESPEAK_RATE} Hz); "
            "reinstall the package espeakng-loader"
        )
    if library.espeak_SetVoiceByName(espeak_voice.encode()) != 0:
        raise ValueError(
            f"espeak-ng has no voice {espeak_voice!r}; expected one such as 'en-us+f1'"
        )
    settings = (
        (_RATE, prosody.rate),
        (_VOLUME, 100),
        (_PITCH, prosody.pitch),
        (_RANGE, prosody.pitch_range),
        (_GAP, prosody.word_gap),
    )
    for parameter, number in settings:
        library.espeak_SetParameter(parameter, number, 0)
    library.espeak_ng_SetRandSeed(c.c_long(_BREATH_SEED))
