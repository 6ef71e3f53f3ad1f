from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from storage.errors import LeakageError
from storage.issues import Issue, IssueKind
from storage.records import (
    ClassPlanRecord,
    Interval,
    IssueRecord,
    ParticipantId,
    SampleRecord,
    VideoId,
)
from storage.store.store import Store
from storage.store.variant import Variant, open_variant
from tasks.labels.class_plan import plan_classes
from tasks.labels.leakage import check_no_leakage
from tasks.manifest import (
    ManifestConfig,
    VideoInputs,
    class_plan,
    expected_plan,
    manifest_shard,
    samples_of,
    variant_of,
)
from tasks.stage import Shard
from tests.builders import a_segment, a_transcript, a_video, a_word

CONFIG = ManifestConfig()
LOST = (Issue(IssueKind.INTERVAL_UNREADABLE, "interval 1 of 2 rejected: it is reversed"),)


def inputs_of(video_id: str = "v", **facts) -> VideoInputs:
    """Return three segments of 4 s, a few words and pauses, and a video record."""
    defaults = {
        "participant_id": ParticipantId("ann"),
        "split": "train",
        "question": 4,
        "label": 1,
        "intervals": (Interval(start_ms=3_000, end_ms=7_000),),
        "consent_publications": True,
        "consent_challenges": False,
    }
    return VideoInputs(
        video=a_video(video_id, **(defaults | facts)),
        source_digest=f"digest of {video_id}",
        segments=tuple(a_segment(video_id, n) for n in range(3)),
        transcript=a_transcript(
            video_id,
            a_word("I", 100, 300),
            a_word("might,", 3_500, 4_900),
            a_word("um", 5_000, 5_300),
            a_word("stop.", 11_800, 12_400),
            pauses=(Interval(start_ms=300, end_ms=3_500), Interval(start_ms=5_300, end_ms=11_800)),
        ),
    )


def test_every_segment_is_a_row_with_its_transcript_label_and_consent():
    rows = list(samples_of(inputs_of(), CONFIG))
    assert [row.segment_id for row in rows] == ["v#0000", "v#0001", "v#0002"]
    assert [row.transcript for row in rows] == ["I", "might, um", "stop."]
    assert [row.num_words for row in rows] == [1, 2, 1]
    assert [row.pause_ms for row in rows] == [3_200, 2_700, 3_800]
    assert [row.overlap_ms for row in rows] == [1_000, 3_000, 0]
    assert [row.overlap_fraction for row in rows] == [0.25, 0.75, 0.0]
    assert [row.label for row in rows] == [0, 1, 0]
    assert {row.label_source for row in rows} == {"intervals"}
    assert all(row.in_training for row in rows)
    for row, segment in zip(rows, inputs_of().segments, strict=True):
        assert (row.participant_id, row.split, row.question, row.video_label) == (
            "ann", "train", 4, 1,
        )  # fmt: skip
        assert (row.consent_publications, row.consent_challenges) == (True, False)
        assert (row.start_ms, row.end_ms, row.num_segments) == (segment.start_ms, segment.end_ms, 3)
        assert (row.video_path, row.audio_path) == (segment.video_path, segment.audio_path)
        assert row.source_digest == "digest of v"


def test_segments_without_video_are_labeled_like_others_and_have_other_digests():
    whole = inputs_of()
    audio_only = [replace(s, video_path=None, video_digest=None) for s in whole.segments]
    rows = list(samples_of(replace(whole, segments=tuple(audio_only)), CONFIG))
    assert [(row.video_path, row.label) for row in rows] == [(None, 0), (None, 1), (None, 0)]
    for row, other in zip(rows, samples_of(whole, CONFIG), strict=True):
        assert row.media_digest != other.media_digest
        assert row.content_digest != other.content_digest


