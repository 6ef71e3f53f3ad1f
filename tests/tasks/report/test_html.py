import csv
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from storage.issues import Issue, IssueKind
from storage.media_records import VideoQuality
from storage.records import RejectedRecord
from tasks.evaluation.bootstrap import BootstrapSettings
from tasks.evaluation.evaluation import EvaluationPlan, evaluate
from tasks.evaluation.thresholds import ThresholdPolicy
from tasks.report.html import RunFacts, media_issues, write_report, write_verdicts
from tasks.report.input_quality import input_quality
from tests.builders import media_facts

PLAN = EvaluationPlan(
    pooling_rules=("top_k_mean", "mean", "noisy_or", "any"),
    top_k=2,
    policy=ThresholdPolicy(rule="plateau", score_name="macro_f1", tolerance=0.08),
    bootstrap=BootstrapSettings(draws=20, level=0.95, seed=0),
)
FACTS = RunFacts(
    data_name="toy <world>",
    model_name="toy-model",
    variants={"segment": "0123456789ab"},
    issues=(Issue(IssueKind.VIDEO_MISSING, "a split line without a video"),),
)
SETTINGS = {"top_k": 2, "interval_level": 0.95, "bootstrap_draws": 20, "pooling_rules": ["mean"]}
VOID = {"meta", "br", "link", "img", "input", "hr"}


