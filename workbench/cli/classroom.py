"""Commands for a class: pages that thirty browsers look at."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.common import Refusal, say


def classroom(
    run_dirs: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN...", help="Run folders.")
    ] = None,
    lesson: Annotated[
        list[Path] | None,
        typer.Option(help="A notebook; run once, which takes minutes. Several times for several."),
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where the pages go.")] = Path("site-classroom"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    build_only: Annotated[
        bool, typer.Option("--build-only", help="Build the pages and serve nothing.")
    ] = False,
) -> None:
    """Build pages of runs and lessons for a class, and serve them to its browsers.

    Replay needs no kernel: whatever the runs hold is in the pages. Only these pages are served,
    read only, on all addresses of this machine, until Ctrl-C.
    """
    from workbench.classroom import build_classroom, lan_address, page_server

    names = build_classroom(run_dirs or [], folder, lessons=lesson or [], tell=say)
    size = sum((folder / name).stat().st_size for name in names) / 1e6
    say(f"{len(names)} pages, {size:.1f} MB: {(folder / names[0]).resolve()}")
    if build_only:
        return
    with page_server(folder, names, port) as server:
        say(f"For the class: http://{lan_address()}:{server.server_port}/   (Ctrl-C ends it)")
        server.serve_forever()


def classroom_live(
    runs: Annotated[
        Path, typer.Option(help="Where visitors' runs are kept, each in a folder of its own.")
    ] = Path("runs/class"),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of this machine.")] = 8866,
    family: Annotated[str, typer.Option(help="The model family that all share.")] = "paperdoll",
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:0, mps; CUDA if absent and there.")
    ] = None,
    idle: Annotated[
        int, typer.Option(min=10, help="Seconds after which a closed page's kernel ends.")
    ] = 600,
) -> None:
    """Open the app to a class: browsers alone are needed, and one model draws for all in turn.

    Whoever can reach this machine can open it. Ctrl-C ends it; what is made is kept.
    """
    from workbench.app.engine import ModelEngine
    from workbench.classroom import lan_address
    from workbench.classroom.live import live_class

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # Voila ends with this process
    engine = ModelEngine(family, device=device)
    with live_class(engine, runs, port=port, idle=idle) as opened:
        say(f"For the class: http://{lan_address()}:{port}/?name=YOUR-NAME   (Ctrl-C ends it)")
        opened.voila.wait()
    raise Refusal(f"The app ended by itself: is the port {port} taken? Choose another --port.")
