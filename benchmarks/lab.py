"""A real JupyterLab on loopback and a real Chromium, for benchmarks and tests of the app.

Everything JupyterLab writes goes to a folder of its own, and it is told not to look for news.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_SECONDS = 90
CHROMIUM = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    }
}
SHUT_DOWN = "async () => { await window.jupyterapp.serviceManager.sessions.shutdownAll(); }"


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: its address and the folder that it shows."""

    url: str
    folder: Path


def find_chromium() -> str | None:
    """The path of Chromium, None if there is none on the PATH."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def running_chromium(path: str | None) -> Iterator[Any]:
    """Chromium, driven by Playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM))
        yield browser
        browser.close()


@contextmanager
def running_lab(
    home: Path, folder: Path, variables: Mapping[str, str] | None = None
) -> Iterator[Lab]:
    """JupyterLab over a folder; what it keeps for itself goes to another one, `home`.

    variables: of its environment, and of its kernels', beside those of this process.
    RuntimeError with its log if it does not answer.
    """
    config = home / "config"
    (config / "labconfig").mkdir(parents=True)
    overrides = config / "labconfig" / "default_setting_overrides.json"
    overrides.write_text(json.dumps(SETTINGS))
    environment = os.environ | {
        "HOME": str(home),
        "JUPYTER_CONFIG_DIR": str(config),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
        **(variables or {}),
    }
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"),
        *(f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token="),
        *("--ServerApp.password=", f"--ServerApp.root_dir={folder}"),
        *("--ServerApp.disable_check_xsrf=True", "--LabApp.expose_app_in_browser=True"),
    ]
    log = home / "lab.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, server, log)
        yield Lab(url, folder)
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(20)


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            raise RuntimeError(f"JupyterLab ended:\n{log.read_text()[-3000:]}")
        try:
            with urllib.request.urlopen(f"{url}/api/status", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not answer:\n{log.read_text()[-3000:]}")


def open_notebook(page: Any, lab: Lab, notebook: dict[str, Any], name: str) -> None:
    """Write a notebook into the folder of JupyterLab, and open it there."""
    (lab.folder / name).write_text(json.dumps(notebook), encoding="utf-8")
    page.goto(f"{lab.url}/lab/tree/{name}?reset", wait_until="domcontentloaded")
    page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.sessionContext")
