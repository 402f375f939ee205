"""docs/trust.md names a test for each promise: they exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent
TRUST = TESTS.parent / "docs" / "trust.md"


def test_every_test_that_holds_a_promise_exists() -> None:
    text = TRUST.read_text("utf-8")
    files = {path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py")}
    lost, seen, last = [], 0, ""
    for name, function in re.findall(r"`([\w/…]*?(?:test_\w+\.py)?)(?:::(test_\w+))?`", text):
        if not name.endswith(".py") and not (name == "…" and function):
            continue
        seen += 1
        if name != "…":
            short = name.removeprefix("tests/")
            found = [file for file in files if file == short or file.endswith(f"/{short}")]
            if len(found) != 1:
                lost.append(name)
                continue
            last = found[0]
        if function and f"def {function}(" not in (TESTS / last).read_text("utf-8"):
            lost.append(f"{last}::{function}")
    assert not lost
    assert seen > 30
