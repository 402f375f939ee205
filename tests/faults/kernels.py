"""Starts Jupyter kernels that have everything loaded, by forking, so that many can be killed.

python kernels.py MODELS OUT: runs a small study once, prints "ready", and then starts a kernel on
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
from tiny_run import TINY_WORLD, make_manager

from workbench.app.engine import ModelEngine
from workbench.app.session import Session


def make_engine(models: Path, out: Path) -> ModelEngine:
    """The app's engine on tiny models; its demo is the small study."""
    study = out / "study.yaml"
    study.write_text(small_study().to_yaml(), "utf-8")
    family = TINY_WORLD.model_copy(update={"networks": {}})
    engine = ModelEngine(family, models_dir=models, study=study)
    engine.__dict__["manager"] = make_manager(models)
    return engine


def main(models: str, out: str) -> None:
    from workbench.generation import CancelToken

    torch.set_num_threads(1)
    engine = make_engine(Path(models), Path(out))
    engine.run(Path(out) / "unbroken", lambda _: None, CancelToken())
    engine.plot(Path(out) / "unbroken")
    choice = Session(engine, Path(out)).state.now.choice
    engine.draw(choice, CancelToken())  # what a first picture needs is known to every kernel
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
