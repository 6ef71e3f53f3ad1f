from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.records import SampleRecord, SegmentId
from tasks.labels.class_plan import ClassRule, plan_classes
from tasks.ms_swift.rows import drawn_by_plan, swift_row
from tasks.prompting.model_input import InputConfig
from tasks.prompting.prompt import AUDIO_MARKER, VIDEO_MARKER, prompt_names, render_chat
from tests.builders import a_sample

SAMPLE = a_sample(
    split="train", label=1, transcript="I may", transcript_before="we shall see",
    video_path="segment/v/files/a.mp4", audio_path="segment/v/files/a.wav",
)  # fmt: skip


def row_of(sample: SampleRecord, plan=(), **settings):
    return swift_row(sample, InputConfig(**settings), plan, lambda path: Path("/store") / path)


def chat_of(row) -> str:
    """The chat as ms-swift lays it out: its ChatML template without a system turn."""
    question = row["messages"][0]["content"]
    body = question.replace("<video>", VIDEO_MARKER).replace("<audio>", AUDIO_MARKER)
    return f"<|im_start|>user\n{body}<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("prompt", prompt_names())
@pytest.mark.parametrize("words", [True, False])
def test_ms_swift_asks_what_waver_asks(prompt: str, words: bool) -> None:
    row = row_of(SAMPLE, prompt=prompt, transcript=words)
    message = SAMPLE.transcript if words else None
    asked = render_chat(
        prompt,
        video=True,
        audio=True,
        transcript=message,
        transcript_before=SAMPLE.transcript_before,
    )
    assert chat_of(row) == asked
    assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
    assert row["videos"] == ["/store/segment/v/files/a.mp4"]
    assert row["audios"] == ["/store/segment/v/files/a.wav"]


@pytest.mark.parametrize(
    ("changed", "settings"), [({"audio_path": None}, {}), ({}, {"audio": False})]
)
def test_a_row_without_audio_has_no_tag_for_it(changed, settings) -> None:
    row = row_of(replace(SAMPLE, **changed), **settings)
    assert row["audios"] == []
    assert chat_of(row) == render_chat(
        "definition-transcript", video=True, audio=False, transcript=SAMPLE.transcript
    )


def test_a_row_of_audio_alone_has_no_tag_for_a_video() -> None:
    row = row_of(replace(SAMPLE, video_path=None))
    assert (row["videos"], row["audios"]) == ([], ["/store/segment/v/files/a.wav"])
    assert chat_of(row) == render_chat(
        "definition-transcript",
        video=False,
        audio=True,
        transcript=SAMPLE.transcript,
        transcript_before="",
    )


def test_a_row_without_video_has_no_tag_for_it() -> None:
    row = row_of(SAMPLE, video=False)
    assert (row["videos"], len(row["audios"])) == ([], 1)
    assert "<video>" not in row["messages"][0]["content"]


@given(st.text(alphabet="<>/videoaudimg |", max_size=60))
def test_words_can_forge_no_tag(words: str) -> None:
    forged = words + "<vi<video>deo>"
    sample = replace(SAMPLE, transcript=forged, transcript_before=forged)
    question = row_of(sample, prompt="definition-context")["messages"][0]["content"]
    assert (question.count("<video>"), question.count("<audio>")) == (1, 1)
    assert "<image>" not in question


def test_an_answer_in_tags_goes_on_where_waver_lets_it_begin() -> None:
    row = row_of(SAMPLE, answer="tag")
    asked = render_chat(
        "definition-transcript", video=True, audio=True, transcript=SAMPLE.transcript, answer="tag"
    )
    whole = chat_of(row) + row["messages"][1]["content"]
    assert whole == f"{asked}Yes</answer>"


def test_the_answer_is_one_word_and_carries_its_class_weight_if_there_is_one() -> None:
    calm = replace(SAMPLE, label=0)
    rows = [SAMPLE, calm, calm, calm]
    plain = plan_classes(rows, ClassRule(class_weights="none", sampling="natural"))
    assert row_of(SAMPLE, plain)["messages"][1] == {"role": "assistant", "content": "Yes"}
    weighted = plan_classes(rows, ClassRule(class_weights="balanced", sampling="natural"))
    assert row_of(SAMPLE, weighted)["messages"][1]["loss_scale"] == pytest.approx(2.0)
    answer = row_of(calm, weighted)["messages"][1]
    assert (answer["content"], answer["loss_scale"]) == ("No", pytest.approx(2 / 3))


@given(st.integers(1, 9), st.integers(1, 9))
def test_classes_drawn_equally_are_equally_many_and_nobody_is_left_out(calm: int, shown: int):
    rows = [
        replace(SAMPLE, segment_id=SegmentId(f"{label} {index}"), label=label)
        for label, count in ((0, calm), (1, shown))
        for index in range(count)
    ]
    drawn = drawn_by_plan(rows, plan_classes(rows, ClassRule(sampling="balanced")))
    times = [drawn.count(row) for row in rows]
    assert sum(row.label == 1 for row in drawn) * 2 == len(drawn) == 2 * max(calm, shown)
    assert min(times) >= 1
    for label in (0, 1):
        of_label = [n for n, row in zip(times, rows, strict=True) if row.label == label]
        assert max(of_label) - min(of_label) <= 1
    natural = plan_classes(rows, ClassRule(sampling="natural"))
    assert drawn_by_plan(rows, natural) == rows
