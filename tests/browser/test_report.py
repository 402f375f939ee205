"""The report in a real Chromium: whatever a prompt says, the page runs and loads nothing.

Protects readers of reports that somebody else made, and prompts of any length and content.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from run_folders import begin_run, keep_table

from workbench.report import write_report
from workbench.store import RunFolder
from workbench.store.schema import Manifest
from workbench.study import Study
from workbench.study.plan import make_plan

pytestmark = pytest.mark.browser

MARK = "window.executed = (window.executed || 0) + 1"
HOSTILE = (
    f"<script>{MARK}</script>",
    f"<img src=x onerror='{MARK}'>",
    f'" autofocus onfocus="{MARK}" x="',
    f"</style></pre></title><svg onload='{MARK}'>",
    f"javascript:{MARK}",
    "<iframe src=//example.invalid/frame></iframe>",
    "$\\frac{a$",
    "=HYPERLINK(1)",
    "{{ 7 * 7 }}",
    "\u202ebackwards\u202c 𝕒🙂",
)
LONG = tuple(f"a very long tag with <i>markup</i> number {i:03d}" for i in range(230))
"""More than 10,000 characters in all."""
STUDIES = {"hostile": (HOSTILE, (2, 10)), "long": (LONG, (230,))}


def hostile_run(folder: Path, tags: tuple[str, ...], lengths: tuple[int, ...]) -> RunFolder:
    """A run of single-coloured pictures whose every text is hostile, reasons included."""
    import numpy as np

    study = Study(
        name="hostile",
        sources=["paperdoll:1", "paperdoll:2"],
        controls=["canny"],
        prompt=list(tags),
        lengths=lengths,
        scales=[0.0, 1.0],
        negative_prompt=HOSTILE[1],
    )
    plan = make_plan(study, resolution=32)
    run = begin_run(folder, study)
    run.write_sources(plan.sources)
    for number, trial in enumerate(plan.trials):
        cells = plan.cells_by_trial[trial.id]
        metrics = ("canny_f1", "clip_used", *(f"tag:{tag}" for tag in tags[: lengths[0]]))
        rows = [
            {"cell": cell.id, "metric": metric, "value": 0.2 + 0.1 * number, "chance": 0.1,
             "ceiling": 0.9, "adherence": 0.1 * number, "reason": HOSTILE[0]}
            for cell in cells
            for metric in metrics
        ]  # fmt: skip
        picture = np.full((32, 32, 3), 20 * number, np.uint8)
        picture[:16] = 255
        made_by = {"tokens": 9, "truncated": False, "seconds": 0.1, "device": HOSTILE[0]}
        failed = HOSTILE[0] if number == 1 else ""
        run.write_trial(
            trial, None if failed else picture, made_by, rows, cells=cells, failed=failed
        )
    run.write_manifest(Manifest(versions={HOSTILE[0]: HOSTILE[1]}, models={HOSTILE[3]: HOSTILE[1]}))
    keep_table(run, [cell.id for cell in plan.cells])
    return run


@pytest.mark.parametrize("name", STUDIES)
def test_nothing_in_a_report_runs(name: str, page: Any, tmp_path: Path) -> None:
    tags, lengths = STUDIES[name]
    report = write_report(hostile_run(tmp_path / "run", tags, lengths), tmp_path / "report.html")
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
    assert page.locator("script, iframe, svg, body i").count() == 0
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
