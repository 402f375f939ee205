"""Protects terminals: what comes from files is shown, and never obeyed."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest
from command_line import run_command

from workbench.cli.common import PrintableFormatter
from workbench.formats import printable
from workbench.live import progress_bar
from workbench.store import RunFolder
from workbench.sweep import Progress
from workbench.verify import Group, Item, Verification
from workbench.verify.result import as_text

RED, TITLE, C1, TURN = "\x1b[31m", "\x1b]0;owned\x07", "\x9b2J", "\u202e"


def test_what_steers_a_terminal_is_shown_as_its_escape() -> None:
    assert printable(f"a {RED}b") == r"a \x1b[31mb"
    assert printable(f"{TITLE}{C1}{TURN}") == r"\x1b]0;owned\x07\x9b2J\u202e"
    plain = "×–‖ ü 白裙，\u00a0微风\n\tend"
    assert printable(plain) == plain


def test_escapes_in_a_study_reach_no_terminal(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f'name: "x"\nsources: ["{TITLE.encode("unicode_escape").decode()}"]\n')
    done = run_command("run", path)
    assert done.code == 2
    assert "\x1b" not in done.err + done.out and "\x07" not in done.err + done.out


def test_escapes_in_warnings_and_in_a_verification_are_shown() -> None:
    record = logging.LogRecord("x", logging.WARNING, "", 0, "trial %s", (RED,), None)
    assert PrintableFormatter().format(record) == r"trial \x1b[31m"
    item = Item(RED, "different", detail=TITLE)
    text = as_text(Verification("run", "now", "", (Group("sources", "sources", (item,)),)))
    assert "\x1b" not in text and r"\x1b[31m" in text and r"\x1b]0;owned\x07" in text


def test_brackets_in_a_name_are_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", stream := io.StringIO())
    with progress_bar(f"[bold]mine[/bold] :smile: {RED}") as show:
        show(Progress(1, 2, None, "generating"))
    assert r"[bold]mine[/bold] :smile: \x1b[31m: generating" in stream.getvalue()


def test_a_run_with_odd_names_opens(tmp_path: Path) -> None:
    done = run_command("verify", tmp_path / f"{RED}run")
    assert done.code == 2 and "\x1b" not in done.err and r"\x1b[31mrun" in done.err
    assert not RunFolder(tmp_path / "x").path.exists()
