"""The report is one harmless file that says what the run says.

Protects: the answer stands first and matches the analysis; nothing is loaded from outside and no
prompt becomes markup; figures, tables, settings and hashes are all there; a run that is broken,
half done or tiny still gets a report.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import importlib
import io
import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from run_folders import begin_run

from workbench import analysis
from workbench.formats import plain
from workbench.images import decode_image
from workbench.judging import NOT_VALIDATED, standing
from workbench.report import render_report, tables, write_report
from workbench.report.answers import balance_sentence
from workbench.report.embed import drawing
from workbench.report.ranking import metric_table
from workbench.store import RunFolder
from workbench.study import Study

WriteRun = Callable[..., RunFolder]
Frames = Callable[..., pd.DataFrame]
TAGS = ("a girl", "long hair", "blond hair", "black eyes", "black coat", "winter", "snow")
# Tags of a study hold no comma and no control characters; all else is allowed.
HOSTILE = ("<script>alert(1)</script>", "$\\frac{a$", "=1+1", '" onload="x', "</pre></style><b>")


class Page(HTMLParser):
    """Collects the tags and the text of a page; ``void`` elements are not nested."""

    VOID = frozenset({"meta", "img", "source", "br", "link", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, synthetic_frame: Frames, write_run: WriteRun
) -> RunFolder:
    """A small run: one control type that needs no network, four sources, three lengths."""
    frame = synthetic_frame(controls=("canny",), scales=(0.0, 0.8, 1.6))
    return write_run(tmp_path_factory.mktemp("run") / "r", frame, TAGS, failed={5: "it is black"})


@pytest.fixture(scope="module")
def written(run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(run, tmp_path_factory.mktemp("out") / "deep" / "report.html")


@pytest.fixture(scope="module")
def text(written: Path) -> str:
    return written.read_text("utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_every_finding_is_in_the_report(run: RunFolder, page: Page) -> None:
    found = analysis.findings(run.measurements())
    assert len(found) > 8
    for finding in found:
        words = finding.text.partition(": ")[2]
        assert " ".join(words.split())[1:] in page.text
    assert analysis.CAVEAT in page.text


def test_findings_about_words_say_who_judged_them(text: str, run: RunFolder) -> None:
    sentence = html.escape(standing(run, "paperdoll").sentence, quote=False)
    assert NOT_VALIDATED in sentence
    answers = text[text.index('<section id="answer"') : text.index('<section id="tradeoff"')]
    about_words = [part for part in answers.split("<h3>") if 'class="kind">Words<' in part]
    assert about_words
    assert all(html.unescape(sentence) in html.unescape(part) for part in about_words)
    words = text[text.index('<section id="words"') : text.index('<section id="diversity"')]
    assert html.unescape(sentence) in html.unescape(words)


def test_the_answer_stands_before_plots_tables_and_settings(text: str) -> None:
    order = [text.index(f'<section id="{name}"') for name in (
        "answer", "tradeoff", "pictures", "curves", "lengths", "words", "diversity", "tables",
        "terms", "settings", "versions",
    )]  # fmt: skip
    assert order == sorted(order)
    assert text.index("rises") < text.index("<img")


def test_nothing_is_loaded_from_outside_and_nothing_runs(text: str, page: Page) -> None:
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text
    names = {tag for tag, _ in page.tags}
    assert not names & {"link", "iframe", "object", "embed", "base", "form", "svg"}
    # Two scripts are data. The third is the explorer, which the policy knows by its hash.
    kinds = [attrs.get("type") for attrs in page.all("script")]
    assert kinds == ["application/json", "application/json", "module"]
    own = text.partition('<script type="module">')[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text and "'unsafe-inline'; script" in text
    for tag, attrs in page.tags:
        for key, value in attrs.items():
            assert not key.startswith("on"), (tag, key)
            if key in {"src", "srcset", "poster", "data", "action"}:
                assert value.startswith("data:"), (tag, key, value[:40])
            if key == "href":
                assert value.startswith(("data:", "#")), value[:40]
    # The script makes addresses of what the page holds; the policy keeps it from loading others.
    outside = re.sub(r'"data:[^"]*"', '""', text.replace(own, ""))
    assert not re.search(r"https?:|@import|url\(", outside)


def test_drawings_inside_the_page_refer_to_nothing_outside(page: Page) -> None:
    for attrs in page.all("img"):
        head, _, body = attrs["src"].partition(",")
        assert head == "data:image/webp;base64"
        assert Image.open(io.BytesIO(base64.b64decode(body))).format == "WEBP"


def test_every_section_has_its_figures_with_words_for_the_blind(page: Page) -> None:
    alts = [attrs["alt"] for attrs in page.all("img")]
    starts = (
        "Trade-off plot for Canny", "Contact sheet for Canny", "Curves over the",
        "Heat map of control", "Heat map of prompt", "Heat map of tag", "Tipping scales for",
        "Diversity across",
    )  # fmt: skip
    for start in starts:
        assert sum(alt.startswith(start) for alt in alts) == 1, start
    assert not page.all("source")  # one for every screen: paper is white, too


def test_settings_study_file_versions_and_hashes_are_there(run: RunFolder, page: Page) -> None:
    study = run.study_path.read_text("utf-8")
    assert " ".join(study.split()) in page.text
    manifest = json.loads((run.path / "manifest.json").read_text("utf-8"))
    for text in (manifest["study_hash"], "ab" * 32, "2.13.0", "0.42.0", "0" * 40,
                 *manifest["sources"].values(), "guidance_scale", "unipc"):  # fmt: skip
        assert text in page.text
    for term in ("Adherence", "Chance (control)", "Ceiling (prompt)"):
        assert term in page.text


def test_the_study_in_the_report_runs_again(run: RunFolder, page: Page, tmp_path: Path) -> None:
    (link,) = [a for a in page.all("a") if a.get("download", "").endswith(".yaml")]
    file = tmp_path / "study.yaml"
    file.write_bytes(base64.b64decode(link["href"].partition(",")[2]))
    assert Study.from_yaml(file).hash == run.study().hash


def test_the_csv_holds_the_points_of_the_tradeoff(run: RunFolder, page: Page) -> None:
    (link,) = [a for a in page.all("a") if a.get("download", "").endswith(".csv")]
    assert link["href"].startswith("data:text/csv;base64,")
    text = base64.b64decode(link["href"].partition(",")[2]).decode("utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    points = analysis.tradeoff(run.measurements())
    assert len(rows) == len(points) == 9
    for row, (_, point) in zip(rows, points.iterrows(), strict=True):
        assert float(row["control_adherence"]) == pytest.approx(point["control_adherence"])
        assert float(row["scale"]) == point["scale"]
        if point["length"] == 0:
            assert row["prompt_adherence"] == ""
    assert sum(row["sweet_spot"] == "True" for row in rows) == 2


@pytest.mark.parametrize("text", ["=1+1", "+1", "-2", "@SUM(A1)", "\t=1", "\r=1"])
def test_csv_text_is_no_formula(text: str) -> None:
    frame = pd.DataFrame({"name": [text], "value": [-0.5], "none": [math.nan]})
    rows = list(csv.reader(io.StringIO(tables.summary_csv(frame).decode("utf-8"), newline="")))
    assert rows[1] == ["'" + text, "-0.5", ""]


def test_hostile_prompts_stay_text(
    tmp_path: Path, synthetic_frame: Frames, write_run: WriteRun
) -> None:
    frame = synthetic_frame(HOSTILE, controls=("canny",), lengths=(2, 5), scales=(0.0, 1.0))
    run = write_run(tmp_path / "r", frame, HOSTILE, negative_prompt="<img src=x onerror=y>")
    text = render_report(run)
    page = Page(text)  # fails if a tag of a prompt were markup
    assert len(page.all("script")) == 3 and not page.all("b")
    assert all(not key.startswith("on") for _, attrs in page.tags for key in attrs)
    for tag in HOSTILE:
        assert tag in page.text
        if "<" in tag:
            assert tag not in text and html.escape(tag) in text
    assert "<img src=x" not in text


def test_failed_pictures_and_reasons_are_told(page: Page) -> None:
    assert "1 picture failed and is in no figure." in page.text
    assert "it is black" in page.text
    assert "the prompt is empty" in page.text


def test_the_explorer_of_a_report_says_why_a_picture_is_missing(
    run: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """A failed picture is no damage, so that nothing warns of it."""
    text = render_report(run)
    assert '"it is black"' in text, "in the explorer's data, beside the sentence of the tables"
    assert "is not shown" not in caplog.text


def test_one_source_is_no_finding(
    tmp_path: Path, synthetic_frame: Frames, write_run: WriteRun
) -> None:
    frame = synthetic_frame(sources=1, controls=("canny",), scales=(0.0, 1.0), lengths=(3,))
    text = Page(render_report(write_run(tmp_path / "r", frame, TAGS))).text
    assert "There is one source, so no interval can be given" in text
    assert "nothing here can be generalised" in text
    assert text.count("one source cannot be generalised, so this is not a finding") > 3
    assert re.search(r"0\.\d\d ± 0\.\d\d", text)  # the spread over seeds
    assert "is found in four of five" not in text
    assert "clearly" not in text.partition("Marks:")[0]


def test_a_run_without_measurements_gets_a_report(
    tmp_path: Path, synthetic_frame: Frames, write_run: WriteRun
) -> None:
    study = Study(name="empty", sources=["paperdoll:1"], controls=["canny"], prompt=["a girl"])
    text = Page(render_report(begin_run(tmp_path / "r", study))).text
    assert "Nothing has been measured in this run yet." in text
    assert "The run has no manifest." in text


def test_other_prompt_settings_get_their_table(
    tmp_path: Path, synthetic_frame: Frames, write_run: WriteRun
) -> None:
    frame = synthetic_frame(controls=("canny",), scales=(0.0, 1.0), lengths=(3, 7))
    run = write_run(tmp_path / "r", frame, TAGS, extra_prompts={"conflicting": ["a boy", "a", "b"]})
    table = tables.setting_table(run.measurements(), {"canny": "Canny"}, "clip_used")
    assert {row[:3] for row in table.rows} == {("Canny", "conflicting", "a boy, a, b")}
    assert [row[3] for row in table.rows] == ["0", "1"]
    assert all("[" in cell for row in table.rows for cell in row[4:])


def test_the_file_is_written_whole_and_small(written: Path) -> None:
    data = written.read_bytes()
    assert data.rstrip().endswith(b"</html>")
    assert len(data) < 8 * 2**20
    assert [p.name for p in written.parent.iterdir()] == ["report.html"]


def test_tipping_scales_stand_with_figure_and_table(run: RunFolder, page: Page) -> None:
    found = analysis.tipping_scales(run.measurements())
    assert {"tips", "never"} <= set(found["answer"])
    assert "And at which scale?" in page.text
    for row in found.to_dict("records"):
        words = analysis.tipping_words(row)
        assert f"{row['tag']}{words}" in page.text  # two cells of a line
        assert words.startswith("never") == (row["answer"] == "never")


def test_what_could_have_been_missed_stands_where_no_effect_is_clear_and_nowhere_else(
    run: RunFolder, page: Page
) -> None:
    contrasts = [f for f in analysis.findings(run.measurements()) if math.isfinite(f.mde)]
    assert len({f.direction for f in contrasts}) > 1
    for finding in contrasts:
        said = f"an effect of {plain(finding.mde)} is found in four of five such studies"
        unclear = finding.direction == "no clear effect" and "what decides" not in finding.text
        assert (said in finding.text) == unclear
    assert "Found in 4 of 5" in page.text


def test_one_control_type_has_no_ranking(page: Page) -> None:
    assert "Which control type is obeyed most?" not in page.text
    assert not [a for a in page.all("img") if a["alt"].startswith("Ranking")]


def test_several_control_types_are_ranked(
    tmp_path: Path, synthetic_frame: Frames, write_run: WriteRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.report.content.control_maps", lambda *_: {})  # needs no network
    frame = synthetic_frame(scales=(0.0, 1.0), lengths=(3,), sources=5)
    run = write_run(tmp_path / "r", frame, TAGS)
    page = Page(render_report(run))
    assert "Which control type is obeyed most?" in page.text
    assert [a["alt"] for a in page.all("img") if a["alt"].startswith("Ranking of the control")]
    ranks, pairs = analysis.ranking(run.measurements())
    assert list(ranks["control"]) == ["depth", "canny"]
    assert pairs["better"].tolist() == ["depth"]
    assert "depth is obeyed most, before canny" in page.text
    assert "All control types" in page.text
    assert "1 to 2" not in page.text
    assert "comparable" not in page.text


def test_every_metric_stands_beside_the_ranking(synthetic_frame: Frames) -> None:
    frame = synthetic_frame(scales=(0.0, 0.8, 1.6), lengths=(3,), sources=5)
    canny = frame[frame["metric"] == "canny_f1"]
    further = [
        canny.assign(metric=metric, adherence=canny["adherence"] - 0.1)
        for metric in ("canny_precision", "canny_f1_strict")
    ]
    frame = pd.concat([frame, *further])
    table = metric_table(analysis.by_metric(frame), str.upper)
    assert table.heads == ("Control", "Metric", "In the ranking", "Scale 0.8", "Scale 1.6")
    assert [row[:3] for row in table.rows] == [
        ("DEPTH", "depth_pearson", "stands for the type"),
        ("CANNY", "canny_f1", "stands for the type"),
        ("CANNY", "canny_f1_strict", "must agree"),
        ("CANNY", "canny_precision", "a part only"),
    ]
    strict = analysis.curve(frame, "canny_f1_strict", by=("control", "scale")).iloc[-1]
    assert table.rows[2][4] == tables.adherence_text(strict["mean"], strict["low"], strict["high"])
    many = metric_table(analysis.by_metric(synthetic_frame()), str.upper)
    assert many.heads[3:] == ("Scale 0.4", "Scale 0.8", "Scale 1.2", "Scale 1.6")


def test_lengths_that_differ_are_not_averaged_in_the_first_table(synthetic_frame: Frames) -> None:
    frame = synthetic_frame(controls=("canny",), lengths=(1, 2, 7), sources=6)
    n, prompts = frame["length"], frame["metric"] == "clip_used"
    frame.loc[prompts, "adherence"] += (0.01 * n * frame["scale"])[prompts]

    def shown() -> tuple[list[tuple[str, ...]], list[str]]:
        table = tables.glance_table(frame, {"canny": "Canny edges"}, "clip_used")
        what = "prompt adherence"
        return [row for row in table.rows if what in row], [t for t in table.notes if what in t]

    ((_, _, lengths, *_),), notes = shown()
    assert lengths == "mean over 1, 2 and 7 tags" and not notes
    # The scale costs the prompt of one tag nearly all, those of two and seven nothing.
    cost = 0.15 - 0.6 * (n == 1)
    frame.loc[prompts, "adherence"] += (cost * frame["scale"])[prompts]
    rows, (note,) = shown()
    assert [row[2] for row in rows] == ["1 tag", "2 tags", "7 tags"]
    assert [row[7] for row in rows] == ["falls", *["no clear effect"] * 2]
    alone = analysis.trend(frame[frame["length"] == 1], "clip_used").iloc[0]
    limits = alone["change"], alone["change_low"], alone["change_high"]
    assert rows[0][5] == tables.adherence_text(*limits)
    assert note.startswith("Canny edges, prompt adherence: a line for each prompt length")
    assert note.endswith("they differ: falls with 1 tag, no clear effect with 2 and 7 tags.")
    told = next(f for f in analysis.findings(frame) if f.kind == "prompt")
    assert "That is the mean over prompts of 1, 2 and 7 tags, which differ: falls with" in told.text


def test_chance_and_ceiling_range_over_sources(synthetic_frame: Frames) -> None:
    from workbench.plots.panels import value_panel

    frame = synthetic_frame(controls=("canny",), lengths=(3,))
    offsets = {f"paperdoll:{i}": 0.01 * i for i in range(4)}
    frame["chance"] = frame["chance"] + frame["source"].map(offsets)
    panel = value_panel(frame, "canny_f1")
    assert panel.chance_range == pytest.approx((0.31, 0.34))
    assert panel.ceiling_range == pytest.approx((0.72, 0.72))
    assert panel.chance == pytest.approx(0.325)
    assert value_panel(frame, "clip_source").chance_range is None


def test_intervals_are_written_only_where_there_are_any() -> None:
    assert tables.interval_text(0.5, 0.25, 0.75) == "0.50 [0.25, 0.75]"
    assert tables.interval_text(0.5, math.nan, math.nan) == "0.50"
    assert tables.interval_text(0.5, math.nan, math.nan, spread=0.125) == "0.50 ± 0.12"
    assert tables.interval_text(0.5, 0.25, 0.75, spread=0.125) == "0.50 [0.25, 0.75]"


def test_two_bases_and_a_shorter_prompt_are_answered_type_by_type(
    tmp_path: Path, synthetic_frame: Frames, write_run: WriteRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.report.content.control_maps", lambda *_: {})  # needs no network
    frame = synthetic_frame(scales=(0.0, 1.0), lengths=(3, 7), sources=5)
    across = frame[frame["metric"] == "diversity_structure"].assign(metric="bases_pose")
    run = write_run(tmp_path / "r", pd.concat([frame, across]), TAGS, base=["render", "ink"])
    page = Page(render_report(run))
    drawn = [a["alt"] for a in page.all("img") if a["alt"].startswith("Changes by control type")]
    assert len(drawn) == 1
    table = analysis.effects(run.measurements())
    assert set(table["question"]) == {"seeds", "bases pose", "closeness", "control"}
    for row in table[table["question"] == "bases pose"].to_dict("records"):
        words = f"{row['change']:.2f} [{row['low']:.2f}, {row['high']:.2f}]".replace("-", "−")
        assert words in page.text
    assert "Between base models" in page.text  # what belongs to no single base has its own head
    assert "Depth: pose difference between the base models falls with the scale" in page.text
    assert "Canny: pose difference between the base models falls with the scale" in page.text


def test_a_question_about_prompt_length_speaks_of_tags_whatever_its_name(
    synthetic_frame: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.analysis.effects import Question
    from workbench.plots import panels
    from workbench.report import effects

    asked = Question("looks", "length", "diversity_looks", "diversity of looks")
    module = importlib.import_module("workbench.analysis.effects")  # its name is a function's too
    monkeypatch.setattr(module, "QUESTIONS", (asked,))
    monkeypatch.setattr(analysis, "QUESTIONS", (asked,))
    monkeypatch.setitem(panels.EFFECT_TITLES, "looks", "Looks")
    spans = []
    panel = panels.EffectPanel

    def seen(table: pd.DataFrame, title: str, span: str, relative: bool) -> panels.EffectPanel:
        spans.append(span)
        return panel(table, title, span, relative)

    monkeypatch.setattr(panels, "EffectPanel", seen)
    drawn = effects.draw_effects(synthetic_frame(lengths=(3, 7)), str)
    assert drawn is not None and spans == ["Change from 7 to 3 tags"]
    for row in drawn.table.rows:
        assert "(7 tags)" in row[3] and "(3 tags)" in row[4]


def spot(length: int, scale: float, low: float, high: float) -> dict[str, object]:
    found = {"control": "canny", "length": length, "label": f"{length} tags", "scale": scale}
    return found | {"scale_low": low, "scale_high": high}


def test_the_best_balance_is_told_where_one_scale_is_better_than_others(
    synthetic_frame: Frames,
) -> None:
    frame = synthetic_frame(controls=("canny",), scales=(0.0, 0.8, 1.6))
    spots = pd.DataFrame([spot(3, 0.8, 0.8, 0.8), spot(7, 1.6, 0.8, 1.6)])
    (told,) = balance_sentence(spots, frame, {"canny": "Canny edges"})
    assert told == (
        "Canny edges and prompt are in the best balance at scale 0.8 with 3 tags, "
        "scale 1.6 with 7 tags (0.8 to 1.6 is not clearly worse)."
    )
    any_scale = pd.DataFrame([spot(3, 0.8, 0, 1.6)])
    assert balance_sentence(any_scale, frame, {"canny": "Canny edges"}) == ()
    few = frame[frame["scale"] < 1]  # of two scales one is always the better one
    assert balance_sentence(spots, few, {"canny": "Canny edges"}) == ()


def test_a_line_drawing_keeps_its_colours(tmp_path: Path) -> None:
    figure = Figure((3, 2))
    figure.add_axes((0, 0, 1, 1)).bar(range(4), range(1, 5), color=["#d55e00", "#0072b2"])
    shown = decode_image(base64.b64decode(drawing(figure, "bars").uri.partition(",")[2]))
    for ink in ((0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2)):
        assert (np.abs(shown.astype(int) - ink).max(-1) <= 2).mean() > 0.05