class WellFormed(HTMLParser):
    """Parses a page and fails on a closing tag without its opening tag."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "data")]
        if tag in ("script", "link", "iframe"):
            self.loads.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page_of(world, rejected: tuple[RejectedRecord, ...] = (), facts: RunFacts = FACTS) -> str:
    evaluation = evaluate(*world.write(), world.videos, PLAN)
    path = world.folder / "report.html"
    write_report(path, evaluation, world.videos, rejected, facts, SETTINGS)
    return path.read_text(encoding="utf-8")


def read(page: str) -> WellFormed:
    parser = WellFormed()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", " ".join(read(page).text))


def test_notices_come_before_the_metrics(split_world) -> None:
    notice = "Lengths leak the <label>."
    page = text_of(page_of(split_world, facts=replace(FACTS, notices=(notice,))))
    assert page.index(notice) < page.index("bootstrap interval")


def test_poor_input_is_summarized_and_a_page_without_any_has_no_such_section(split_world) -> None:
    assert "Input quality" not in text_of(page_of(split_world))
    black = VideoQuality(black_fraction=0.5, frozen_fraction=0.5)
    media = [media_facts("a <b>.mp4", video_quality=black, antiphase=True), media_facts("c.mp4")]
    page = text_of(page_of(split_world, facts=replace(FACTS, quality=input_quality(media))))
    assert "1 of 2 decoded videos has a problem with its video or audio" in page
    assert "black video 1 a tenth of the video or more is black" in page
    assert "a <b>.mp4 the two audio channels cancel each other; the video is black for 50%" in page


def test_the_page_is_well_formed_and_loads_no_external_resource(split_world) -> None:
    page = page_of(split_world)
    assert read(page).loads == []
    assert not re.search(r"https?://|@import|url\(", page)


def test_the_page_contains_no_transcript(split_world) -> None:
    transcripts = {row.transcript for row in split_world.samples}
    page = page_of(split_world)
    assert transcripts
    assert not any(text in page for text in transcripts)


def test_the_page_shows_the_run_and_its_results(split_world) -> None:
    text = text_of(page_of(split_world))
    for expected in ("toy <world>", "toy-model", "0123456789ab", "36 with a verdict, 0 without",
                 "macro F1, test", "question only", "majority class", "duration only",
                 "labeled validation videos", "a split line without a video"):  # fmt: skip
        assert expected in text


def test_rejections_and_videos_without_verdict_are_shown_with_reasons(split_world) -> None:
    split_world.add("gone.mp4", [])
    split_world.add("holed.mp4", [0.5, None])
    rejected = (RejectedRecord(item_id="gone.mp4", stage="segment", reason="no <video> in it"),)
    text = text_of(page_of(split_world, rejected))
    assert "37 with a verdict, 1 without" in text
    assert "segment: no <video> in it" in text
    assert "1 of 2 segments without a prediction" in text


def test_names_are_escaped(world) -> None:
    world.add("<i>a</i>/<img src=x>.mp4", [0.5], participant="<b>7</b>")
    page = page_of(world)
    assert read(page).loads == []
    assert not re.search("<i>|<b>7|<img", page)


def test_videos_without_consent_to_publication_are_counted(split_world) -> None:
    assert "did not consent to use in publications" not in page_of(split_world)
    first, *others = split_world.videos
    split_world.videos = [replace(first, consent_publications=False), *others]
    text = text_of(page_of(split_world))
    assert "1 of these videos are of participants who did not consent" in text
    assert (
        "(purpose: internal) and includes all videos. Consent to publication is unknown for 35"
        in text
    )


def test_without_labels_the_page_has_a_note_and_no_metrics(world) -> None:
    world.add("a.mp4", [0.9], split=None)
    text = text_of(page_of(world))
    assert "macro F1 no labels" in text
    assert "Without labels there are no metrics" in text
    assert "bootstrap interval" not in text


def test_an_empty_result_is_still_a_page(world) -> None:
    world.add("a.mp4", [], split=None)
    assert "no video has a verdict" in text_of(page_of(world))


def test_the_csv_file_contains_only_the_chosen_rules_verdicts(split_world, tmp_path: Path) -> None:
    split_world.add("gone, with comma.mp4", [], split=None)
    evaluation = evaluate(*split_world.write(), split_world.videos, PLAN)
    write_verdicts(tmp_path / "verdicts.csv", evaluation.verdicts)
    with (tmp_path / "verdicts.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["video_id"]: row for row in csv.DictReader(stream)}
    chosen = {row.video_id: row for row in evaluation.verdicts if row.chosen}
    assert rows.keys() == chosen.keys()
    gone = rows["gone, with comma.mp4"]
    unknown = ("split", "p_ah", "verdict", "label", "consent_publications", "consent_challenges")
    assert {gone[name] for name in unknown} == {""}
    assert {row["purpose"] for row in rows.values()} == {"internal"}
    row = rows["test/video 01.mp4"]
    assert float(row["p_ah"]) == pytest.approx(chosen["test/video 01.mp4"].p_ah)
    assert (row["split"], row["label"]) == ("test", "1")


def test_the_csv_file_has_the_consent_of_every_verdict(world, tmp_path: Path) -> None:
    world.add("seen.mp4", [0.9], split="test")
    world.add("unseen.mp4", [], split="test")
    consent = {"consent_publications": False, "consent_challenges": True}
    world.videos = [replace(video, **consent) for video in world.videos]
    world.samples = [replace(row, **consent) for row in world.samples]
    write_verdicts(tmp_path / "verdicts.csv", evaluate(*world.write(), world.videos, PLAN).verdicts)
    with (tmp_path / "verdicts.csv").open(encoding="utf-8", newline="") as stream:
        rows = [
            (row["video_id"], row["consent_publications"], row["consent_challenges"])
            for row in csv.DictReader(stream)
        ]
    assert rows == [("seen.mp4", "no", "yes"), ("unseen.mp4", "no", "yes")]


def test_issues_that_stages_found_in_videos_are_counted_and_listed(split_world) -> None:
    media = [
        media_facts(name, warnings=warnings)
        for name, warnings in (("a.mp4", ("late <audio>", "gap")), ("A.mp4", ("gap",)), ("b", ()))
    ]  # fmt: skip
    assert "Issues of videos" not in page_of(split_world)
    text = text_of(page_of(split_world, facts=replace(FACTS, stage_issues=media_issues(media))))
    assert "Issues of videos 3 in 2 videos, which were used nevertheless" in text
    assert "a.mp4 segment late <audio> media" in text


def test_issues_of_the_data_set_are_listed_with_their_kind(split_world) -> None:
    path_rejected = Issue(IssueKind.PATH_REJECTED, "left out: '../x'")
    listed_twice = Issue(IssueKind.LISTED_WITH_TWO_LABELS, "<two> labels")
    first, second, *others = split_world.videos
    split_world.videos = [
        replace(first, issues=(listed_twice,)), replace(second, issues=(path_rejected,)), *others,
    ]  # fmt: skip
    page = page_of(split_world)
    text = text_of(page)
    assert "a split line without a video video missing" in text
    kind = IssueKind.PATH_REJECTED.replace("_", " ")
    listed = (f"{second.video_id} : left out: '../x' {kind}",
            f"{first.video_id} : <two> labels listed with two labels")  # fmt: skip
    assert 0 < text.index(listed[0]) < text.index(listed[1])
    assert page.count(f'title="{IssueKind.LISTED_WITH_TWO_LABELS.meaning}"') == 1
