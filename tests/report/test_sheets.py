"""Protects contact sheets against studies of very many scales."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd

from workbench.report.sheets import MAX_SCALES, shown_scales


def test_a_sheet_shows_all_scales_as_long_as_they_can_be_seen() -> None:
    assert shown_scales(pd.Series([0.8, 0.0, 0.8, 1.6])) == [0.0, 0.8, 1.6]


def test_of_very_many_scales_a_sheet_shows_some_evenly_chosen() -> None:
    shown = shown_scales(pd.Series([n / 100 for n in range(401)]))
    assert len(shown) == MAX_SCALES
    assert (shown[0], shown[-1]) == (0.0, 4.0)
    steps = {round(b - a, 2) for a, b in pairwise(shown)}
    assert steps <= {0.26, 0.27}
