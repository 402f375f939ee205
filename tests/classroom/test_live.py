"""One model for a class: fair turns, plain messages, small visitors.

Protects the pupil who asked for one picture from the one who asked for a hundred, a class from a
visitor who leaves, and the machine from thirty copies of a model.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Client, Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_app import TinyEngine, make_engine

from workbench.app.session import Session
from workbench.cancel import CancelToken
from workbench.classroom import ClassroomError, server, visitor
from workbench.classroom.server import ModelServer
from workbench.classroom.turns import Order, Turns
from workbench.classroom.visitor import VisitorEngine, place_of
from workbench.classroom.wire import receive, send
from workbench.store import RunFolder
from workbench.study import Study

KEY = b"a key"


def order(name: str, parts: int) -> Order:
    """An order that takes so many turns."""
    left = tuple(map(str, range(parts)))
    return Order(name, Study.model_construct(), Path(), left, parts)


def turn(turns: Turns) -> str:
    """Whose turn it is; it is used, and given back."""
    taken = turns.take()
    assert taken is not None
    taken.left = taken.left[1:]
    turns.give_back(taken)
    return taken.visitor


def test_each_visitor_has_a_turn_in_turn() -> None:
    turns = Turns()
    much, one, other = order("anna", 4), order("ben", 1), order("anna", 1)
    for each in (much, other, one):
        turns.put(each)
    assert [turn(turns) for _ in range(6)] == ["anna", "ben", "anna", "anna", "anna", "anna"]
    assert much.ended.is_set() and one.ended.is_set() and other.ended.is_set()


def test_the_place_in_the_queue_is_told() -> None:
    turns = Turns()
    first, second, third = order("anna", 2), order("ben", 1), order("carl", 1)
    for each in (first, second, third):
        turns.put(each)
    assert [turns.before(each) for each in (first, second, third)] == [0, 1, 2]
    taken = turns.take()
    assert taken is first
    assert [turns.before(each) for each in (first, second, third)] == [0, 1, 2]
    turns.give_back(first)
    assert [turns.before(each) for each in (second, third, first)] == [0, 1, 2]


def test_who_leaves_is_waited_for_no_longer() -> None:
    turns = Turns()
    first, second = order("anna", 2), order("ben", 1)
    for each in (first, second):
        turns.put(each)
    turns.stop(first)
    assert first.ended.is_set() and turn(turns) == "ben"
    turns.put(third := order("carl", 3))
    taken = turns.take()
    turns.stop(third)  # at work: it ends with its turn
    assert taken is third and third.cancel.cancelled and not third.ended.is_set()
    turns.give_back(third)
    assert third.ended.is_set()
    turns.put(last := order("dora", 1))
    turns.close()
    assert turns.take() is None and last.ended.is_set()
    turns.put(late := order("emil", 1))
    assert late.ended.is_set() and late.cancel.cancelled


def test_messages_carry_arrays_and_nothing_that_runs() -> None:
    one, other = Pipe()
    arrays = [np.arange(6, dtype=np.uint8).reshape(1, 2, 3), np.zeros((0, 4), np.float32)]
    send(one, {"ask": "network"}, arrays)
    message, got = receive(other)
    assert message == {"ask": "network"}
    assert all(
        np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(arrays, got, strict=True)
    )
    one.send({"ask": "make"})  # pickled
    with pytest.raises(ValueError):
        receive(other)
    with pytest.raises(ValueError, match="allow_pickle"):
        send(one, {}, [np.array([object()])])


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("name=Anna", "anna"),
        ("name=../../etc", "etc"),
        ("name=%2Fa b", "a-b"),
        ("", "visitor-1"),
        ("name=..", "visitor-1"),
        ("x=1", "visitor-1"),
    ],
)
def test_each_visitor_has_a_folder_of_their_own(tmp_path: Path, query: str, name: str) -> None:
    assert place_of(tmp_path, query) == tmp_path / name
    assert (tmp_path / name).is_dir()
    assert place_of(tmp_path, "").name == ("visitor-2" if "visitor" in name else "visitor-1")


class Class:
    """A model server on tiny models, and engines of its visitors."""

    def __init__(self, folder: Path) -> None:
        self.runs = folder / "runs"
        self.engine = make_engine(folder / "engine")
        self.server = ModelServer(self.engine, self.runs, KEY)

    def visitor(self, name: str) -> VisitorEngine:
        """The engine of a visitor; it has no models."""
        own = (self.engine.family,)
        study = self.engine.study_path
        return VisitorEngine(self.server.address, KEY, name, *own, study=study)


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Class]:
    one = Class(tmp_path_factory.mktemp("class"))
    yield one
    one.server.close()


def ask(engine: VisitorEngine, folder: Path, **axes: Any) -> list[Any]:
    """Have pictures made; returns what was told on the way."""
    told: list[Any] = []
    choice = engine.offer().first
    study = engine.study(choice, axes)
    engine.make(study, folder, engine.asked(choice, axes), told.append, CancelToken())
    return told


def test_a_visitor_has_pictures_made(school: Class) -> None:
    session = Session(school.visitor("anna"), school.runs / "anna")
    assert session.make() is not None
    screen = session.wait(120)
    assert screen.status.startswith("Done."), screen.status
    assert screen.sheet is not None and len(RunFolder.open(screen.sheet.folder).trial_ids()) == 1
    session.close()


def test_a_picture_in_the_making_is_seen_unless_others_wait(
    school: Class, monkeypatch: Any
) -> None:
    """A look costs the class a pass through the decoder."""
    seen: list[Any] = []
    heard, looks = threading.Event(), [np.full((8, 8, 3), shade, np.uint8) for shade in (1, 2)]

    def make(study: Study, folder: Path, part: Any, tell: Any, cancel: CancelToken) -> None:
        step = SimpleNamespace(done=3, total=20, preview=lambda place: looks[place])
        tell(SimpleNamespace(phase="generating", unit="", done=0, step=step))
        assert heard.wait(60)

    def hear(told: Any) -> None:
        if told.step is not None:
            seen.append(told)
            heard.set()

    monkeypatch.setattr(school.engine, "make", make)
    engine = school.visitor("anna")
    study = engine.study(engine.offer().first)
    engine.make(study, school.runs / "anna" / "run", ["one"], hear, CancelToken())
    step = seen[0].step
    assert (step.done, step.total, [t.id for t in step.trials]) == (3, 20, ["one"])
    assert np.array_equal(step.preview(0), looks[0])
    two = Order("anna", study, Path(), ["a", "b"], 2)
    school.server._look(two, SimpleNamespace(done=1, total=2, preview=lambda place: looks[place]))
    assert two.step == (1, 2) and two.look is None, "a sweep shows its pictures as they are done"
    monkeypatch.setattr(school.server.turns, "waiting", lambda: True)
    one = Order("anna", study, Path(), ["a"], 1)
    school.server._look(one, SimpleNamespace(done=1, total=2, preview=lambda place: looks[place]))
    assert one.step == (1, 2) and one.look is None


def test_one_picture_does_not_wait_for_a_sweep(school: Class, monkeypatch: Any) -> None:
    monkeypatch.setattr(server, "TURN", 1)
    school.engine.gate.clear()
    seeds = list(range(1, 6))
    ends: list[str] = []
    told: dict[str, list[Any]] = {}

    def go(name: str, **axes: Any) -> None:
        told[name] = ask(school.visitor(name), school.runs / name / "run", **axes)
        ends.append(name)

    threads = []
    for name, axes in (("much", {"seed": seeds}), ("one", {})):
        threads.append(threading.Thread(target=go, args=(name,), kwargs=axes))
        threads[-1].start()
        while school.server.turns._at_work is None or (name == "one" and not waits(school)):
            time.sleep(0.01)
    time.sleep(3 * server.TELL_SECONDS)
    school.engine.gate.set()
    for thread in threads:
        thread.join(120)
    assert ends == ["one", "much"]
    assert told["one"][0].phase == "waiting for a turn, 1 before you"
    last = told["much"][-1]
    assert len(RunFolder.open(school.runs / "much" / "run").trial_ids()) == last.total == 5


def waits(school: Class) -> bool:
    """Whether a visitor waits for a turn."""
    return bool(school.server.turns._ring)


def test_a_sweep_is_stopped_while_it_waits_or_works(school: Class) -> None:
    school.engine.gate.clear()
    engine = school.visitor("stops")
    choice = engine.offer().first
    study = engine.study(choice, {"seed": [1, 2, 3]})
    cancel = CancelToken()
    threading.Timer(0.3, cancel.cancel).start()
    engine.make(study, school.runs / "stops" / "run", engine.asked(choice), print, cancel)
    school.engine.gate.set()
    assert cancel.cancelled and not (school.runs / "stops" / "run" / "study.yaml").exists()


def test_what_fails_is_said_to_the_visitor_and_the_class_goes_on(
    school: Class, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = school.visitor("ben")
    school.engine.fail_with = RuntimeError("out of paint")
    with pytest.raises(ClassroomError, match="out of paint"):
        ask(engine, school.runs / "ben" / "run")
    school.engine.fail_with = None
    with pytest.raises(ClassroomError, match="does not lie in"):
        ask(engine, school.runs / ".." / "elsewhere")
    secret = tmp_path / "secret.png"
    Image.new("RGB", (64, 64)).save(secret)
    with pytest.raises(ClassroomError, match="no source of this class"):
        ask(engine, school.runs / "ben" / "run", source=[str(secret)])
    choice = engine.offer().first
    hidden = replace(choice, more=json.dumps({"sources": [str(secret)]}))
    with pytest.raises(ClassroomError, match="no source of this class"):
        engine.preview(hidden)
    with pytest.raises(ClassroomError, match="no source of this class"):
        engine.preview(replace(choice, source=str(secret)))
    monkeypatch.chdir(school.runs)  # where the name of the secret would be that of a visitor's own
    study = engine.study(choice).model_copy(update={"sources": (secret.name,)})
    study._folder = tmp_path
    with pytest.raises(ClassroomError, match="no source of this class"):
        engine.make(study, school.runs / "ben" / "run", [], print, CancelToken())
    with pytest.raises(ValueError, match="shares one model"):
        engine.of_family("sd15")
    other = engine.study(replace(choice, more=json.dumps({"safety_checker": True})))
    with pytest.raises(ClassroomError, match="safety checker stay"):
        engine.make(other, school.runs / "ben" / "run", [], print, CancelToken())
    with monkeypatch.context() as lacking:
        lacking.setattr(school.engine, "to_download", lambda study: ("hub/large",))
        with pytest.raises(ClassroomError, match="hub/large would have to be downloaded"):
            ask(engine, school.runs / "ben" / "run")
    assert ask(engine, school.runs / "ben" / "run")


def test_nobody_without_the_key_is_let_in(school: Class, tmp_path: Path) -> None:
    from multiprocessing import AuthenticationError

    with pytest.raises(AuthenticationError):
        Client(school.server.address, authkey=b"another")
    over = VisitorEngine(str(tmp_path / "none"), KEY, "late", school.engine.family)
    with pytest.raises(ClassroomError, match="class is over"):
        ask(over, school.runs / "late")


def test_networks_read_pictures_for_visitors(school: Class) -> None:
    """What comes back is what the network said, an array or a list of arrays."""

    class Lent:
        def lend(self, names: Any) -> Any:
            both = {"depth": lambda x: x[..., 0] / 255, "lines": lambda x: [np.ones((2, 4))]}
            return {name: both[name] for name in names}

    school.engine.__dict__["networks"] = Lent()
    shared = visitor.ClassNetworks(["depth", "lines"], school.visitor("anna")._connect)
    pictures = np.full((1, 2, 2, 3), 255, np.uint8)
    networks = shared.lend(["depth", "lines"])
    assert np.array_equal(networks["depth"](pictures), np.ones((1, 2, 2)))
    (lines,) = networks["lines"](pictures)
    assert lines.shape == (2, 4)
    del school.engine.__dict__["networks"]


def test_a_visitors_process_loads_no_model(school: Class) -> None:
    code = (
        "import sys\n"
        "from workbench.classroom.visitor import visit\n"
        "bench = visit()\n"
        "bench.session.wait(60)\n"
        "assert bench.session.state.now.models.startswith('paperdoll'), bench.session.state.now\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'statsmodels'} & set(sys.modules)\n"
        "print('heavy', sorted(heavy))\n"
    )
    environment = os.environ | {
        visitor.ADDRESS: school.server.address,
        visitor.KEY: KEY.hex(),
        visitor.RUNS: str(school.runs),
        visitor.FAMILY: "paperdoll",
        "QUERY_STRING": "name=anna",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "heavy []", done.stdout + done.stderr


def test_the_stand_in_takes_what_the_engine_takes(school: Class) -> None:
    assert isinstance(school.engine, TinyEngine) and school.engine.of_family("sd15").family
