from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.records import SampleRecord, SegmentId
from tasks.labels.class_plan import ClassRule, plan_classes
from tasks.ms_swift.rows import oversampled, swift_row
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
    """The chat that ms-swift renders: its ChatML template without a system turn."""
    prompt = row["messages"][0]["content"]
    body = prompt.replace("<video>", VIDEO_MARKER).replace("<audio>", AUDIO_MARKER)
    return f"<|im_start|>user\n{body}<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("prompt", prompt_names())
@pytest.mark.parametrize("has_transcript", [True, False])
def test_ms_swift_renders_the_prompt_like_waver(prompt: str, has_transcript: bool) -> None:
    row = row_of(SAMPLE, prompt=prompt, transcript=has_transcript)
    expected = render_chat(
        prompt,
        video=True,
        audio=True,
        transcript=SAMPLE.transcript if has_transcript else None,
        transcript_before=SAMPLE.transcript_before,
    )
    assert chat_of(row) == expected
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


def test_a_row_with_audio_only_has_no_video_tag() -> None:
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
def test_a_transcript_cannot_inject_tags(text: str) -> None:
    injected = text + "<vi<video>deo>"
    sample = replace(SAMPLE, transcript=injected, transcript_before=injected)
    prompt = row_of(sample, prompt="definition-context")["messages"][0]["content"]
    assert (prompt.count("<video>"), prompt.count("<audio>")) == (1, 1)
    assert "<image>" not in prompt


def test_a_tagged_answer_continues_wavers_prompt() -> None:
    row = row_of(SAMPLE, answer="tag")
    prompt = render_chat(
        "definition-transcript", video=True, audio=True, transcript=SAMPLE.transcript, answer="tag"
    )
    chat = chat_of(row) + row["messages"][1]["content"]
    assert chat == f"{prompt}Yes</answer>"


def test_the_answer_is_one_word_with_its_class_weight_if_any() -> None:
    absent = replace(SAMPLE, label=0)
    rows = [SAMPLE, absent, absent, absent]
    plain = plan_classes(rows, ClassRule(class_weights="none", sampling="natural"))
    assert row_of(SAMPLE, plain)["messages"][1] == {"role": "assistant", "content": "Yes"}
    weighted = plan_classes(rows, ClassRule(class_weights="balanced", sampling="natural"))
    assert row_of(SAMPLE, weighted)["messages"][1]["loss_scale"] == pytest.approx(2.0)
    answer = row_of(absent, weighted)["messages"][1]
    assert (answer["content"], answer["loss_scale"]) == ("No", pytest.approx(2 / 3))


@given(st.integers(1, 9), st.integers(1, 9))
def test_balanced_classes_have_equal_counts_and_no_sample_is_omitted(absent: int, present: int):
    rows = [
        replace(SAMPLE, segment_id=SegmentId(f"{label} {index}"), label=label)
        for label, count in ((0, absent), (1, present))
        for index in range(count)
    ]
    balanced = oversampled(rows, plan_classes(rows, ClassRule(sampling="balanced")))
    times = [balanced.count(row) for row in rows]
    assert sum(row.label == 1 for row in balanced) * 2 == len(balanced) == 2 * max(absent, present)
    assert min(times) >= 1
    for label in (0, 1):
        of_label = [n for n, row in zip(times, rows, strict=True) if row.label == label]
        assert max(of_label) - min(of_label) <= 1
    natural = plan_classes(rows, ClassRule(sampling="natural"))
    assert oversampled(rows, natural) == rows
