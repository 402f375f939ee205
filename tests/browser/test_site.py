"""The documentation opened from the disk in a real Chromium.

Protects readers without a network or a server: search finds, and nothing is asked of elsewhere.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]


def test_search_works_without_a_server(page: Any, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "index.html").as_uri(), wait_until="load")
    page.fill(".md-search__input", "make_plan")
    page.wait_for_selector(".md-search-result__item")
    page.click(".md-search-result__item a")
    page.wait_for_url("**/reference/study.html*")
    assert page.locator('[id="workbench.study.make_plan"]').is_visible()
    assert [url for url in asked if not url.startswith("file:")] == []
