"""Protects files from being seen half written, whatever kills the writer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workbench.atomic import remove_stale, write_atomic


def test_writes_and_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.json"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_what_is_no_file_of_its_own_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"precious")
    (tmp_path / "link").symlink_to("other")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, kind in (("link", "a link"), ("pipe", "a device"), ("folder", "a folder")):
        with pytest.raises(OSError, match=kind) as caught:
            write_atomic(tmp_path / name, b"new")
        assert caught.value.filename == str(tmp_path / name)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "other").read_bytes() == b"precious"
    assert {path.name for path in tmp_path.iterdir()} == {"other", "link", "pipe", "folder"}


def test_an_error_before_the_replace_keeps_the_old_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, b"old")

    def broken(source: object, target: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="no space"):
        write_atomic(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_data_are_on_disk_before_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def logged_fsync(handle: int) -> None:
        calls.append("fsync folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "fsync file")
        fsync(handle)

    def logged_replace(source: Path, target: Path) -> None:
        assert Path(source).read_bytes() == b"data"
        calls.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", logged_fsync)
    monkeypatch.setattr(os, "replace", logged_replace)
    write_atomic(tmp_path / "a", b"data")
    if sys.platform == "linux":
        assert calls == ["fsync file", "replace", "fsync folder"]


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_process_killed_between_write_and_replace_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, b"old")
    code = (
        "import os, signal, sys; from pathlib import Path; "
        "from workbench.atomic import write_atomic; "
        "os.replace = lambda *a: os.kill(os.getpid(), signal.SIGKILL); "
        "write_atomic(Path(sys.argv[1]), b'new')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    (left,) = [p for p in tmp_path.iterdir() if p != path]
    assert left.read_bytes() == b"new"

    assert remove_stale(tmp_path) == 0 and left.exists()  # it may be a live writer's
    hours_ago = time.time() - 2 * 3600
    os.utime(left, (hours_ago, hours_ago))
    os.utime(path, (hours_ago, hours_ago))
    assert remove_stale(tmp_path) == 1
    assert not left.exists() and path.exists()
