"""Protects reports: one that was edited, or tells of another state of its run, is not verified."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import run_command

from workbench.report import render_report, write_report
from workbench.store import RunFolder, StoreError
from workbench.verify import Verification, write_state
from workbench.verify.stored import check_report, run_digest

Verify = Callable[..., Verification]
AGAIN = "write it again with: workbench report"


@pytest.fixture
def page(run: RunFolder) -> Path:
    """The report of the run, in its folder."""
    return write_report(run, run.path / "report.html")


def check(run: RunFolder, file: Path | None = None) -> tuple[str, str]:
    """Outcome and detail."""
    (group,) = check_report(run, run_digest(run), file)
    (item,) = group.items
    return item.outcome, item.detail


def test_a_report_as_it_was_written_is_identical(
    run: RunFolder, page: Path, verify: Verify
) -> None:
    """Also after the verification is kept, which the next report quotes."""
    result = verify(run)
    group = result.group("report")
    assert group is not None and group.outcome == result.outcome == "identical"
    write_state(run, result)
    assert check(run) == ("identical", "")
    assert write_report(run, page).read_text("utf-8") == render_report(run)
    assert check(run) == ("identical", "")


def test_an_edited_report_is_found(run: RunFolder, page: Path, verify: Verify) -> None:
    text = page.read_text("utf-8")
    page.write_text(text.replace("Control adherence", "Control adherences", 1) + " ", "utf-8")
    result = verify(run)
    group = result.group("report")
    assert group is not None and result.exit_code == 1
    (item,) = group.items
    assert item.outcome == "different" and "edited after it was written" in item.detail
    assert f"{AGAIN} {run.path}" in item.detail


def test_a_report_of_another_state_of_the_run_is_not_vouched_for(
    run: RunFolder, page: Path
) -> None:
    path = run.trial_folder(run.trial_ids()[0]) / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8"))), "utf-8")
    outcome, detail = check(run)
    assert outcome == "not checked" and "the run is not as it was" in detail and AGAIN in detail


@pytest.mark.parametrize("name", ["workbench-run", "workbench-page"])
def test_a_report_that_says_nothing_of_itself_is_not_vouched_for(
    run: RunFolder, page: Path, name: str
) -> None:
    """As those of older versions are."""
    text = re.sub(rf'<meta name="{name}"[^>]*>\n', "", page.read_text("utf-8"))
    page.write_text(text, "utf-8")
    outcome, detail = check(run)
    assert outcome == "not checked" and AGAIN in detail


def test_a_run_without_report_has_none_to_check(run: RunFolder, verify: Verify) -> None:
    assert verify(run).group("report") is None


def test_a_report_elsewhere_is_checked_on_request(run: RunFolder, tmp_path: Path) -> None:
    away = write_report(run, tmp_path / "away" / "it.html")
    assert check(run, away) == ("identical", "")
    away.write_bytes(away.read_bytes() + b"<p>")
    assert check(run, away)[0] == "different"
    with pytest.raises(StoreError, match="there is no report"):
        check(run, tmp_path / "none.html")


def test_the_command_takes_a_report(run: RunFolder, tmp_path: Path) -> None:
    done = run_command("verify", run.path, "--trials", 0, "--report", tmp_path / "none.html")
    assert done.code == 2 and "there is no report" in done.err
