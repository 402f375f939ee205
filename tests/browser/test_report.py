"""The report in a real Chromium: whatever a prompt says, the page runs and loads nothing.

Protects readers of reports that somebody else made, and prompts of any length and content.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hostile_run import HOSTILE, STUDIES, hostile_run

from workbench.report import write_report

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("name", STUDIES)
def test_nothing_in_a_report_runs(name: str, page: Any, tmp_path: Path) -> None:
    tags, _ = STUDIES[name]
    report = write_report(hostile_run(tmp_path / "run", name), tmp_path / "report.html")
    asked: list[str] = []
    dialogs: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(report.as_uri(), wait_until="load")
    for details in page.locator("details").all():
        details.evaluate("element => { element.open = true; }")
    page.wait_for_timeout(300)
    assert page.evaluate("() => window.executed") is None
    assert dialogs == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert page.locator("script").count() == 3 and page.locator("iframe").count() == 0
    inside = page.locator(".wbx-report").count()
    assert page.locator("svg:not(.wbx svg), body i:not(.wbx i)").count() == 0 and inside == 1
    shown = page.evaluate("() => document.body.textContent")
    assert all(" ".join(tag.split()) in " ".join(shown.split()) for tag in tags)
    wide = page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0, "a long prompt must not push the page out of the window"


def test_the_check_would_see_a_script(page: Any, tmp_path: Path) -> None:
    """The same look at a page that does run what it is told."""
    (tmp_path / "page.html").write_text(f"<body>{HOSTILE[0]}{HOSTILE[1]}")
    page.goto((tmp_path / "page.html").as_uri(), wait_until="load")
    page.wait_for_timeout(300)
    assert page.evaluate("() => window.executed") == 2


def test_on_paper_it_is_light_and_whole_but_for_what_was_not_asked(
    page: Any, tmp_path: Path
) -> None:
    """Printed from a dark browser: A4, findings unfolded, settings and hashes only where opened."""
    report = write_report(hostile_run(tmp_path / "run", "long"), tmp_path / "report.html")
    page.emulate_media(media="print", color_scheme="dark")
    page.goto(report.as_uri(), wait_until="load")
    ink = "getComputedStyle(document.body).color.match(/[0-9]+/g).map(Number)"
    assert max(page.evaluate(ink)) < 60
    assert page.locator(".wbx-report").is_hidden() and page.locator("#settings").is_hidden()
    height = "document.querySelector('.findings table').getBoundingClientRect().height"
    assert page.evaluate(height) > 40
    page.locator("#settings details").evaluate("element => { element.open = true; }")
    assert page.locator("#settings pre").is_visible()
    sheet = page.pdf(prefer_css_page_size=True)
    assert b"/MediaBox [0 0 594" in sheet and b"/MediaBox [0 0 612" not in sheet
