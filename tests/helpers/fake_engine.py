"""A stand-in for the app's engine: instant pictures, a study that takes a second, no models."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workbench.app.session import Offer
from workbench.app.state import Choice, Picture, Row
from workbench.generation.cancel import CancelToken

PROMPT = ("a girl", "long hair", "<b>bold</b> & black eyes")


@dataclass(frozen=True)
class FakeProgress:
    """The fields of the sweep's progress which the app reads."""

    done: int
    total: int
    seconds_left: float | None
    phase: str


def plain(colour: tuple[int, int, int], size: int = 32) -> np.ndarray:
    """A picture of one colour with a white frame."""
    image = np.full((size, size, 3), colour, np.uint8)
    image[[0, -1], :] = image[:, [0, -1]] = 255
    return image


class FakeEngine:
    """Follows `workbench.app.session.Engine`. `gate` holds drawing back until it is set."""

    def __init__(self, steps: int = 10, step_seconds: float = 0.02, missing: str = "") -> None:
        self.steps, self.step_seconds, self.absent = steps, step_seconds, missing
        self.gate = threading.Event()
        self.gate.set()
        self.drawn: list[Choice] = []
        self.threads: set[int] = set()
        self.plots = 0
        self.fail_with: Exception | None = None

    def missing(self, choice: Choice | None = None) -> str:
        return self.absent

    def to_download(self, choice: Choice) -> tuple[str, ...]:
        return ()

    def offer(self) -> Offer:
        controls = {"canny": "Canny edges", "depth": "Depth"}
        return Offer(("paperdoll:1", "paperdoll:2"), controls, PROMPT, ("render", "ink"))

    def draw(
        self, choice: Choice, cancel: CancelToken, progress: Callable[[Any], None]
    ) -> Picture | None:
        self.threads.add(threading.get_ident())
        while not self.gate.wait(0.01):
            if cancel.cancelled:
                return None
        if self.fail_with is not None:
            raise self.fail_with
        self.drawn.append(choice)
        rows = (
            Row("Canny F1 (tolerant)", 0.25 * choice.scale, choice.scale / 2, True),
            Row("CLIP <score>", 20.0 + len(choice.kept), 0.5, True),
            Row("Nothing", float("nan"), reason="no edges & <nothing> to compare"),
        )
        shade = int(60 + 60 * choice.scale)
        return Picture(
            choice, plain((90, 120, 200)), plain((0, 0, 0)), plain((shade, 80, 80)), rows, 0.1
        )

    def run(self, folder: Path, progress: Callable[[Any], None], cancel: CancelToken) -> None:
        self.threads.add(threading.get_ident())
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "study.yaml").write_text("name: fake\n")
        for done in range(self.steps + 1):
            if cancel.cancelled:
                return
            left = self.step_seconds * (self.steps - done)
            progress(FakeProgress(done, self.steps, left if done else None, "generating"))
            time.sleep(self.step_seconds)

    def plot(self, folder: Path) -> bytes:
        from matplotlib.figure import Figure

        from workbench.plots import to_png

        self.threads.add(threading.get_ident())
        self.plots += 1
        figure = Figure(figsize=(4, 3))
        figure.subplots().plot([0, self.plots], [1, 0])
        return to_png(figure, dpi=80)

    def study_yaml(self, choice: Choice) -> str:
        return f"sources: [{choice.source}]\n"
