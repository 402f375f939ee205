"""Disks that are really full or really read-only, with and without the right to mount them."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

NOBODY = 65534


class Disk:
    """A folder on a disk of its own, which can be filled, freed and made read-only.

    `kind` "tmpfs" mounts a small file system; where that is not allowed, and for "limit", the
    system refuses to enlarge files (RLIMIT_FSIZE) and to write (permissions, as a user who is not
    root) instead.
    """

    def __init__(self, kind: str, stack: ExitStack) -> None:
        # Not below pytest's own folders, which nobody but their owner may enter.
        self.folder = Path(tempfile.mkdtemp(prefix="workbench-disk-"))
        stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.chmod(0o755)
        mount = ["mount", "-t", "tmpfs", "-o", "size=6m,mode=755", "tmpfs", str(self.folder)]
        self.mounted = False
        if kind == "tmpfs" and os.geteuid() == 0:
            self.mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        if self.mounted:
            stack.callback(subprocess.run, ["umount", "-l", str(self.folder)], check=True)

    @contextmanager
    def full(self) -> Iterator[None]:
        with ExitStack() as stack:
            self.fill(stack)
            yield

    def fill(self, stack: ExitStack) -> None:
        """Leave no room, until the stack is closed."""
        if not self.mounted:
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
            stack.callback(resource.setrlimit, resource.RLIMIT_FSIZE, (soft, hard))
            return
        ballast = self.folder / "ballast"
        stack.callback(ballast.unlink)
        with ballast.open("wb", buffering=0) as file:
            for size in (65536, 512, 1):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue

    @contextmanager
    def read_only(self) -> Iterator[None]:
        if self.mounted:
            self._remount("ro")
            try:
                yield
            finally:
                self._remount("rw")
        elif os.geteuid() == 0:
            os.seteuid(NOBODY)
            try:
                yield
            finally:
                os.seteuid(0)
        else:
            folders = [self.folder, *(path for path in self.folder.rglob("*") if path.is_dir())]
            for path in folders:
                path.chmod(0o555)
            try:
                yield
            finally:
                for path in folders:
                    path.chmod(0o755)

    def _remount(self, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.folder)], check=True)
