"""A model hub on this machine: the published lists of files, with tiny networks behind the names.

It answers what huggingface_hub asks (https://huggingface.co/docs/hub/api): the list of a
repository, whether it may be read, and its files.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hub_files import Published

MAIN = "main"


class FakeHub:
    """Serves repositories, by name.

    published_sizes: whether lists tell the published sizes, or those of what is served.
    gated: repositories that nobody may read. damaged: files ("owner/name/file") that arrive with
    other bytes than the list says, cut: those whose connection breaks off.
    """

    def __init__(self, repos: dict[str, Published], content: Callable[[str, str], bytes]) -> None:
        self.repos, self._content = dict(repos), content
        self.published_sizes = False
        self.gated: set[str] = set()
        self.damaged: set[str] = set()
        self.cut: set[str] = set()
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.answer(self, body=True)

            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def log_message(self, format: str, *args: object) -> None:
                return None

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def content(self, repo: str, name: str) -> bytes:
        """The bytes of a file."""
        return self._content(repo, name)

    @property
    def weights_asked(self) -> list[str]:
        """The weight files that were sent, as "owner/name/file"."""
        ends = (".safetensors", ".bin", ".pth", ".pt", ".onnx")
        return [one for one in self.asked if one.endswith(ends)]

    def answer(self, request: BaseHTTPRequestHandler, *, body: bool) -> None:
        """One request."""
        parts = [unquote(part) for part in urlsplit(request.path).path.strip("/").split("/")]
        if parts[:2] == ["api", "models"]:
            repo, rest = "/".join(parts[2:4]), parts[4:]
        else:
            repo, rest = "/".join(parts[:2]), parts[2:]
        known = self.repos.get(repo)
        if known is None:
            return refuse(request, 404, "RepoNotFound")
        if rest[:1] == ["auth-check"]:
            return refuse(request, 403, "GatedRepo") if repo in self.gated else send(request, b"{}")
        revision = rest[1] if len(rest) > 1 else MAIN
        if revision not in {MAIN, known.commit}:
            return refuse(request, 404, "RevisionNotFound")
        if rest[:1] != ["resolve"]:
            return send(request, json.dumps(self._info(repo, known)).encode())
        if repo in self.gated:
            return refuse(request, 403, "GatedRepo")
        return self._file(request, repo, "/".join(rest[2:]), body=body)

    def _info(self, repo: str, known: Published) -> dict[str, object]:
        siblings = []
        for name, size in known.files.items():
            found = self.content(repo, name)
            digest = digest_of(found, large=is_large(name))
            one: dict[str, object] = {"rfilename": name, "blobId": digest[:40]}
            one["size"] = (size or 1000) if self.published_sizes else len(found)
            if is_large(name):
                one["lfs"] = {"sha256": digest, "size": one["size"], "pointerSize": 130}
            siblings.append(one)
        gated = "manual" if repo in self.gated else False
        return {"id": repo, "sha": known.commit, "gated": gated, "siblings": siblings}

    def _file(self, request: BaseHTTPRequestHandler, repo: str, name: str, *, body: bool) -> None:
        known = self.repos[repo]
        if name not in known.files:
            return refuse(request, 404, "EntryNotFound")
        found = self.content(repo, name)
        tag = digest_of(found, large=is_large(name))
        headers = {"ETag": f'"{tag}"', "X-Repo-Commit": known.commit}
        key = f"{repo}/{name}"
        if body:
            self.asked.append(key)
        if key in self.damaged:
            found = bytes(len(found))
        if body and key in self.cut:
            request.send_response(200)
            for field, value in headers.items():
                request.send_header(field, value)
            request.send_header("Content-Length", str(len(found)))
            request.end_headers()
            request.wfile.write(found[: len(found) // 2])
            request.wfile.flush()
            request.close_connection = True
            request.connection.shutdown(2)
            return None
        return send(request, found, headers, body=body)


def small_hub(repos: Mapping[str, Mapping[str, bytes]], commit: str) -> FakeHub:
    """A hub with these files of each repository, all at one commit."""
    lists = {
        repo: Published(commit, {name: len(data) for name, data in files.items()}, "", ())
        for repo, files in repos.items()
    }
    return FakeHub(lists, lambda repo, name: repos[repo][name])


def files_in(folder: Path) -> dict[str, bytes]:
    """The files below a folder."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def is_large(name: str) -> bool:
    """Whether a file is kept outside of git, which then knows its SHA-256."""
    return not name.endswith((".json", ".txt", ".md", ".yaml", ".gitattributes"))


@cache
def digest_of(data: bytes, *, large: bool) -> str:
    """SHA-256 of a large file, of others the hash by which git knows them."""
    if large:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def send(
    request: BaseHTTPRequestHandler,
    data: bytes,
    headers: dict[str, str] | None = None,
    *,
    body: bool = True,
) -> None:
    """An answer that is fine."""
    request.send_response(200)
    for field, value in (headers or {}).items():
        request.send_header(field, value)
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    if body:
        request.wfile.write(data)


def refuse(request: BaseHTTPRequestHandler, status: int, code: str) -> None:
    """An error in the hub's own words."""
    request.send_response(status)
    request.send_header("X-Error-Code", code)
    request.send_header("X-Error-Message", f"this is a {code}")
    request.send_header("Content-Length", "0")
    request.end_headers()


@contextmanager
def serving(hub: FakeHub, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """The hub as the one that huggingface_hub asks, with an empty cache of its own below `home`."""
    from huggingface_hub import constants

    for name in ("WORKBENCH_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("WORKBENCH_MODELS", str(home / "models"))
    (home / "models").mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    thread = threading.Thread(target=hub.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()
        thread.join()
