"""One model for all visitors: a server on this machine that draws what their apps ask for."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import numpy as np

from workbench.app.engine import ModelEngine, loading
from workbench.app.progress import LOOK_SHARE
from workbench.app.state import Choice
from workbench.classroom.turns import Order, Turns
from workbench.classroom.wire import receive, send
from workbench.store import Record, RunFolder
from workbench.study import Study
from workbench.study.labels import is_scene
from workbench.study.sources import source_file

log = logging.getLogger(__name__)

TURN = 4
"""So many pictures are made before the next visitor has a turn."""
TELL_SECONDS = 0.2
BACKLOG = 128
"""So many apps may connect at the same moment; macOS refuses those beyond it."""


class ModelServer:
    """Draws for the visitors of a class, one at a time, a few pictures a turn.

    Visitors' apps (`workbench.classroom.visitor`) connect to `address` with the key. They say
    which trials of which study are to be made in a run folder, which they read themselves, or
    which pictures a network is to read.

    Args:
        engine: has the models; they are loaded with the first picture.
        runs: the folder below which all visitors' runs lie. Nothing is written elsewhere.
        key: the secret of this class, which visitors must know.
    """

    def __init__(self, engine: ModelEngine, runs: Path, key: bytes) -> None:
        self.engine, self.runs = engine, runs.resolve()
        offer = engine.offer()
        self._offered = {_file(source, engine.demo) for source in offer.sources}
        self._loading = loading(engine.study(offer.first))
        self.turns = Turns()
        self._reading = Lock()  # networks are not for several threads
        self._listener = Listener(backlog=BACKLOG, authkey=key)
        self._closed = False
        for work in (self._accept, self._draw):
            Thread(target=work, name=f"class{work.__name__}", daemon=True).start()

    @property
    def address(self) -> str:
        """Where visitors' apps connect: a socket of this machine, not of its network."""
        return str(self._listener.address)

    def close(self) -> None:
        """Stop what is being made and listen no longer. What is made is kept."""
        self._closed = True
        self.turns.close()
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection = self._listener.accept()
            except (OSError, EOFError, AuthenticationError):  # one that failed is not the last one
                continue
            Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        """One request, and all that is told about it."""
        with connection:
            try:
                message, arrays = receive(connection)
                if message["ask"] == "network":
                    self._read(connection, str(message["name"]), arrays[0])
                elif message["ask"] == "preview":
                    self._preview(connection, message["choice"])
                else:
                    self._make(connection, message)
            except (EOFError, OSError):
                return  # the visitor has gone
            except Exception as error:
                log.exception("a request of a visitor failed")
                self._fail(connection, error)

    def _fail(self, connection: Connection, error: Exception) -> None:
        try:
            send(connection, {"error": str(error) or type(error).__name__})
        except OSError:
            return

    def _read(self, connection: Connection, name: str, pictures: np.ndarray) -> None:
        with self._reading:
            found = self.engine.networks.lend([name])[name](pictures)
        if isinstance(found, np.ndarray):
            send(connection, {"end": "array"}, [found])
        else:
            send(connection, {"end": "list"}, list(found))

    def _preview(self, connection: Connection, values: Mapping[str, Any]) -> None:
        lists = {name: tuple(values[name]) for name in ("prompt", "kept")}
        choice = Choice(**{**values, **lists})
        self._check_sources(self.engine.study(choice))
        with self._reading:
            found = self.engine.preview(choice)
        legend = [(e.name, [*map(int, e.colour)], float(e.share)) for e in found.legend]
        told = {"end": "preview", "legend": legend, "warning": found.warning, "shows": found.shows}
        maps = [found.control_map, *([] if found.second_map is None else [found.second_map])]
        send(connection, told, [found.source, *maps])

    def _make(self, connection: Connection, message: Mapping[str, Any]) -> None:
        order = self._order(message)
        told: tuple[Any, ...] = ()
        shown: np.ndarray | None = None
        self.turns.put(order)
        try:
            while not order.ended.wait(TELL_SECONDS):
                if connection.poll():
                    receive(connection)  # whatever a visitor says while waiting, it means stop
                    self.turns.stop(order)
                state, look = (self._phase(order), order.done, order.step), order.look
                if state != told:
                    new = [look] if look is not None and look is not shown else []
                    values = dict(zip(("phase", "done", "step"), state, strict=True))
                    send(connection, {**values, "total": order.total}, new)
                    told, shown = state, look
        except (EOFError, OSError):
            self.turns.stop(order)
            raise
        if order.error is not None:
            self._fail(connection, order.error)
        else:
            send(connection, {"end": "made", "done": order.done, "total": order.total})

    def _phase(self, order: Order) -> str:
        before = self.turns.before(order)
        return f"waiting for a turn, {before} before you" if before else order.phase or "starting"

    def _order(self, message: Mapping[str, Any]) -> Order:
        folder = Path(message["folder"]).resolve()
        if not folder.is_relative_to(self.runs) or folder == self.runs:
            raise ValueError(f"{folder} does not lie in {self.runs}")
        study = Study.from_dict(
            message["study"], folder=Path(message["base"]), choices=self.engine.choices
        )
        self._check_sources(study)
        if loading(study) != self._loading:  # else two visitors would load it anew at each turn
            raise ValueError(
                "the class shares one model: precision, runtime and safety checker stay as they are"
            )
        if titles := self.engine.to_download(study):  # gigabytes are not for visitors to order
            raise ValueError(
                f"{', '.join(titles)} would have to be downloaded to the machine of the class: "
                "choose another base model or control type, or have the teacher make a picture "
                "with it once"
            )
        wanted = [str(trial) for trial in message["trials"]]
        records: Mapping[str, Record] = {}
        if (folder / "study.yaml").is_file():
            records = RunFolder.open(folder).scan(strict=False).records
        left = [one for one in wanted if one not in records or records[one].retry] or wanted[:1]
        done = len(wanted) - len(left)
        return Order(str(message["visitor"]), study, folder, left, len(wanted), done)

    def _check_sources(self, study: Study) -> None:
        """ValueError for a picture of this machine that is neither offered nor of a visitor."""
        for source in study.sources:
            file = _file(source, study)
            if not (is_scene(source) or file in self._offered or file.is_relative_to(self.runs)):
                raise ValueError(
                    f"{source} is no source of this class: take one of the list, or upload"
                )

    def _draw(self) -> None:
        while (order := self.turns.take()) is not None:
            try:
                self._draw_part(order)
            except Exception as error:
                log.exception("the pictures of %s failed", order.visitor)
                order.error = error
            finally:
                self.turns.give_back(order)

    def _draw_part(self, order: Order) -> None:
        part, before = order.left[:TURN], order.done

        def tell(progress: Any) -> None:
            order.phase = progress.phase
            if not progress.unit:
                order.done = before + progress.done
            if progress.step is not None:
                self._look(order, progress.step)

        self.engine.make(order.study, order.folder, part, tell, order.cancel)
        order.left = order.left[len(part) :]

    def _look(self, order: Order, step: Any) -> None:
        """Note a denoising step; of a single picture, unless others wait, how it looks by now."""
        began = time.monotonic()
        alone = order.total == 1 and step.done < step.total and not self.turns.waiting()
        if alone and began >= order.rest_until:
            try:
                order.look = step.preview(0)
            except Exception:  # the picture itself must not fail by it
                log.warning("the picture in the making cannot be shown", exc_info=True)
            now = time.monotonic()
            order.rest_until = now + LOOK_SHARE * (now - began)
        order.step = (step.done, step.total)


def _file(source: str, study: Study) -> Path:
    """The file that a study reads for a source."""
    return source_file(source, study.folder).resolve()