def test_segments_are_sorted_by_time():
    inputs = inputs_of()
    shuffled = replace(inputs, segments=tuple(reversed(inputs.segments)))
    assert list(samples_of(shuffled, CONFIG)) == list(samples_of(inputs, CONFIG))


def test_overlap_of_a_positive_segment_is_a_setting():
    for rule in ({"positive_at": 0.25}, {"overlap_unit": "ms", "positive_at": 1_000}):
        labels = [row.label for row in samples_of(inputs_of(), ManifestConfig(**rule))]
        assert labels == [1, 1, 0]


def test_ignore_band_excludes_rows_from_training_and_changes_nothing_else():
    plain = list(samples_of(inputs_of(), CONFIG))
    banded = list(samples_of(inputs_of(), ManifestConfig(negative_below=0.25)))
    assert [row.in_training for row in banded] == [False, True, True]
    assert [replace(row, in_training=True) for row in banded] == plain


@pytest.mark.parametrize("split", ["val", "test", None])
def test_only_rows_of_train_are_in_training(split):
    rows = list(samples_of(inputs_of(split=split, label=None), CONFIG))
    assert [row.in_training for row in rows] == [False] * 3


def test_negative_segments_between_annotated_bounds_are_not_in_training_but_negative_videos_are():
    positive, negative = inputs_of("p"), inputs_of("n", label=0, intervals=())
    for inputs, trained in ((positive, [False, True, False]), (negative, [True] * 3)):
        rows = samples_of(replace(inputs, cut_at_bounds=True), CONFIG)
        assert [row.in_training for row in rows] == trained


def test_video_positive_at_unknown_times_has_weak_labels_or_none():
    weak = inputs_of(intervals=())
    rows = list(samples_of(weak, CONFIG))
    assert [(row.label, row.label_source, row.in_training) for row in rows] == [
        (1, "video", True)
    ] * 3
    assert {row.overlap_ms for row in rows} == {0}
    rows = list(samples_of(weak, ManifestConfig(unannotated_positive="unlabeled")))
    assert [(row.label, row.label_source, row.in_training) for row in rows] == [
        (None, None, False)
    ] * 3


@pytest.mark.parametrize(
    ("facts", "labels"),
    [
        ({"label": 0, "intervals": ()}, [0, 0, 0]),
        ({"label": 1, "intervals": ()}, [1, 1, 1]),  # weak: positive at unknown times
        ({"label": None, "intervals": ()}, [None, None, None]),
        ({"intervals": (Interval(start_ms=11_000, end_ms=13_000),)}, [0, 0, 0]),
        ({"intervals": (Interval(start_ms=9_000, end_ms=13_000),)}, [0, 0, 1]),
        ({"intervals": (Interval(start_ms=9_000, end_ms=99_000),)}, [None, None, None]),
        ({"intervals": (Interval(start_ms=12_000, end_ms=12_400),)}, [None, None, None]),
        ({"intervals": (Interval(start_ms=3, end_ms=7),)}, [None, None, None]),  # seconds
        ({"label": 0}, [None, None, None]),  # contradicts the intervals
        ({"issues": LOST}, [None, 1, None]),
        ({"issues": LOST, "intervals": ()}, [None, None, None]),
        ({"negative_intervals": (Interval(start_ms=8_000, end_ms=11_500),)}, [None, 1, 0]),
        (
            {
                "label": None,
                "intervals": (),
                "negative_intervals": (Interval(start_ms=0, end_ms=7_000),),
            },
            [0, 0, None],
        ),
    ],
)
def test_labels_follow_the_annotation(facts, labels):
    rows = list(samples_of(inputs_of(**facts), CONFIG))
    assert [row.label for row in rows] == labels
    assert [row.in_training for row in rows] == [label is not None for label in labels]


def test_rows_hold_what_their_label_depends_on():
    stretch = (Interval(start_ms=8_000, end_ms=11_500),)
    rows = list(samples_of(inputs_of(negative_intervals=stretch), CONFIG))
    assert [row.unknown_ms for row in rows] == [3_000, 1_000, 500]
    assert [row.interval_fraction for row in rows] == [0.25, 0.75, 0.0]


