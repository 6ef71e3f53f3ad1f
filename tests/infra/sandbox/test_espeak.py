import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.sandbox.espeak import Prosody, synthesize, word_times
from storage.records import AUDIO_SAMPLE_RATE

PLAIN = Prosody(pitch=50, pitch_range=50, rate=150, word_gap=0)


def test_words_follow_one_another_and_end_with_the_audible_audio() -> None:
    text = "i do not know if i can quit smoking"
    utterance = synthesize(text, "en-us+f1", PLAIN)
    assert " ".join(w.text for w in utterance.words) == text
    for before, after in zip(utterance.words, utterance.words[1:], strict=False):
        assert before.start_ms < before.end_ms <= after.start_ms + 1
    assert utterance.duration_ms - 51 <= utterance.words[-1].end_ms <= utterance.duration_ms
    assert utterance.samples.dtype == np.float32
    assert 0.1 < np.abs(utterance.samples).max() <= 1


def test_a_louder_stretch_lies_where_the_words_are() -> None:
    utterance = synthesize("um maybe", "en-us+f1", PLAIN)
    spoken = np.abs(utterance.samples[: utterance.words[-1].end_ms * AUDIO_SAMPLE_RATE // 1000])
    assert spoken.mean() > 0.02


def test_an_unknown_voice_is_named() -> None:
    with pytest.raises(ValueError, match=r"en-xx\+f1"):
        synthesize("yes", "en-xx+f1", PLAIN)


@given(st.lists(st.text("abcdefg", min_size=1, max_size=9), min_size=1, max_size=12), st.data())
def test_every_word_gets_a_time_in_order_whichever_events_are_missing(
    names: list[str], data: st.DataObject
) -> None:
    text = " ".join(names)
    offsets = [len(" ".join(names[:i])) + (1 if i else 0) for i in range(len(names))]
    kept = sorted(data.draw(st.sets(st.sampled_from(offsets))))
    starts = {offset: 300 * index for index, offset in enumerate(kept)}
    words = word_times(text, starts, 300 * max(1, len(kept)) + 100)
    assert [w.text for w in words] == names
    assert all(w.start_ms < w.end_ms for w in words)
    assert [w.start_ms for w in words] == sorted(w.start_ms for w in words)
    times = dict(zip(offsets, (w.start_ms for w in words), strict=True))
    assert all(times[offset] == start for offset, start in starts.items())
