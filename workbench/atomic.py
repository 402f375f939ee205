"""Writing a file so that it is there whole or not at all, whatever happens in between."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path

TEMPORARY = ".tmp"
STALE_SECONDS = 3600.0


def write_atomic(path: Path, data: bytes) -> None:
    """Put `data` at `path`: temporary name, flush, fsync, replace, fsync of the folder.

    The folder is made if need be. After a crash at any point `path` holds the old contents or
    the new, never a part. OSError as raised by the system, with the file's name; the temporary
    file is then removed. What is no file of its own (a link, a device, a folder) is left as it is.
    """
    try:
        check_target(path)
        _make_folder(path.parent)
        for last in (False, False, True):
            temporary = path.with_name(
                f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}{TEMPORARY}"
            )
            try:
                _write_through(temporary, data)
                os.replace(temporary, path)
                break
            except FileNotFoundError:
                # Another process whose clock is ahead may have taken our file for a stale one.
                if last or not path.parent.is_dir():
                    raise
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
        sync_folder(path.parent)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def check_target(path: Path) -> None:
    """OSError if there is something at `path` that is no ordinary file and must not be replaced."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISREG(mode):
        return
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link"}
    kind = kinds.get(stat.S_IFMT(mode), "a device")
    raise OSError(errno.EINVAL, f"is {kind}, and only a file is replaced: name a file", str(path))


def _write_through(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def remove_stale(folder: Path, *, older_than: float = STALE_SECONDS) -> int:
    """Remove temporary files left by killed processes; returns how many.

    Only files older than `older_than` seconds: a younger one may be another process at work.
    """
    limit = time.time() - older_than
    count = 0
    for path in folder.rglob(f".*{TEMPORARY}"):
        try:
            if path.stat().st_mtime < limit:
                path.unlink()
                count += 1
        except OSError:  # gone already, or not ours to remove
            continue
    return count


def sync_folder(folder: Path) -> None:
    """Make new names in a folder survive a power cut (POSIX; elsewhere there is no such call)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)