def test_an_interval_shorter_than_half_a_segment_is_positive_under_the_larger_fraction():
    short = inputs_of(intervals=(Interval(start_ms=4_500, end_ms=6_000),))
    labels = {
        unit: [row.label for row in samples_of(short, ManifestConfig(overlap_unit=unit))]
        for unit in ("fraction", "larger_fraction")
    }
    assert labels == {"fraction": [0, 0, 0], "larger_fraction": [0, 1, 0]}


def test_annotation_that_does_not_fit_is_an_issue_row(variant):
    late = inputs_of("late", intervals=(Interval(start_ms=12_000, end_ms=12_400),))
    contradictory = inputs_of(
        "contradictory", label=0, issues=(Issue(IssueKind.NEGATIVE_WITH_INTERVALS, "reported"),)
    )
    _, expected = run(
        variant, {"late": late, "contradictory": contradictory, "fine": inputs_of("fine")}
    )
    issues = [(row.video_id, row.kind, row.issue) for row in variant.read(IssueRecord, expected)]
    reason = "as annotation was lost or contradicts itself"
    assert issues == [
        ("late", "interval_after_end",
         "interval at 12000 ms starts after the video's end: dropped"),
        ("late", "no_interval_within",
         "1 of 1 intervals are not within the video: its segments stay unlabeled"),
        ("late", "segments_unlabeled",
         f"3 of 3 segments stay unlabeled, {reason} (interval_after_end, no_interval_within)"),
        ("contradictory", "segments_unlabeled",
         f"3 of 3 segments stay unlabeled, {reason} (negative_with_intervals)"),
    ]  # fmt: skip
    labels = {row.video_id: row.video_label for row in variant.read(SampleRecord, expected)}
    assert labels == {"late": 1, "contradictory": None, "fine": 1}


def test_an_accepted_duplicate_is_an_issue_row_and_recomputes_the_video(variant):
    plain = inputs_of("a")
    accepted = replace(plain, accepted_duplicates=(VideoId("b"),))
    assert accepted.digest != plain.digest
    expected = {"a": accepted.digest}
    manifest_shard.fn(Shard(name="", expected=expected), {"a": accepted}, CONFIG, variant)
    (row,) = [
        row
        for row in variant.read(IssueRecord, expected)
        if row.kind == IssueKind.ACCEPTED_DUPLICATE
    ]
    assert (row.video_id, row.issue) == ("a", "accepted as no copy of 'b'")


def test_unlabeled_video_keeps_its_split():
    rows = samples_of(inputs_of(label=None, intervals=(), split="test"), CONFIG)
    assert {row.split for row in rows} == {"test"}


def test_unlabeled_participant_in_two_splits_is_leakage():
    facts = {"label": None, "intervals": ()}
    videos = (inputs_of("a", split="train", **facts), inputs_of("b", split="test", **facts))
    with pytest.raises(LeakageError):
        check_no_leakage([row for each in videos for row in samples_of(each, CONFIG)], [])


def test_content_digest_covers_exactly_what_a_model_receives():
    def digests(inputs: VideoInputs) -> list[str]:
        return [row.content_digest for row in samples_of(inputs, CONFIG)]

    plain = inputs_of()
    assert digests(inputs_of(label=0, intervals=(), split="test", question=1)) == digests(plain)
    other_words = replace(plain.transcript, words=(a_word("No.", 100, 300),))
    changed = digests(replace(plain, transcript=other_words))
    assert [a == b for a, b in zip(changed, digests(plain), strict=True)] == [False] * 3
    more = replace(
        plain.transcript, words=(*plain.transcript.words[:3], a_word("no", 7_000, 7_200))
    )
    changed = digests(replace(plain, transcript=more))
    assert [a == b for a, b in zip(changed, digests(plain), strict=True)] == [True, False, False]
    louder = replace(plain.segments[1], audio_digest="other")
    segments = (plain.segments[0], louder, plain.segments[2])
    changed = digests(replace(plain, segments=segments))
    assert [a == b for a, b in zip(changed, digests(plain), strict=True)] == [True, False, True]


