"""The documentation builds as it stands: links and names resolve, and a page loads nothing.

Protects the reference from losing what is renamed or moved, and readers without a network.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import griffe
import pytest

ROOT = Path(__file__).parents[2]
LOADED = re.compile(r"""(?:src|href)=["']?(?:https?:)?//[^"' >]+|url\(["']?(?:https?:)?//""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_package_of_the_reference_lists_its_public_names(site: Path) -> None:
    workbench = griffe.load("workbench", search_paths=[ROOT])
    for page in (ROOT / "docs" / "reference").glob("*.md"):
        html = (site / "reference" / f"{page.stem}.html").read_text("utf-8")
        for package in re.findall(r"^::: ([\w.]+)$", page.read_text("utf-8"), re.M):
            short = package.removeprefix("workbench").removeprefix(".")
            module = workbench[short] if short else workbench
            names = [str(name) for name in module.exports or ()]
            names = [name for name in names if not module[name].is_module]
            lost = [name for name in names if f'id="{package}.{name}"' not in html]
            assert names and not lost, f"{page.name} misses {lost}: give them a docstring"


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len(pages) > 20
    found = {
        address
        for page in pages
        for address in LOADED.findall(re.sub(r"<a [^>]*>", "", page.read_text("utf-8")))
    }
    assert not found
