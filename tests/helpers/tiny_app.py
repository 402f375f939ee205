"""The app's engine on tiny models with random weights, whose work a test can hold up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from tiny_models import write_tiny_family
from tiny_run import TINY_WORLD, make_manager

from workbench.app.engine import ModelEngine
from workbench.cancel import CancelToken
from workbench.study import Study

PROMPT = ("a girl", "long hair", "<b>bold</b> & black eyes")
DEMO = {
    "name": "tiny demo",
    "sources": ["paperdoll:1", "paperdoll:2"],
    "controls": ["canny"],
    "prompt": list(PROMPT),
    "scales": [0, 1],
    "steps": 2,
    "batch_size": 1,
}
FAMILY = TINY_WORLD.model_copy(update={"networks": {}})


class TinyEngine(ModelEngine):
    """Real rooms, tiny models.

    gate: holds each piece of work back until it is set. pause: seconds that each step takes more.
    made: the calls of `make`: how many trials were asked for. fail_with: raised in place of work.
    """

    def __init__(self, models: Path, folder: Path, pause: float = 0.0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "demo.yaml").write_text(Study(**DEMO).to_yaml(), "utf-8")
        super().__init__(FAMILY, models_dir=models, study=folder / "demo.yaml", device="cpu")
        self.gate = threading.Event()
        self.gate.set()
        self.pause = pause
        self.made: list[int] = []
        self.threads: set[int] = set()
        self.fail_with: Exception | None = None

    @property
    def manager(self) -> Any:
        if "models" not in self.__dict__:
            self.__dict__["models"] = make_manager(Path(self.models_dir or ""), self.family)
        return self.__dict__["models"]

    def make(
        self,
        study: Study,
        folder: Path,
        trials: Collection[str],
        progress: Callable[[Any], None],
        cancel: CancelToken,
    ) -> None:
        self.threads.add(threading.get_ident())
        self.made.append(len(trials))
        while not self.gate.wait(0.01) and not cancel.cancelled:
            pass
        if self.fail_with is not None:
            raise self.fail_with

        def slowly(report: Any) -> None:
            progress(report)
            if report.phase == "generating":
                time.sleep(self.pause)

        super().make(study, folder, trials, slowly, cancel)

    def close(self) -> None:
        self.__dict__.pop("models", None)
        super().close()


def make_engine(folder: Path, pause: float = 0.0) -> TinyEngine:
    """An engine with models of its own below a folder, which are written once."""
    if not (folder / "models").exists():
        write_tiny_family(folder / "models")
    return TinyEngine(folder / "models", folder, pause)
