"""The app of one visitor: all that the workbench does, in a small process without models."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import count
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import numpy as np

from workbench.app import Workbench
from workbench.app.engine import ModelEngine
from workbench.app.state import Choice, Preview
from workbench.cancel import CancelToken
from workbench.classroom.pages import ClassroomError
from workbench.classroom.wire import receive, send
from workbench.controls import LegendEntry
from workbench.study import Study

if TYPE_CHECKING:
    from workbench.controls import Networks
    from workbench.families import Family
    from workbench.families.manager import ModelManager

ADDRESS, KEY = "WORKBENCH_CLASS_ADDRESS", "WORKBENCH_CLASS_KEY"
RUNS, FAMILY = "WORKBENCH_CLASS_RUNS", "WORKBENCH_CLASS_FAMILY"
"""What `visit` finds in its environment: the model server, its key as hexadecimal digits, the
folder of all visitors' runs, and the model family."""
LISTEN_SECONDS = 0.1


@dataclass(frozen=True)
class Told:
    """How far the work of a visitor is, as `sweep.Progress`, whose room would load torch."""

    done: int
    total: int
    phase: str
    seconds_left: float | None = None
    step: Drawn | None = None


@dataclass(frozen=True)
class Wanted:
    """A trial, of which the app asks no more than its id."""

    id: str


@dataclass(frozen=True)
class Drawn:
    """A denoising step at the server, as `generation.Step`. trials: those that can be looked at."""

    done: int
    total: int
    trials: tuple[Wanted, ...] = ()
    look: np.ndarray | None = None

    def preview(self, place: int) -> np.ndarray:
        """What the picture looks like by now, uint8 H×W×3. ValueError if nobody has looked."""
        if self.look is None:
            raise ValueError(f"picture {place} was not looked at")
        return self.look


class ClassNetworks:
    """The networks of the model server, in place of `explorer.LocalNetworks`."""

    def __init__(self, names: Iterable[str], connect: Callable[[], Connection]) -> None:
        self.names, self.is_small = frozenset(names), True
        self._connect = connect

    def lend(self, needs: Iterable[str]) -> Networks:
        """The networks of these names; each asks the server when it is called."""
        return {name: self._network(name) for name in needs}

    def _network(self, name: str) -> Callable[[np.ndarray], Any]:
        def read(pictures: np.ndarray) -> Any:
            with self._connect() as connection:
                send(connection, {"ask": "network", "name": name}, [pictures])
                message, arrays = _answer(connection)
            return arrays[0] if message["end"] == "array" else arrays

        return read


class VisitorEngine(ModelEngine):
    """An engine whose pictures the model server draws, in its turn.

    Args:
        address: of the server, see `workbench.classroom.server.ModelServer`.
        key: its secret.
        visitor: whose turn it is that pictures are made in.
        options: as `ModelEngine`.
    """

    def __init__(self, address: str, key: bytes, visitor: str, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._address, self._key, self.visitor = address, key, visitor
        self._shared = ClassNetworks(self.family.networks, self._connect)

    def _connect(self) -> Connection:
        try:
            return Client(self._address, authkey=self._key)
        except (OSError, EOFError):
            raise ClassroomError("The class is over: its model no longer runs.") from None

    def of_family(self, name: str) -> ModelEngine:
        """ValueError: the class shares the models of one family."""
        raise ValueError(f"the class shares one model, so the family stays {self.family.name}")

    @property
    def manager(self) -> ModelManager:
        """Nowhere here."""
        raise ClassroomError("The models of a class are in another process.")

    @property
    def networks(self) -> Any:
        """Those of the server."""
        return self._shared

    @property
    def lends(self) -> Any:
        """Those of the server read maps back, too."""
        return self._shared

    def missing(self, study: Study) -> str:
        """What is missing the server says when it is asked for pictures."""
        return ""

    def to_download(self, study: Study) -> tuple[str, ...]:
        """Nothing: visitors download no models."""
        return ()

    def about(self, choice: Choice) -> str:
        """Which models make a choice."""
        return (
            f"{self.family.name} ({choice.base}), one for the whole class. You are {self.visitor}"
        )

    def make(
        self,
        study: Study,
        folder: Path,
        trials: Collection[str],
        progress: Callable[[Any], None],
        cancel: CancelToken,
    ) -> None:
        """Have pictures made, and tell how far that is, the place in the queue among it.

        ClassroomError with the server's reason if that fails.
        """
        request = {
            "ask": "make",
            "visitor": self.visitor,
            "study": study.model_dump(mode="json"),
            "base": str(Path(study.folder or ".").resolve()),
            "folder": str(folder.resolve()),
            "trials": list(trials),
        }
        stopped = False
        with self._connect() as connection:
            send(connection, request)
            while True:
                if cancel.cancelled and not stopped:
                    send(connection, {"ask": "stop"})
                    stopped = True
                if not connection.poll(LISTEN_SECONDS):
                    continue
                message, looks = _answer(connection)
                if "end" in message:
                    return
                done, total = int(message["done"]), int(message["total"])
                at, steps = map(int, message["step"])
                seen = tuple(map(Wanted, trials)) if looks else ()
                step = Drawn(at, steps, seen, *looks) if steps else None
                progress(Told(done, total, str(message["phase"]), step=step))

    def preview(self, choice: Choice) -> Preview:
        """Source and control map of a choice, made by the server."""
        with self._connect() as connection:
            send(connection, {"ask": "preview", "choice": asdict(choice)})
            message, (source, wanted, *second) = _answer(connection)
        legend = tuple(LegendEntry(name, tuple(c), share) for name, c, share in message["legend"])
        shows = tuple(map(str, message["shows"]))
        return Preview(
            source, wanted, legend, str(message["warning"]), shows, second[0] if second else None
        )


def _answer(connection: Connection) -> tuple[Mapping[str, Any], list[np.ndarray]]:
    try:
        message, arrays = receive(connection)
    except (EOFError, OSError):
        raise ClassroomError("The class is over: its model no longer runs.") from None
    if "error" in message:
        raise ClassroomError(str(message["error"]))
    return message, arrays


def visit(family: Family | str | None = None, study: str | Path | None = None) -> Workbench:
    """The app of a visitor, in a kernel that `workbench classroom-live` has started.

    Who opens the page as ``/?name=anna`` finds the pictures of ``anna`` again; others are given a
    name. ClassroomError if there is no class.

    Args:
        family: if not by name that of the class.
        study: as `ModelEngine`.
    """
    found = {name: os.environ.get(name, "") for name in (ADDRESS, KEY, RUNS, FAMILY)}
    if not all(found.values()):
        raise ClassroomError("There is no class here: start one with workbench classroom-live.")
    runs = place_of(Path(found[RUNS]), os.environ.get("QUERY_STRING", ""))
    key = bytes.fromhex(found[KEY])
    chosen = family or found[FAMILY]
    engine = VisitorEngine(found[ADDRESS], key, runs.name, chosen, study=study)
    return Workbench(runs, engine=engine)


def place_of(runs: Path, query: str) -> Path:
    """The folder of a visitor's runs, which is made: by the name in the query, or a free one."""
    name = re.sub(r"[^\w-]+", "-", parse_qs(query).get("name", [""])[0].lower()).strip("-_")[:40]
    if name:
        (runs / name).mkdir(parents=True, exist_ok=True)
        return runs / name
    for number in count(1):
        try:
            (runs / f"visitor-{number}").mkdir(parents=True)
        except FileExistsError:
            continue
        return runs / f"visitor-{number}"
    raise AssertionError
