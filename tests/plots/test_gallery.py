"""A gallery shows every picture in its own place, whatever its proportions."""

from __future__ import annotations

import numpy as np
import pytest

from workbench import plots


def flat(height: int, width: int, value: int) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_every_picture_stands_in_its_row_and_column() -> None:
    rows = [("a", [flat(8, 8, 10), None]), ("$b_{", [flat(4, 8, 30), flat(4, 8, 40)])]
    figure = plots.gallery_figure(rows, ["one", "two"])
    boxes = {int(axes.images[0].get_array()[0, 0, 0]): axes.get_position() for axes in figure.axes}
    assert sorted(boxes) == [10, 30, 40]
    assert boxes[10].y0 > boxes[30].y1 - 1e-9  # the first row is above the second
    assert boxes[30].x1 < boxes[40].x0 and boxes[30].y0 == boxes[40].y0
    assert boxes[10].height > 1.5 * boxes[30].height
    assert [text.get_text() for text in figure.texts] == ["one", "two", "a", "$b_{"]
    assert plots.to_png(figure, dpi=40)


def test_rows_that_do_not_fit_are_refused_and_none_is_said() -> None:
    with pytest.raises(ValueError, match="row a: 1 pictures for 2 columns"):
        plots.gallery_figure([("a", [None])], ["one", "two"])
    assert any("no picture" in t.get_text() for t in plots.gallery_figure([], []).axes[0].texts)


def test_a_sheet_has_room_for_larger_pictures_and_long_names() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    row = plots.SheetRow("Semantic segmentation", "3 tags", picture, picture, [picture, picture])
    small, large = (plots.contact_sheet_figure([row], [0, 1], cell=cell) for cell in (1.0, 2.2))
    grown = large.get_size_inches() - small.get_size_inches()
    assert np.allclose(grown, [4 * 1.2, 1.2])
    assert "Semantic\nsegmentation" in [text.get_text() for text in large.axes[0].texts]
