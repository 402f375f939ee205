"""What a class costs: pages for thirty browsers, and the app for thirty visitors.

    python benchmarks/classroom.py SITE [--clients 30]     SITE: built by `workbench classroom`
    python benchmarks/classroom.py --live [--visitors 1 10 30] [--pages 3]

The first serves SITE and fetches all its pages at once from each client, and looks into its index
and a run in a real Chromium, where there is one. The second starts the model server, lets visitors
ask for a picture each at the same moment, and measures real Voila kernels. Memory is proportional
set size: pages that processes share are counted once. Waits depend on what else the machine does,
processor time hardly.
"""

from __future__ import annotations

import argparse
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

MB = 1_000_000
CHROMIUM = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


def memory(pid: int) -> float:
    """Memory of a process, in MB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 / MB if found else float("nan")


def at_once(count: int, work: Callable[[int], float]) -> list[float]:
    """What `work` returns for each of so many threads that begin together."""
    found: list[float] = []
    start = threading.Barrier(count)

    def one(number: int) -> None:
        start.wait()
        found.append(work(number))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def told(values: Sequence[float]) -> str:
    """Median and worst of some seconds."""
    return f"{statistics.median(values):.1f} s in the middle, {max(values):.1f} s at the most"


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def in_chromium(
    url: str, ready: str, count: int, look: Callable[[], None] = lambda: None
) -> list[float]:
    """Seconds until `ready` is on each of so many pages that are opened one after the other.

    look: called while all of them are open.
    """
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    found: list[float] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM))
        pages = [browser.new_context().new_page() for _ in range(count)]
        for page in pages:
            began = time.monotonic()
            page.goto(url, wait_until="commit")
            page.wait_for_selector(ready, timeout=300_000)
            found.append(time.monotonic() - began)
        look()
        browser.close()
    return found


def replay(site: Path, clients: int) -> None:
    """Serve a folder of pages from a process of its own, and fetch all of it from each client."""
    names = [path.name for path in sorted(site.glob("*.html"))]
    size = sum((site / name).stat().st_size for name in names)
    port = free_port()
    code = (
        "import sys; from pathlib import Path; from workbench.classroom import page_server; "
        "page_server(Path(sys.argv[1]), sys.argv[3:], int(sys.argv[2]), '127.0.0.1')"
        ".serve_forever()"
    )
    server = subprocess.Popen([sys.executable, "-c", code, str(site), str(port), *names])
    url = f"http://127.0.0.1:{port}/"
    try:
        wait_for(port)
        before = memory(server.pid)

        def fetch(_: int) -> float:
            began = time.monotonic()
            for name in names:
                with urllib.request.urlopen(url + name, timeout=60) as answer:
                    answer.read()
            return time.monotonic() - began

        spent = at_once(clients, fetch)
        after = memory(server.pid)
        print(f"{len(names)} pages of {size / MB:.1f} MB, {clients} clients at once:")
        print(f"  {clients * len(names)} requests, {clients * size / MB:.0f} MB, {told(spent)}")
        print(f"  memory of the server {before:.0f} MB before, {after:.0f} MB after")
        if shutil.which("chromium"):
            run = next((n for n in names if "explorer-data" in (site / n).read_text("utf-8")), "")
            seen = in_chromium(url + run, ".wbx-row button", 3)
            print(f"  {run} in Chromium: {told(seen)}")
    finally:
        server.terminate()
        server.wait()


def wait_for(port: int) -> None:
    """Wait until somebody listens."""
    for _ in range(1200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"nobody listens on port {port}")


def live(counts: Sequence[int], pages: int) -> None:
    """Waits of visitors who ask at once, and memory of real Voila kernels."""
    import psutil

    from workbench.app.engine import ModelEngine
    from workbench.cancel import CancelToken
    from workbench.classroom import visitor
    from workbench.classroom.live import live_class

    with tempfile.TemporaryDirectory() as folder:
        runs, port = Path(folder) / "runs", free_port()
        engine = ModelEngine()
        with live_class(engine, runs, port=port, address="127.0.0.1") as opened:
            wait_for(port)
            environment = psutil.Process(opened.voila.pid).environ()
            address, key = environment[visitor.ADDRESS], bytes.fromhex(environment[visitor.KEY])
            choice = engine.offer().first

            def picture(name: str, seed: int) -> float:
                mine = visitor.VisitorEngine(address, key, name)
                wanted = replace(choice, seed=seed)
                study = mine.study(wanted)
                began = time.monotonic()
                mine.make(study, runs / name / "run", mine.asked(wanted), ignore, CancelToken())
                return time.monotonic() - began

            print(f"the very first picture, models loaded: {picture('first', 1):.1f} s")
            for count in counts:
                before = time.process_time()
                spent = at_once(count, lambda n, c=count: picture(f"visitor-{c}-{n}", 1))
                cost = (time.process_time() - before) / count
                print(f"{count} visitors ask for a first picture at once: {told(spent)}")
                print(f"  {cost:.1f} s of processor time each")
                if count > 1:
                    continue
                before = time.process_time()
                again = picture("first", 2)
                cost = time.process_time() - before
                print(f"another picture in the same run: {again:.1f} s, {cost:.1f} s of processor")
            me = psutil.Process()
            print(f"memory of the model's process: {memory(me.pid):.0f} MB")

            def look() -> None:
                children = psutil.Process(opened.voila.pid).children(recursive=True)
                each = [memory(child.pid) for child in children]
                print(f"{len(each)} visitors' kernels: {statistics.mean(each):.0f} MB each")
                print(f"Voila itself: {memory(opened.voila.pid):.0f} MB")

            url = f"http://127.0.0.1:{port}/"
            spent = in_chromium(url, ".wb-map-image img", pages, look)
            print(f"{pages} pages opened one after the other: {told(spent)}")


def ignore(_: object) -> None:
    """Hears of progress."""


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("site", nargs="?", type=Path)
    parser.add_argument("--clients", type=int, default=30)
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--visitors", type=int, nargs="+", default=[1, 10, 30])
    parser.add_argument("--pages", type=int, default=3)
    asked = parser.parse_args()
    if asked.live:
        live(asked.visitors, asked.pages)
    elif asked.site:
        replay(asked.site, asked.clients)
    else:
        parser.error("name a folder of pages, or say --live")


if __name__ == "__main__":
    main()
