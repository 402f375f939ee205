"""Starts Jupyter kernels that have everything loaded, by forking, so that many can be killed.

python kernels.py MODELS OUT: makes a small sweep once, prints "ready", and then starts a kernel on
each connection file that is named on standard input and prints its process id. "wait PID" waits for
its end. Each kernel finds `engine`, the app's engine on tiny models, among its names.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from ipykernel.kernelapp import IPKernelApp
from small_runs import small_study
from tiny_app import TinyEngine

from workbench.app.grid import Axes
from workbench.generation import CancelToken
from workbench.runs import open_run

AXES: Axes = {"scale": [0, 1], "length": [1, 2], "seed": [1, 2]}


def make_engine(models: Path, out: Path) -> TinyEngine:
    """The app's engine on tiny models."""
    engine = TinyEngine(models, out)
    (out / "demo.yaml").write_text(small_study().to_yaml(), "utf-8")
    return engine


def main(models: str, out: str) -> None:
    torch.set_num_threads(1)
    engine = make_engine(Path(models), Path(out))
    choice, run = engine.offer().first, Path(out) / "unbroken"
    study = engine.study(choice, AXES)
    engine.make(study, run, engine.asked(choice, AXES), lambda _: None, CancelToken())
    # What an app needs is known to every kernel.
    engine.preview(choice)
    open_run(run).view(planned=engine.plan(study).cells)
    print("ready", flush=True)
    for line in sys.stdin:
        order = line.strip()
        if order.startswith("wait "):
            os.waitpid(int(order.removeprefix("wait ")), 0)
            print("ended", flush=True)
            continue
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_RDWR), 1)
            app = IPKernelApp.instance(user_ns={"engine": engine})
            app.initialize(["-f", order])
            app.start()
            os._exit(0)
        print(child, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
