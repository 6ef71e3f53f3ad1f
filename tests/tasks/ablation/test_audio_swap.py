from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import ConfigError
from storage.identity import participant_key
from storage.records import SampleRecord, SegmentId, VideoId
from tasks.ablation.audio_swap import donors_of
from tests.tasks.ablation.toys import sample


@st.composite
def worlds(draw: st.DrawFn) -> list[SampleRecord]:
    """Videos of a few participants, some unknown, some copies of others, some without audio."""
    samples = []
    for number in range(draw(st.integers(2, 9))):
        participant = draw(st.sampled_from(["ann", "bea", "cem", None]))
        content = draw(st.sampled_from([None, None, None, "a copy"]))
        for index in range(draw(st.integers(1, 3))):
            samples.append(
                sample(
                    f"v{number}.mp4", index, participant=participant, content=content,
                    has_audio=draw(st.integers(0, 4)) > 0,
                )
            )  # fmt: skip
    return samples


@given(worlds(), st.randoms())
def test_every_segment_with_audio_gets_that_of_another_participant_and_gives_its_own_once(
    samples, dice
) -> None:
    with_audio = [row for row in samples if row.audio_path]
    try:
        pairs = donors_of(samples)
    except ConfigError:
        return
    assert sorted(host.segment_id for host, _ in pairs) == sorted(r.segment_id for r in with_audio)
    assert sorted(donor.segment_id for _, donor in pairs) == sorted(
        r.segment_id for r in with_audio
    )
    for host, donor in pairs:
        assert host.video_id != donor.video_id
        assert host.source_digest != donor.source_digest
        assert host.participant_id is None or host.participant_id != donor.participant_id
    dice.shuffle(samples)
    assert set(donors_of(samples)) == set(pairs)


def test_pairs_depend_on_content_and_not_on_ids() -> None:
    samples = [sample(f"v{number}.mp4", index) for number in range(5) for index in range(2)]
    renamed = [
        replace(row, video_id=VideoId(f"{9 - int(row.video_id[1])}"), segment_id=SegmentId(str(n)))
        for n, row in enumerate(samples)
    ]

    def contents(rows: list[SampleRecord]) -> set[tuple[str, str]]:
        return {(host.content_digest, donor.content_digest) for host, donor in donors_of(rows)}

    assert contents(samples) == contents(renamed)


def test_one_participant_with_most_of_the_audio_cannot_be_swapped() -> None:
    mostly_one = [sample(f"v{n}.mp4", participant="ann" if n < 3 else "bea") for n in range(5)]
    with pytest.raises(ConfigError, match="3 of 5 segments with audio are of one"):
        donors_of(mostly_one)
    assert len(donors_of(mostly_one[1:])) == 4


def test_without_audio_there_is_nothing_to_swap() -> None:
    assert donors_of([sample("a.mp4", has_audio=False)]) == []


def test_spellings_of_a_participant_are_never_paired() -> None:
    people = ["José", "Jose\u0301", "ann", "ANN", "bea", "cem"]
    samples = [sample(f"{n}.mp4", participant=who) for n, who in enumerate(people)]
    for host, donor in donors_of(samples):
        names = {participant_key(str(row.participant_id)) for row in (host, donor)}
        assert len(names) == 2
