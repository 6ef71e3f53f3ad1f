import csv
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from storage.issues import Issue, IssueKind
from storage.records import RejectedRecord
from tasks.evaluation.bootstrap import BootstrapSettings
from tasks.evaluation.evaluation import EvaluationPlan, evaluate
from tasks.evaluation.thresholds import ThresholdPolicy
from tasks.report.html import RunFacts, media_issues, write_report, write_verdicts
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
    """Reads a page, refusing a tag that closes another than the open one."""

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


def test_notices_stand_before_the_figures(split_world) -> None:
    notice = "Lengths leak the <label>."
    page = text_of(page_of(split_world, facts=replace(FACTS, notices=(notice,))))
    assert page.index(notice) < page.index("How good the verdicts are")


def test_the_page_is_whole_and_asks_nothing_of_the_network(split_world) -> None:
    page = page_of(split_world)
    assert read(page).loads == []
    assert not re.search(r"https?://|@import|url\(", page)


def test_the_page_holds_no_word_that_was_said(split_world) -> None:
    words = {row.transcript for row in split_world.samples}
    page = page_of(split_world)
    assert words
    assert not any(word in page for word in words)


def test_what_was_run_and_what_came_of_it_is_told(split_world) -> None:
    text = text_of(page_of(split_world))
    for message in ("toy <world>", "toy-model", "0123456789ab", "36 with a verdict, 0 without",
                 "macro F1, test", "question only", "majority of train", "duration only",
                 "labelled validation videos", "a split line without a video"):  # fmt: skip
        assert message in text


def test_rejections_and_videos_without_verdict_are_shown_with_their_reason(split_world) -> None:
    split_world.add("gone.mp4", [])
    split_world.add("holed.mp4", [0.5, None])
    rejected = (RejectedRecord(item_id="gone.mp4", stage="segment", reason="no <video> in it"),)
    text = text_of(page_of(split_world, rejected))
    assert "37 with a verdict, 1 without" in text
    assert "segment: no <video> in it" in text
    assert "1 of 2 segments without a prediction" in text


def test_names_from_outside_cannot_become_markup(world) -> None:
    world.add("<i>a</i>/<img src=x>.mp4", [0.5], participant="<b>7</b>")
    page = page_of(world)
    assert read(page).loads == []
    assert not re.search("<i>|<b>7|<img", page)


def test_videos_that_may_not_be_published_are_pointed_out(split_world) -> None:
    assert "refused use in publications" not in page_of(split_world)
    first, *others = split_world.videos
    split_world.videos = [replace(first, consent_publications=False), *others]
    text = text_of(page_of(split_world))
    assert "1 of these videos are of participants who refused" in text
    assert "purpose: internal) and leaves no video out. Whether 35 of its videos may be" in text


def test_without_labels_the_page_says_so_and_shows_no_figure(world) -> None:
    world.add("a.mp4", [0.9], split=None)
    text = text_of(page_of(world))
    assert "no labels to measure against" in text
    assert "There are no labels here" in text
    assert "How good the verdicts are" not in text


def test_an_empty_result_is_still_a_page(world) -> None:
    world.add("a.mp4", [], split=None)
    assert "no video has a verdict" in text_of(page_of(world))


def test_the_csv_file_holds_the_chosen_rules_verdicts_alone(split_world, tmp_path: Path) -> None:
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


def test_the_csv_file_tells_the_consent_of_every_verdict(world, tmp_path: Path) -> None:
    world.add("seen.mp4", [0.9], split="test")
    world.add("unseen.mp4", [], split="test")
    answers = {"consent_publications": False, "consent_challenges": True}
    world.videos = [replace(video, **answers) for video in world.videos]
    world.samples = [replace(row, **answers) for row in world.samples]
    write_verdicts(tmp_path / "verdicts.csv", evaluate(*world.write(), world.videos, PLAN).verdicts)
    with (tmp_path / "verdicts.csv").open(encoding="utf-8", newline="") as stream:
        message = [
            (row["video_id"], row["consent_publications"], row["consent_challenges"])
            for row in csv.DictReader(stream)
        ]
    assert message == [("seen.mp4", "no", "yes"), ("unseen.mp4", "no", "yes")]


def test_what_stages_noticed_of_videos_is_counted_and_listed(split_world) -> None:
    media = [
        media_facts(name, warnings=warnings)
        for name, warnings in (("a.mp4", ("late <sound>", "gap")), ("A.mp4", ("gap",)), ("b", ()))
    ]  # fmt: skip
    assert "Noticed in videos" not in page_of(split_world)
    text = text_of(page_of(split_world, facts=replace(FACTS, stage_issues=media_issues(media))))
    assert "Noticed in videos 3 remarks on 2 videos, all of them used" in text
    assert "a.mp4 segment late <sound> media" in text


def test_what_is_wrong_with_the_data_set_is_told_with_its_kind(split_world) -> None:
    refused = Issue(IssueKind.PATH_REJECTED, "left out: '../x'")
    listed_twice = Issue(IssueKind.LISTED_WITH_TWO_LABELS, "<two> labels")
    first, second, *others = split_world.videos
    split_world.videos = [
        replace(first, issues=(listed_twice,)), replace(second, issues=(refused,)), *others,
    ]  # fmt: skip
    page = page_of(split_world)
    text = text_of(page)
    assert "a split line without a video video missing" in text
    message = (f"{second.video_id} : left out: '../x' path refused",
            f"{first.video_id} : <two> labels listed with two labels")  # fmt: skip
    assert 0 < text.index(message[0]) < text.index(message[1])
    assert page.count(f'title="{IssueKind.LISTED_WITH_TWO_LABELS.meaning}"') == 1
