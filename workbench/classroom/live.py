"""The app for a class: Voila shows it, and one model draws for all."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.classroom.pages import ClassroomError

if TYPE_CHECKING:
    from workbench.app.engine import ModelEngine

IDLE_SECONDS = 600
"""A visitor's kernel ends this long after its page was closed."""
CELL = "from workbench.classroom.visitor import visit\n\nvisit()"


@dataclass(frozen=True)
class LiveClass:
    """A class under way: the process of Voila, and that of the model server (this one)."""

    voila: subprocess.Popen[bytes]
    port: int


@contextmanager
def live_class(
    engine: ModelEngine,
    runs: Path,
    *,
    port: int,
    address: str = "0.0.0.0",
    idle: int = IDLE_SECONDS,
    cell: str = CELL,
) -> Iterator[LiveClass]:
    """The app for all who open its address, until the end of the block.

    Args:
        engine: has the one model; it is let go of at the end.
        runs: each visitor's runs are kept in a folder of their own below it.
        port, address: where Voila listens; on all addresses of this machine if none is named.
        idle: seconds after which a kernel whose page is closed ends.
        cell: the code that shows the app.

    ClassroomError if Voila is not installed; FamilyError and others for an engine that cannot work.
    """
    if find_spec("voila") is None:
        raise ClassroomError("Voila is missing: pip install 'controlnet-workbench[classroom]'")
    import nbformat

    from workbench.classroom import visitor
    from workbench.classroom.server import ModelServer

    engine.offer()  # what is wrong with it shows before anybody comes
    runs.mkdir(parents=True, exist_ok=True)
    key = secrets.token_bytes(32)
    server = ModelServer(engine, runs, key)
    environment = os.environ | {
        visitor.ADDRESS: server.address,
        visitor.KEY: key.hex(),
        visitor.RUNS: str(runs.resolve()),
        visitor.FAMILY: engine.family.name,
        "OMP_NUM_THREADS": "1",  # thirty kernels share the processor with the model
    }
    with tempfile.TemporaryDirectory() as folder:
        notebook = Path(folder) / "workbench.ipynb"
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        cells = [nbformat.v4.new_code_cell(cell)]
        nbformat.write(
            nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), notebook
        )
        command = [
            *(sys.executable, "-m", "voila", str(notebook), "--no-browser", f"--port={port}"),
            *(f"--Voila.ip={address}", "--Voila.port_retries=0"),
            f"--MappingKernelManager.cull_idle_timeout={idle}",
            f"--MappingKernelManager.cull_interval={min(60, idle)}",
        ]
        voila = subprocess.Popen(command, env=environment, cwd=folder)
        try:
            yield LiveClass(voila, port)
        finally:
            server.close()
            voila.terminate()
            try:
                voila.wait(20)
            except subprocess.TimeoutExpired:
                voila.kill()
                voila.wait()
            engine.close()
