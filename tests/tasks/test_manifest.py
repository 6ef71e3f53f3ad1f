from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from storage.errors import LeakageError
from storage.records import (
    ClassPlanRecord,
    Interval,
    IssueRecord,
    ParticipantId,
    SampleRecord,
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


def inputs_of(video_id: str = "v", **facts) -> VideoInputs:
    """Three segments of 4 s, a few words and pauses, and what the data set says."""
    given_facts = {
        "participant_id": ParticipantId("ann"),
        "split": "train",
        "question": 4,
        "label": 1,
        "intervals": (Interval(start_ms=3_000, end_ms=7_000),),
        "consent_publications": True,
        "consent_challenges": False,
    }
    return VideoInputs(
        video=a_video(video_id, **(given_facts | facts)),
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


def test_every_segment_is_a_row_with_its_words_label_and_rights():
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


def test_segments_of_audio_alone_are_labelled_like_others_and_are_other_content():
    whole = inputs_of()
    heard = [replace(s, video_path=None, video_digest=None) for s in whole.segments]
    rows = list(samples_of(replace(whole, segments=tuple(heard)), CONFIG))
    assert [(row.video_path, row.label) for row in rows] == [(None, 0), (None, 1), (None, 0)]
    for row, other in zip(rows, samples_of(whole, CONFIG), strict=True):
        assert row.media_digest != other.media_digest
        assert row.content_digest != other.content_digest


def test_segments_given_in_any_order_are_laid_in_time():
    turned = inputs_of()
    turned = replace(turned, segments=tuple(reversed(turned.segments)))
    assert list(samples_of(turned, CONFIG)) == list(samples_of(inputs_of(), CONFIG))


def test_how_much_overlap_makes_a_label_is_a_setting():
    for rule in ({"positive_at": 0.25}, {"overlap_unit": "ms", "positive_at": 1_000}):
        labels = [row.label for row in samples_of(inputs_of(), ManifestConfig(**rule))]
        assert labels == [1, 1, 0]


def test_an_ignore_band_keeps_rows_from_training_and_changes_nothing_else():
    plain = list(samples_of(inputs_of(), CONFIG))
    banded = list(samples_of(inputs_of(), ManifestConfig(negative_below=0.25)))
    assert [row.in_training for row in banded] == [False, True, True]
    assert [replace(row, in_training=True) for row in banded] == plain


@pytest.mark.parametrize("split", ["val", "test", None])
def test_only_rows_of_train_are_in_training(split):
    rows = list(samples_of(inputs_of(split=split, label=None), CONFIG))
    assert [row.in_training for row in rows] == [False] * 3


def test_calm_parts_between_annotated_bounds_do_not_train_and_calm_videos_do():
    positive, calm = inputs_of("p"), inputs_of("c", label=0, intervals=())
    for inputs, trained in ((positive, [False, True, False]), (calm, [True] * 3)):
        rows = samples_of(replace(inputs, cut_at_bounds=True), CONFIG)
        assert [row.in_training for row in rows] == trained


def test_a_video_positive_at_unknown_times_trains_by_weak_labels_or_not_at_all():
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
        ({"label": 1, "intervals": ()}, [1, 1, 1]),  # weak: nobody said where
        ({"label": None, "intervals": ()}, [None, None, None]),
        ({"intervals": (Interval(start_ms=11_000, end_ms=99_000),)}, [0, 0, 0]),
        ({"intervals": (Interval(start_ms=9_000, end_ms=99_000),)}, [0, 0, 1]),
        ({"intervals": (Interval(start_ms=12_000, end_ms=12_400),)}, [None, None, None]),
        ({"label": 0}, [None, None, None]),  # the intervals contradict it
    ],
)
def test_labels_follow_the_annotation(facts, labels):
    assert [row.label for row in samples_of(inputs_of(**facts), CONFIG)] == labels


def test_what_did_not_fit_is_a_row_of_its_own(variant):
    late = inputs_of("late", intervals=(Interval(start_ms=12_000, end_ms=12_400),))
    torn = inputs_of("torn", label=0)
    _, expected = run(variant, {"late": late, "torn": torn, "fine": inputs_of("fine")})
    message = [(row.video_id, row.kind, row.issue) for row in variant.read(IssueRecord, expected)]
    assert message == [
        ("late", "interval_after_end", "interval at 12000 ms lies after the video's end: dropped"),
        ("late", "no_interval_within",
         "every A/H interval starts after the video's end: its segments stay unlabeled"),
        ("torn", "negative_with_intervals",
         "labeled as without A/H, but A/H intervals are annotated: its segments stay unlabeled"),
    ]  # fmt: skip
    labels = {row.video_id: row.video_label for row in variant.read(SampleRecord, expected)}
    assert labels == {"late": 1, "torn": 0, "fine": 1}


