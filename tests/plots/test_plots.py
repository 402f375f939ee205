"""The figures show the data they were given, are labelled, and cannot be broken by a prompt.

Artists are read back from the figures, so a curve that was dropped or a star in the wrong place
fails here. Pixels are checked only where nothing else can tell (a drawn figure, a picture's place).
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from PIL import Image

from workbench import analysis, plots
from workbench.formats import number
from workbench.plots import DARK, LIGHT, Panel, SheetRow, Theme
from workbench.plots.labels import MOST_LABELS, PointLabel, place_labels
from workbench.plots.style import clean_text, new_figure, series_style

PRIMARY = {"depth": "depth_pearson", "canny": "canny_f1"}
HOSTILE = (
    "$\\frac{a$",
    "<script>alert(1)</script>",
    "a_b^c {\\bf x} %",
    "_under",
    "日本 ☃ \u202e\x07x",
)

Frames = Callable[..., pd.DataFrame]


def points_of(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    points = analysis.tradeoff(frame, control_metrics=PRIMARY)
    return points, analysis.sweet_spot(frame, control_metrics=PRIMARY)


def curve_of(frame: pd.DataFrame, metric: str, control: str, column: str) -> pd.DataFrame:
    table = analysis.curve(frame, metric, column=column)
    return table[table["control"] == control]


def all_figures(frame: pd.DataFrame, theme: Theme = LIGHT) -> dict[str, Figure]:
    """Every plot of the depth control, once."""
    points, spots = points_of(frame)
    value = curve_of(frame, "depth_pearson", "depth", "value")
    tags, slopes = analysis.per_tag(frame), analysis.tag_slopes(frame)
    looks = curve_of(frame, "diversity_looks", "depth", "value")
    structure = curve_of(frame, "diversity_structure", "depth", "value")
    references = analysis.tag_references(frame)
    return {
        "tradeoff": plots.tradeoff_figure(points, spots, theme=theme),
        "curves": plots.curves_figure(
            [Panel(value, "Pearson r of depth", "", True, 0.12, 0.97, "Depth")], theme=theme
        ),
        "lengths": plots.length_heatmap(Panel(value, "Pearson r", "", True, 0.3, 0.9), theme=theme),
        "tags": plots.tag_heatmap(
            tags[tags["control"] == "depth"],
            slopes[slopes["control"] == "depth"],
            references[references["control"] == "depth"],
            theme=theme,
        ),
        "diversity": plots.curves_figure(
            [Panel(looks, "Looks", include=0), Panel(structure, "Structure", include=0)],
            theme=theme,
        ),
    }


def data_axes(figure: Figure) -> list[Axes]:
    return [a for a in figure.axes if a.get_visible() and a.get_label() != "<colorbar>"]


def texts_in(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text"))]


def line(axes: Axes, gid: str) -> np.ndarray:
    """The data of the one line that carries this group id."""
    (found,) = [item for item in axes.lines if item.get_gid() == gid]
    return np.column_stack([np.asarray(found.get_xdata()), np.asarray(found.get_ydata())])


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_every_figure_is_drawn_with_labelled_axes(demo_frame: pd.DataFrame, theme: Theme) -> None:
    for name, figure in all_figures(demo_frame, theme).items():
        for axes in data_axes(figure):
            assert axes.get_xlabel() and axes.get_ylabel(), name
        png = Image.open(io.BytesIO(plots.to_png(figure, dpi=50)))
        assert len(png.convert("RGB").getcolors(maxcolors=1 << 20) or []) > 20, name
        assert plots.to_svg(figure).lstrip().startswith(b"<?xml"), name


def test_axes_of_metrics_say_which_way_is_better(demo_frame: pd.DataFrame) -> None:
    figures = all_figures(demo_frame)
    tradeoff, _ = data_axes(figures["tradeoff"])
    assert "higher is better →" in tradeoff.get_xlabel()
    assert "higher is better ↑" in tradeoff.get_ylabel()
    assert "higher is better ↑" in data_axes(figures["curves"])[0].get_ylabel()
    table = curve_of(demo_frame, "depth_pearson", "depth", "value")
    rmse = plots.curves_figure([Panel(table, "RMSE", "grey levels", False)])
    assert data_axes(rmse)[0].get_ylabel() == "RMSE [grey levels]\n(lower is better ↓)"


def test_tradeoff_draws_every_point_along_the_scale(demo_frame: pd.DataFrame) -> None:
    points, spots = points_of(demo_frame)
    figure = plots.tradeoff_figure(points, spots)
    panels = dict(zip(("canny", "depth"), data_axes(figure), strict=True))
    assert [axes.get_title(loc="left") for axes in panels.values()] == ["canny", "depth"]
    for control, axes in panels.items():
        assert not [item for item in axes.lines if item.get_gid() == "length-0"]  # no prompt
        for length in (3, 7):
            rows = points[(points["control"] == control) & (points["length"] == length)]
            rows = rows.sort_values("scale")
            expected = rows[["control_adherence", "prompt_adherence"]].to_numpy(dtype=float)
            np.testing.assert_allclose(line(axes, f"length-{length}"), expected)
            assert len(expected) == 5
        words = [t.get_text() for t in axes.texts if isinstance(t, Annotation)]
        for scale in ("0", "0.4", "0.8", "1.2", "1.6"):
            assert words.count(scale) == 2, (control, scale)


def test_tradeoff_marks_sweet_spots_and_the_front(demo_frame: pd.DataFrame) -> None:
    points, spots = points_of(demo_frame)
    for control in ("depth", "canny"):
        figure = plots.tradeoff_figure(points[points["control"] == control], spots)
        (axes,) = data_axes(figure)
        for _, spot in spots[spots["control"] == control].iterrows():
            row = points[
                (points["control"] == control)
                & (points["length"] == spot["length"])
                & (points["scale"] == spot["scale"])
            ].iloc[0]
            star = line(axes, f"sweet-spot-{spot['length']}")
            np.testing.assert_allclose(star, [[row["control_adherence"], row["prompt_adherence"]]])
        front = points[(points["control"] == control) & points["pareto"]]
        assert len(line(axes, "pareto")) == len(front) > 0
        assert {line(axes, "chance-x")[0][0], line(axes, "ceiling-x")[0][0]} == {0.0, 1.0}
        assert {line(axes, "chance-y")[0][1], line(axes, "ceiling-y")[0][1]} == {0.0, 1.0}


def test_tradeoff_crosses_are_the_intervals(demo_frame: pd.DataFrame) -> None:
    points, _ = points_of(demo_frame)
    points = points[(points["control"] == "depth") & (points["length"] == 3)]
    (axes,) = data_axes(plots.tradeoff_figure(points))
    segments = [seg for bars in axes.collections for seg in getattr(bars, "get_segments", list)()]
    wide = sorted((a[0], b[0]) for a, b in segments if a[1] == b[1])
    tall = sorted((a[1], b[1]) for a, b in segments if a[0] == b[0])
    np.testing.assert_allclose(
        wide, sorted(points[["control_low", "control_high"]].to_numpy().tolist())
    )
    np.testing.assert_allclose(
        tall, sorted(points[["prompt_low", "prompt_high"]].to_numpy().tolist())
    )


def test_no_label_of_a_crowded_tradeoff_covers_another(synthetic_frame: Frames) -> None:
    scales = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.6, 2.0)
    frame = synthetic_frame(lengths=(1, 2, 3, 5, 7), scales=scales, controls=("canny",))
    points, spots = points_of(frame)
    figure = plots.tradeoff_figure(points, spots)
    (axes,) = data_axes(figure)
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    notes = [t for t in axes.texts if t.get_text() in {number(s) for s in scales}]
    assert len(notes) >= 40  # of 45
    for a, b in combinations([Text.get_window_extent(note, renderer) for note in notes], 2):
        shared = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(shared) <= 0


def test_labels_without_room_are_left_out_and_the_important_ones_stay() -> None:
    figure = new_figure(2, 2, alt="words")
    axes = figure.add_subplot()
    labels = [PointLabel(0.5, 0.5, f"word {i}", "k", rank=0 if i == 7 else 1) for i in range(50)]
    kept = [note.get_text() for note in place_labels(axes, labels, fontsize=10)]
    assert "word 7" in kept
    assert 1 < len(kept) < 50


def test_of_thousands_of_labels_some_are_tried_and_the_important_ones_are_among_them() -> None:
    figure = new_figure(4, 4, alt="labels")
    axes = figure.add_subplot()
    axes.set(xlim=(0, 3000), ylim=(-1, 2))
    labels = [
        PointLabel(x, 0.5, f"{x}", "black", rank=int(x not in (1500, 2999))) for x in range(3000)
    ]
    kept = [note.get_text() for note in place_labels(axes, labels, fontsize=8)]
    assert {"1500", "2999"} <= set(kept)
    assert 2 < len(kept) <= MOST_LABELS


def test_curves_show_means_intervals_and_reference_lines(demo_frame: pd.DataFrame) -> None:
    table = curve_of(demo_frame, "depth_pearson", "depth", "value")
    figure = plots.curves_figure([Panel(table, "Pearson r", "", True, 0.12, 0.97)])
    (axes,) = data_axes(figure)
    for length in (0, 3, 7):
        rows = table[table["length"] == length].sort_values("scale")
        np.testing.assert_allclose(line(axes, f"length-{length}"), rows[["scale", "mean"]])
    assert len(axes.collections) == 3
    band = axes.collections[0].get_paths()[0].vertices
    rows = table[table["length"] == 0]
    assert math.isclose(band[:, 1].min(), rows["low"].min())
    assert math.isclose(band[:, 1].max(), rows["high"].max())
    assert line(axes, "chance")[0][1] == 0.12
    assert line(axes, "ceiling")[0][1] == 0.97
    low, high = axes.get_ylim()
    assert low < 0.12 and high > 0.97


def test_one_source_gives_curves_without_bands(synthetic_frame: Frames) -> None:
    frame = synthetic_frame(sources=1)
    for name, figure in all_figures(frame).items():
        assert plots.to_png(figure, dpi=40), name


def test_curves_differ_in_colour_marker_and_line() -> None:
    for theme in (LIGHT, DARK):
        styles = [series_style(i, theme) for i in range(6)]
        for kind in ("colour", "marker", "line"):
            assert len({str(getattr(style, kind)) for style in styles}) == 6
        # Beyond seven the colours come again, with another marker: nine control types differ.
        assert (
            len({(s.colour, s.marker) for s in (series_style(i, theme) for i in range(20))}) == 20
        )


def test_length_heatmap_cells_are_the_means(demo_frame: pd.DataFrame) -> None:
    table = curve_of(demo_frame, "depth_pearson", "depth", "value")
    gap = table.copy()
    gap.loc[(gap["length"] == 3) & (gap["scale"] == 0.8), "mean"] = math.nan
    (axes,) = data_axes(plots.length_heatmap(Panel(gap, "Pearson r")))
    shown = np.ma.asarray(axes.images[0].get_array())
    assert shown.shape == (3, 5)
    expected = table[table["length"] == 7].sort_values("scale")["mean"]
    np.testing.assert_allclose(shown[0], expected)
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "7 tags", "3 tags", "no prompt",
    ]  # fmt: skip
    assert shown.mask[1, 2] and shown.mask.sum() == 1
    assert [text.get_text() for text in axes.texts].count("–") == 1


def test_tag_heatmap_puts_the_most_overridden_tag_first(demo_frame: pd.DataFrame) -> None:
    tags, slopes = analysis.per_tag(demo_frame), analysis.tag_slopes(demo_frame)
    tags, slopes = tags[tags["control"] == "depth"], slopes[slopes["control"] == "depth"]
    (axes,) = data_axes(plots.tag_heatmap(tags, slopes))
    names = [label.get_text().strip() for label in axes.get_yticklabels()]
    assert names[:2] == ["long hair ▼", "a girl ▼"]
    change = np.ma.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(change[:, 0], 0)
    hair = tags[tags["tag"] == "long hair"].sort_values("scale")["mean"].to_numpy()
    np.testing.assert_allclose(change[0], hair - hair[0])
    low, high = axes.images[0].get_clim()
    assert low == -high  # no change is the middle of the colours
    by_change = data_axes(plots.tag_heatmap(tags))[0].get_yticklabels()
    assert by_change[0].get_text().strip() == "long hair"


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_prompts_are_drawn_as_they_are(synthetic_frame: Frames, theme: Theme) -> None:
    frame = synthetic_frame(HOSTILE, lengths=(2, 5))
    figures = all_figures(frame, theme)
    with warnings.catch_warnings(action="ignore"):  # glyphs the font lacks
        for figure in figures.values():
            plots.to_png(figure, dpi=40)
            assert b"<script" not in plots.to_svg(figure)
    words = " ".join(texts_in(figures["tags"]))
    for tag in (*HOSTILE[:4], "日本 ☃ x"):
        assert tag in words


def test_text_is_one_clean_line() -> None:
    assert clean_text("a\nb\t\x00c \u202e d") == "a b c d"
    assert clean_text("x" * 300, 10) == "x" * 9 + "…"


def test_contact_sheet_puts_each_picture_in_its_place() -> None:
    def flat(level: int) -> np.ndarray:
        return np.full((8, 8, 3), level, np.uint8)

    source, drawn = flat(10), flat(20)
    rows = [
        SheetRow("s1", "no prompt", source, drawn, [flat(30), flat(40)]),
        SheetRow("s1", "3 tags", source, drawn, [flat(50), None]),
        SheetRow("s2", "$x$ <b>", None, drawn, [flat(60), flat(70)]),
    ]
    figure = plots.contact_sheet_figure(rows, [0.0, 0.5], title="Depth")
    (axes,) = figure.axes
    where = {int(np.asarray(i.get_array())[0, 0, 0]): i.get_extent() for i in axes.images}
    assert sorted(where) == [10, 20, 30, 40, 50, 60, 70]
    assert len(axes.images) == 8  # the map once for each source, the source once
    left = {level: round(extent[0], 3) for level, extent in where.items()}
    top = {level: round(extent[3], 3) for level, extent in where.items()}
    assert left[10] < left[30] < left[40]
    assert left[30] == left[50] == left[60] and left[40] == left[70]
    assert top[10] == top[30] == top[40] < top[50] < top[60] == top[70]
    words = [text.get_text() for text in axes.texts]
    assert {"source", "control map", "0", "0.5", "s1", "3 tags", "$x$ <b>"} <= set(words)
    assert words.count("s1") == 1
    assert plots.to_png(figure, dpi=40)


def test_contact_sheet_without_maps_has_no_column_for_them() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    figure = plots.contact_sheet_figure([SheetRow("s", "", None, None, [picture])], [1.0])
    words = [text.get_text() for text in figure.axes[0].texts]
    assert "source" not in words and "control map" not in words
    with pytest.raises(ValueError, match="2 samples for 1 scales"):
        plots.contact_sheet_figure([SheetRow("s", "", None, None, [picture] * 2)], [1.0])


def test_empty_tables_give_a_figure_that_says_so(demo_frame: pd.DataFrame) -> None:
    points, _ = points_of(demo_frame)
    table = curve_of(demo_frame, "depth_pearson", "depth", "value")
    figures = [
        plots.tradeoff_figure(points.iloc[:0]),
        plots.curves_figure([Panel(table.iloc[:0], "x")]),
        plots.length_heatmap(Panel(table.iloc[:0], "x")),
        plots.tag_heatmap(analysis.per_tag(demo_frame).iloc[:0]),
        plots.contact_sheet_figure([], [1.0]),
    ]
    for figure in figures:
        plots.to_png(figure, dpi=40)
        assert any(" " in text.strip() for text in texts_in(figure))
