"""Serving pages to a class: a few known files of one folder, read only."""

from __future__ import annotations

import socket
from collections.abc import Collection
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from workbench.classroom.pages import INDEX, ClassroomError

IDLE_SECONDS = 30


class _Handler(SimpleHTTPRequestHandler):
    """GET and HEAD of the named files. Connections stay open: a browser asks more than once."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS

    def __init__(self, *args: Any, names: Collection[str], **options: Any) -> None:
        self._names = names
        super().__init__(*args, **options)

    def send_head(self) -> Any:
        """Answer with the head of a file, or with 404 for all that is not one of the class."""
        asked = self.path.partition("?")[0].partition("#")[0].lstrip("/")
        name = unquote(asked) or INDEX
        if name not in self._names:
            self.send_error(404, "There is no such page here")
            return None
        self.path = f"/{quote(name)}"
        return super().send_head()

    def end_headers(self) -> None:
        """A page that was built anew is seen at once."""
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """Thirty browsers would fill the terminal."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # a class that opens its browsers at once
    daemon_threads = True


def page_server(
    folder: Path, names: Collection[str], port: int = 0, address: str = ""
) -> ThreadingHTTPServer:
    """A server of the named files of a folder, and of nothing else; `serve_forever` runs it.

    Args:
        port: 0 takes a free one, which is then `server_port`.
        address: of this machine; all of its addresses if empty.

    ClassroomError if the port cannot be had.
    """
    handler = partial(_Handler, directory=str(folder), names=frozenset(names))
    try:
        return _Server((address, port), handler)
    except (OSError, OverflowError) as error:
        raise ClassroomError(f"Port {port} cannot be had ({error}): take another one.") from None


def lan_address() -> str:
    """The address of this machine in its network, or 127.0.0.1 if it is in none. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # of a network for documentation, which is nowhere
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
