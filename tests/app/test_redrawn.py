"""What is watched while it goes on stands in one place, not in a column of old figures."""

from __future__ import annotations

from typing import Any
from unittest import mock

import workbench as wb
from workbench.plots.style import new_figure


def test_each_figure_replaces_the_one_before() -> None:
    shown: list[Any] = []
    handle = mock.Mock()

    def display(figure: Any, **keywords: Any) -> Any:
        shown.append((figure, keywords))
        return handle

    figures = [new_figure(2, 2, alt=f"step {step}") for step in range(3)]
    with mock.patch("IPython.display.display", display):
        show = wb.redrawn()
        for figure in figures:
            show(figure)
    assert shown == [(figures[0], {"display_id": True})]
    assert [call.args for call in handle.update.call_args_list] == [(f,) for f in figures[1:]]
