"""The Python in README and guides runs as it stands, in the order in which a page shows it.

A small study stands in for the demo, so that a page takes seconds. Protects readers from an
interface that the texts no longer fit.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import workbench as wb

pytestmark = [pytest.mark.models, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "docs/index.md", "docs/python.md", "docs/guides/first-study.md"]
PAGES += ["docs/guides/own-pictures.md", "docs/guides/influence.md"]
STUDY = """
name: demo
sources: ["paperdoll:900001", "paperdoll:900004"]
controls: [depth]
prompt: a girl, long hair, snow
lengths: [1, 3]
scales: [0, 1]
steps: 2
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like the checkout, with a small demo study that has been run."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "data" / "studies").mkdir(parents=True)
    (folder / "data" / "studies" / "demo.yaml").write_text(STUDY, "utf-8")
    (folder / "data" / "sources").symlink_to(ROOT / "data" / "sources")
    wb.run(folder / "data" / "studies" / "demo.yaml", folder / "runs" / "demo")
    return folder


@pytest.fixture
def there(place: Path) -> Iterator[Path]:
    before = Path.cwd()
    os.chdir(place)
    yield place
    os.chdir(before)


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(page: str, there: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.M | re.S)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)


def test_the_page_explains_every_column(there: Path) -> None:
    text = (ROOT / "docs" / "python.md").read_text("utf-8").split("## The table")[1]
    rows = re.findall(r"^\| (`.*?) \|", text.split("\n## ")[0], re.M)
    told = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(told) == sorted(wb.open_run("runs/demo").table.columns)
