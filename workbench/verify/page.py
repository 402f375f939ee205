"""The report of a run: of which state of the run it tells, and whether it is as it was written."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from workbench.store import RunFolder, StoreError
from workbench.verify.result import DIFFERENT, IDENTICAL, UNCHECKED, Group, Item

FILE = "report.html"
NAME, WHAT = "report", "report"
_SEAL = '<meta name="workbench-page" content="{}">'
_PAGE = re.compile(rb'<meta name="workbench-page" content="([0-9a-f]{64})">')
_RUN = re.compile(rb'<meta name="workbench-run" content="([0-9a-f]{64})">')


def seal(page: str) -> str:
    """Put a page's SHA-256 into it: that of the page whose place for it is still blank."""
    digest = hashlib.sha256(page.encode("utf-8")).hexdigest()
    return page.replace(_SEAL.format(""), _SEAL.format(digest), 1)


def check_report(run: RunFolder, digest: str, path: str | Path | None = None) -> list[Group]:
    """The report in the run folder, or another file, against its own hash and the run's.

    Args:
        digest: of the run as it is (`run_digest`).
        path: a report elsewhere; StoreError if it cannot be read. Without it there is nothing to
            check, and no group, in a run without a report.
    """
    file = run.path / FILE if path is None else Path(path).resolve()
    try:
        data = (run if path is None else RunFolder(file.parent)).contents(file)
    except StoreError as error:
        if path is not None:
            raise
        return [Group(NAME, WHAT, (Item(FILE, UNCHECKED, detail=str(error)),))]
    if data is not None:
        return [Group(NAME, WHAT, (_check(data, file.name, digest, run),))]
    if path is None:
        return []
    raise StoreError(f"there is no report {file}")


def _check(data: bytes, name: str, digest: str, run: RunFolder) -> Item:
    again = f"write it again with: workbench report {run.path}"
    page, state = _PAGE.search(data), _RUN.search(data)
    if page is None or state is None:
        detail = f"it does not say of which state of the run it tells; {again}"
        return Item(name, UNCHECKED, detail=detail)
    blank = data[: page.start(1)] + data[page.end(1) :]
    if hashlib.sha256(blank).hexdigest().encode() != page[1]:
        return Item(name, DIFFERENT, detail=f"it was edited after it was written; {again}")
    if state[1].decode() != digest:
        detail = f"the run is not as it was when the report was written; {again}"
        return Item(name, UNCHECKED, detail=detail)
    return Item(name, IDENTICAL)