def test_media_digest_covers_video_and_audio_but_not_the_transcript():
    def digests(inputs: VideoInputs) -> list[str]:
        return [row.media_digest for row in samples_of(inputs, CONFIG)]

    plain = inputs_of()
    assert len(set(digests(plain))) == 3
    without_words = replace(plain, transcript=replace(plain.transcript, words=(), pauses=()))
    assert digests(without_words) == digests(plain)
    for changed in ({"audio_digest": "other"}, {"video_digest": "other"}):
        segments = (plain.segments[0], replace(plain.segments[1], **changed), plain.segments[2])
        pairs = zip(digests(replace(plain, segments=segments)), digests(plain), strict=True)
        assert [a == b for a, b in pairs] == [True, False, True]


word_times = st.lists(st.integers(0, 13_000), min_size=2, max_size=40).map(sorted)


@given(word_times)
def test_no_word_is_lost_or_repeated(bounds):
    words = tuple(a_word(f"w{n}", *bounds[n : n + 2]) for n in range(len(bounds) - 1))
    plain = inputs_of()
    transcript = replace(plain.transcript, words=words, pauses=())
    rows = list(samples_of(replace(plain, transcript=transcript), CONFIG))
    joined = " ".join(row.transcript for row in rows if row.transcript).split()
    assert joined == [word.text for word in words]
    assert sum(row.num_words for row in rows) == len(words)


@given(word_times, st.integers(0, 9))
def test_transcript_before_is_the_last_words_of_earlier_segments(bounds, max_words):
    words = tuple(a_word(f"w{n}", *bounds[n : n + 2]) for n in range(len(bounds) - 1))
    plain = inputs_of()
    inputs = replace(plain, transcript=replace(plain.transcript, words=words, pauses=()))
    previous: list[str] = []
    for row in samples_of(inputs, ManifestConfig(max_words_before=max_words)):
        assert (
            row.transcript_before.split()
            == previous[len(previous) - min(max_words, len(previous)) :]
        )
        previous += row.transcript.split()


def test_transcript_before_never_contains_later_words():
    rows = list(samples_of(inputs_of(), CONFIG))
    assert [row.transcript_before for row in rows] == ["", "I", "I might, um"]


@given(st.lists(st.tuples(st.integers(20, 12_000), st.integers(20, 12_000)), max_size=6))
def test_overlaps_of_all_rows_sum_to_the_annotated_time(pairs):
    intervals = tuple(
        Interval(start_ms=min(pair), end_ms=max(pair)) for pair in pairs if pair[0] != pair[1]
    )
    rows = samples_of(inputs_of(intervals=intervals), CONFIG)
    annotated = {ms for i in intervals for ms in range(i.start_ms, i.end_ms)}
    assert sum(row.overlap_ms for row in rows) == len(annotated)


@pytest.mark.parametrize(
    "settings",
    [
        {"split_fractions": (0.5, 0.5, 0.5)},
        {"positive_at": 1.01},
        {"min_overlap_fraction": 0.5},
        {"max_words_before": -1},
    ],
)
def test_invalid_settings_are_rejected(settings):
    with pytest.raises(ValidationError):
        ManifestConfig(**settings)


@pytest.fixture
def variant(tmp_path) -> Variant:
    store = Store(str(tmp_path))
    segment = open_variant(store, "segment", version=1, settings={})
    transcribe = open_variant(store, "transcribe", version=1, settings={})
    return variant_of(store, CONFIG, segment=segment, transcribe=transcribe)


