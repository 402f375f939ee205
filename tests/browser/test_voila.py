"""The app as a class opens it: Voila in a real Chromium, and one model behind it.

Protects visitors, who have no notebook to look into when something fails.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from tiny_app import make_engine

from workbench.classroom.live import live_class
from workbench.store import RunFolder

pytestmark = pytest.mark.browser

CELL = """
from tiny_app import FAMILY
from workbench.classroom.visitor import visit

visit(FAMILY, STUDY)
"""
STATUS = ".wb-status"


def wait_for_text(page: Any, selector: str, text: str) -> None:
    """Wait until an element's text contains `text`."""
    page.wait_for_function(
        "([s, t]) => document.querySelector(s)?.innerText.includes(t)", arg=[selector, text]
    )


def test_a_visitor_makes_a_picture_and_stops_a_sweep(
    page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    engine = make_engine(tmp_path / "engine", pause=0.1)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "helpers"), prepend=":")
    for name in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    page.set_default_timeout(300_000)
    told: list[str] = []
    page.on("pageerror", lambda error: told.append(str(error.stack)))
    cell = CELL.replace("STUDY", repr(str(engine.study_path)))
    runs = tmp_path / "runs"
    with live_class(engine, runs, port=port, address="127.0.0.1", cell=cell) as opened:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert opened.voila.poll() is None, "Voila ended"
            page.wait_for_timeout(100)
        page.goto(f"http://127.0.0.1:{port}/?name=Anna", wait_until="commit")
        page.wait_for_function("() => document.querySelector('.wb-map-image img')?.naturalWidth")
        page.locator(".wb-seed input").fill("7")
        page.locator(".wb-seed input").press("Enter")
        page.locator("button.wb-make").click()
        wait_for_text(page, STATUS, "Done.")
        page.wait_for_selector(".wbx-row button img:not(.wbx-none)")
        found = Axe().run(page).response["violations"]
        grave = [one for one in found if one["impact"] in ("serious", "critical")]
        assert not grave, [(one["id"], one["nodes"][0]["html"][:200]) for one in grave]

        page.locator(".wb-setup").get_by_role("tab", name="Sweep").click()
        page.locator(".wb-sweep-seed input").fill("1, 2, 3, 4, 5, 6")
        page.locator(".wb-sweep-seed input").press("Tab")
        page.locator("button.wb-sweep").click()
        wait_for_text(page, ".wb-progress", "generating: 2 of 30")
        page.locator("button.wb-stop").click()
        wait_for_text(page, STATUS, "Stopped. What is made is kept")
    made = RunFolder.open(runs / "anna" / "workbench-1").trial_ids()
    assert 2 <= len(made) < 30 and told == []