def test_an_unlabelled_video_keeps_the_data_sets_own_side():
    rows = samples_of(inputs_of(label=None, intervals=(), split="test"), CONFIG)
    assert {row.split for row in rows} == {"test"}


def test_an_unlabelled_participant_on_two_sides_is_seen_by_the_gate():
    facts = {"label": None, "intervals": ()}
    sides = (inputs_of("a", split="train", **facts), inputs_of("b", split="test", **facts))
    with pytest.raises(LeakageError):
        check_no_leakage([row for each in sides for row in samples_of(each, CONFIG)], [])


def test_what_a_model_sees_decides_the_content_digest_and_nothing_else_does():
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


def test_the_media_digest_knows_video_and_audio_and_no_words():
    def digests(inputs: VideoInputs) -> list[str]:
        return [row.media_digest for row in samples_of(inputs, CONFIG)]

    plain = inputs_of()
    assert len(set(digests(plain))) == 3
    silent = replace(plain, transcript=replace(plain.transcript, words=(), pauses=()))
    assert digests(silent) == digests(plain)
    for changed in ({"audio_digest": "other"}, {"video_digest": "other"}):
        segments = (plain.segments[0], replace(plain.segments[1], **changed), plain.segments[2])
        pairs = zip(digests(replace(plain, segments=segments)), digests(plain), strict=True)
        assert [a == b for a, b in pairs] == [True, False, True]


word_times = st.lists(st.integers(0, 13_000), min_size=2, max_size=40).map(sorted)


@given(word_times)
def test_no_word_is_lost_or_said_twice(bounds):
    words = tuple(a_word(f"w{n}", *bounds[n : n + 2]) for n in range(len(bounds) - 1))
    plain = inputs_of()
    transcript = replace(plain.transcript, words=words, pauses=())
    rows = list(samples_of(replace(plain, transcript=transcript), CONFIG))
    message = " ".join(row.transcript for row in rows if row.transcript).split()
    assert message == [word.text for word in words]
    assert sum(row.num_words for row in rows) == len(words)


@given(word_times, st.integers(0, 9))
def test_the_words_before_are_the_last_of_what_earlier_segments_say(bounds, most):
    words = tuple(a_word(f"w{n}", *bounds[n : n + 2]) for n in range(len(bounds) - 1))
    plain = inputs_of()
    inputs = replace(plain, transcript=replace(plain.transcript, words=words, pauses=()))
    message: list[str] = []
    for row in samples_of(inputs, ManifestConfig(max_words_before=most)):
        assert row.transcript_before.split() == message[len(message) - min(most, len(message)) :]
        message += row.transcript.split()


def test_what_is_said_later_is_never_among_the_words_before():
    rows = list(samples_of(inputs_of(), CONFIG))
    assert [row.transcript_before for row in rows] == ["", "I", "I might, um"]


@given(st.lists(st.tuples(st.integers(0, 12_000), st.integers(0, 12_000)), max_size=6))
def test_overlaps_of_all_rows_sum_to_the_annotated_time(pairs):
    intervals = tuple(Interval(start_ms=min(pair), end_ms=max(pair)) for pair in pairs)
    rows = samples_of(inputs_of(intervals=intervals), CONFIG)
    annotated = {ms for i in intervals for ms in range(i.start_ms, i.end_ms)}
    assert sum(row.overlap_ms for row in rows) == len(annotated)


@pytest.mark.parametrize(
    "settings",
    [
        {"split_fractions": (0.5, 0.5, 0.5)},
        {"positive_at": 1.01},
        {"min_overlap_share": 0.5},
        {"max_words_before": -1},
    ],
)
def test_settings_that_mean_nothing_are_refused(settings):
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


def test_the_stage_writes_every_videos_rows_and_a_second_run_none(variant):
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
def test_whatever_is_said_anew_of_a_video_makes_just_that_video_again(variant, changed):
    run(variant, VIDEOS)
    state, expected = run(variant, VIDEOS | {"b": changed})
    assert (state.data.num_cached, state.data.num_computed) == (2, 1)
    rows = variant.read(SampleRecord, expected)
    assert [row for row in rows if row.video_id == "b"] == list(samples_of(changed, CONFIG))
    assert len(rows) == 6 + len(changed.segments)


@pytest.mark.parametrize("rule", [{"sampling": "natural"}, {"sampling": "balanced"}])
def test_what_each_class_counts_is_written_down_once_and_anew_for_other_samples(variant, rule):
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


def test_settings_and_upstream_decide_the_variant(tmp_path):
    store = Store(str(tmp_path))
    one, other = (open_variant(store, "segment", version=v, settings={}) for v in (1, 2))
    unbalanced = ManifestConfig(sampling="natural")  # no sample depends on it
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