def run(variant: Variant, inputs: dict[str, VideoInputs]):
    expected = {video_id: each.digest for video_id, each in inputs.items()}
    shard = Shard(name="1 of 1", expected=expected)
    return manifest_shard.fn(shard, inputs, CONFIG, variant), expected


VIDEOS = {name: inputs_of(name) for name in ("a", "b", "c")}


def test_first_run_writes_every_row_and_a_second_run_none(variant):
    state, expected = run(variant, VIDEOS)
    assert state.name == "Completed"
    rows = variant.read(SampleRecord, expected)
    assert rows == [row for each in VIDEOS.values() for row in samples_of(each, CONFIG)]
    assert run(variant, VIDEOS)[0].name == "Cached"


@pytest.mark.parametrize(
    "changed",
    [
        inputs_of("b", label=0, intervals=()),
        inputs_of("b", consent_publications=False),
        inputs_of("b", split="val"),
        inputs_of("b", participant_id=ParticipantId("bea")),
        replace(inputs_of("b"), source_digest="a new file"),
        replace(
            inputs_of("b"),
            transcript=replace(inputs_of("b").transcript, words=(a_word("No.", 0, 200),)),
        ),
        replace(inputs_of("b"), segments=inputs_of("b").segments[:2]),
        replace(inputs_of("b"), cut_at_bounds=True),
    ],
    ids=["label", "consent", "split", "participant", "file", "words", "segments", "boundaries"],
)
def test_any_change_of_a_video_recomputes_only_that_video(variant, changed):
    run(variant, VIDEOS)
    state, expected = run(variant, VIDEOS | {"b": changed})
    assert (state.data.num_cached, state.data.num_computed) == (2, 1)
    rows = variant.read(SampleRecord, expected)
    assert [row for row in rows if row.video_id == "b"] == list(samples_of(changed, CONFIG))
    assert len(rows) == 6 + len(changed.segments)


@pytest.mark.parametrize("rule", [{"sampling": "natural"}, {"sampling": "balanced"}])
def test_class_plan_is_stored_once_and_recomputed_for_other_samples(variant, rule):
    config = ManifestConfig(**rule)
    samples = [row for each in VIDEOS.values() for row in samples_of(each, config)]

    def plan(rows, config=config):
        shard = Shard(name="class plan", expected=expected_plan(rows, config))
        return class_plan.fn(shard, rows, config, variant).name, shard.expected

    state, expected = plan(samples)
    assert state == "Completed"
    assert tuple(variant.read(ClassPlanRecord, expected)) == plan_classes(samples, config)
    assert plan(samples)[0] == "Cached"
    assert plan([replace(row, transcript="other", overlap_ms=1) for row in samples])[0] == "Cached"
    fewer, other = (
        [replace(samples[0], in_training=False), *samples[1:]],
        ManifestConfig(sampling="natural", class_weights="balanced"),
    )
    assert plan(fewer)[0] == plan(samples, other)[0] == "Completed"
    assert expected_plan([replace(row, in_training=False) for row in samples], config) == {}


def test_settings_and_upstream_determine_the_variant(tmp_path):
    store = Store(str(tmp_path))
    one, other = (open_variant(store, "segment", version=v, settings={}) for v in (1, 2))
    unbalanced = ManifestConfig(sampling="natural")  # changes no sample
    names = {
        variant_of(store, unbalanced, segment=one, transcribe=one).variant_id,
        variant_of(store, CONFIG, segment=one, transcribe=one).variant_id,
        variant_of(store, CONFIG, segment=other, transcribe=one).variant_id,
        variant_of(store, CONFIG, segment=one, transcribe=other).variant_id,
        variant_of(store, ManifestConfig(split_seed=1), segment=one, transcribe=one).variant_id,
        variant_of(store, ManifestConfig(positive_at=0.3), segment=one, transcribe=one).variant_id,
        variant_of(
            store, ManifestConfig(max_words_before=9), segment=one, transcribe=one
        ).variant_id,
    }
    assert len(names) == 6
