"""A slider in JupyterLab: it has a name, the keyboard moves it, and the picture follows.

Protects readers without a mouse from JupyterLab's shortcuts, which take the arrow keys.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nbformat
import pytest

pytestmark = pytest.mark.browser

CODE = """
from matplotlib.figure import Figure
from workbench.app import slider

def shown(size_of_it, kind):
    figure = Figure(figsize=(1, 1))
    figure.alt = f"{kind} at {size_of_it}"
    return figure

slider(shown, precompute=False, size_of_it=[0, 0.003, 2], kind=["a", "b"])
"""


def test_the_arrow_keys_move_it_and_the_picture_follows(
    run_notebook: Callable[..., Any],
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell(CODE)]
    page = run_notebook(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}))
    page.wait_for_selector(".wb-slider img[alt='a at 0']")
    size = page.get_by_role("slider", name="size of it")
    size.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".wb-slider img[alt='a at 0.003']")
    assert size.get_attribute("aria-valuetext") == "0.003"
    page.get_by_role("slider", name="kind").press("ArrowRight")
    page.wait_for_selector(".wb-slider img[alt='b at 0.003']")
    found = Axe().run(page, context=".wb-slider").response["violations"]
    assert not [one["id"] for one in found if one["impact"] in ("serious", "critical")]
