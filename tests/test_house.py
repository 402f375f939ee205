"""The house rules: rooms import downwards only, and nobody brings in what does not belong.

Protects the one-way flow study → trials → samples → measurements → report, the command line from
growing a dependency on widgets, and servers and worker threads from pyplot's global state.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "workbench"
FILES = sorted(PACKAGE.rglob("*.py"))

# A room imports only from rooms with a smaller number.
FLOORS = {
    "atomic": 0,
    "formats": 0,
    "versions": 0,
    "paths": 0,
    "dtypes": 0,
    "samplers": 0,
    "imageguard": 0,
    "yamltext": 0,
    "cancel": 0,
    "threads": 0,
    "images": 1,
    "prompts": 1,
    "metrics": 1,
    "paperdoll": 1,
    "controls": 2,
    "families": 3,
    "study": 4,
    "generation": 5,
    "measuring": 5,
    "store": 5,
    "sweep": 6,
    "analysis": 6,
    "training": 6,
    "plots": 7,
    "verify": 7,
    "live": 7,
    "pictures": 7,
    "judging": 7,
    "scoring": 7,
    "explorer": 8,
    "influences": 8,
    "lessons": 8,
    "report": 9,
    "runs": 10,
    "app": 11,
    "classroom": 12,
    "cli": 13,
}
WIDGETS = {"ipywidgets", "plotly", "anywidget", "IPython", "traitlets"}
PICKLES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve"}


def room(path: Path) -> str:
    """The room a file belongs to: its first folder, or its own name."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path, tree: ast.AST | None = None) -> Iterator[tuple[str, int]]:
    """Every (absolute dotted name, line) that a file imports, at any depth of nesting."""
    package = ("workbench", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(tree or ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            head = package[: len(package) + 1 - node.level] if node.level else ()
            base = ".".join([*head, *([node.module] if node.module else [])])
            yield base, node.lineno
            for alias in node.names:
                yield f"{base}.{alias.name}", node.lineno


def upward_imports(path: Path, tree: ast.AST | None = None) -> list[str]:
    """Imports of the package's own rooms that are not on a lower floor."""
    own = room(path)
    wrong = []
    for name, line in imports(path, tree):
        parts = name.split(".")
        if parts[0] != "workbench" or len(parts) < 2:
            continue
        other = parts[1]
        if other == own or other not in FLOORS:
            continue
        if FLOORS[other] >= FLOORS[own]:
            wrong.append(f"{path.relative_to(PACKAGE)}:{line} imports workbench.{other}")
    return wrong


def module(path: Path) -> str:
    """The dotted name of a file of the package."""
    parts = ("workbench", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


def import_graph(files: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """For each module the modules of the package that it imports.

    Args:
        files: module -> the dotted names that it imports. A name in a module that is no module
            itself (a function) stands for the module.
    """
    graph = {}
    for name, found in files.items():
        names = set(found)
        # `from a import b` names a and a.b: what is meant is a.b, or a if that is no module.
        meant = names - {other.rpartition(".")[0] for other in names}
        modules = {other if other in files else other.rpartition(".")[0] for other in meant}
        graph[name] = modules & files.keys() - {name}
    return graph


def circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Groups of modules that import each other, straight or over others."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        left = list(graph[start])
        while left:
            if (name := left.pop()) not in seen:
                seen.add(name)
                left += graph.get(name, ())
        reached[start] = seen
    groups = {
        frozenset(other for other in reached[name] if name in reached[other])
        for name in graph
        if name in reached[name]
    }
    return sorted(sorted(group) for group in groups)


def test_no_files_import_each_other() -> None:
    """At any depth: in functions and for type checkers too."""
    files = {module(path): [name for name, _ in imports(path)] for path in FILES}
    assert len(files) > 100
    found = [group for group in circles(import_graph(files)) if "sweep" not in group[0]]
    assert not found, "\n".join(" <-> ".join(group) for group in found)


def test_circles_are_found() -> None:
    graph = import_graph(
        {
            "w.a": ["w", "w.b", "w.b.function", "json"],
            "w.b": ["w.c.function"],
            "w.c": ["w.a"],
            "w.d": ["w.a", "w.d.own"],
            "w": [],
        }
    )
    assert circles(graph) == [["w.a", "w.b", "w.c"]]


def test_every_room_has_a_floor() -> None:
    rooms = {room(path) for path in FILES} - {"__init__", "__main__"}  # which is a way into `cli`
    assert rooms <= set(FLOORS), f"give these a floor: {sorted(rooms - set(FLOORS))}"


def test_rooms_import_only_from_floors_below() -> None:
    wrong = [line for path in FILES if room(path) in FLOORS for line in upward_imports(path)]
    assert not wrong, "\n".join(wrong)


def test_the_package_imports_one_small_room_at_import_time() -> None:
    """The face loads a room when a name of it is looked up, so that `import workbench` is fast.

    How threads wait must be chosen before anything loads torch, and its room imports nothing.
    """
    code = "import sys, workbench\nprint([n for n in sys.modules if n.startswith('workbench.')])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "['workbench.threads']"


def test_widgets_stay_in_the_app() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line} imports {name}"
        for path in FILES
        if room(path) != "app"
        for name, line in imports(path)
        if name.partition(".")[0] in WIDGETS
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("file", ["state.py", "worker.py", "session.py", "engine.py", "easel.py"])
def test_the_apps_core_knows_no_widget(file: str) -> None:
    path = PACKAGE / "app" / file
    wrong = [name for name, _ in imports(path) if name.partition(".")[0] in WIDGETS]
    assert not wrong


def test_figures_are_drawn_without_pyplot() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in FILES
        for name, line in imports(path)
        if name in {"pylab", "matplotlib.pylab"} or name.startswith("matplotlib.pyplot")
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_is_pickled() -> None:
    wrong = []
    for path in FILES:
        tree = ast.parse(path.read_text("utf-8"))
        found = {name.partition(".")[0] for name, _ in imports(path, tree)} & PICKLES
        wrong += [f"{path.relative_to(PACKAGE)} imports {name}" for name in sorted(found)]
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            call = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            where = f"{path.relative_to(PACKAGE)}:{node.lineno} {call}"
            if call == "torch.load" and given.get("weights_only") != "True":
                wrong.append(f"{where} without weights_only=True")
            if call in {"np.load", "numpy.load"} and given.get("allow_pickle") == "True":
                wrong.append(f"{where} with allow_pickle")
            if node.func.attr in {"to_pickle", "read_pickle"}:
                wrong.append(where)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("file", "code", "count"),
    [
        ("images.py", "from workbench.controls import get_control", 1),
        ("images.py", "def f():\n    import workbench.study.spec", 1),
        ("study/plan.py", "from workbench import generation", 1),
        ("study/plan.py", "from ..sweep import run_study", 1),
        ("study/plan.py", "from . import spec\nfrom workbench.images import read_image", 0),
        ("measuring/__init__.py", "from workbench.store import RunFolder", 1),
    ],
)
def test_the_floors_test_finds_wrong_imports(file: str, code: str, count: int) -> None:
    found = upward_imports(PACKAGE / file, ast.parse(code))
    assert len(set(found)) == count


def test_files_from_outside_come_in_by_guarded_doors_only() -> None:
    """`Image.open` with an allow-list, no archives, YAML by the safe loader."""
    wrong = []
    for path in FILES:
        tree = ast.parse(path.read_text("utf-8"))
        found = {name.partition(".")[0] for name, _ in imports(path, tree)}
        wrong += [f"{path}: {name}" for name in found & {"zipfile", "tarfile"}]
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            call = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if call.endswith("Image.open") and "formats" not in given:
                wrong.append(f"{path}:{node.lineno} opens pictures of any kind")
            if call in {"yaml.load", "yaml.parse", "yaml.compose", "yaml.full_load"}:
                readers = {"_StrictLoader", "_AliasLoader", "_Base", "yaml.SafeLoader"}
                safe = set(given.get("Loader", "").split()) - {"if", "aliases", "else"}
                wrong += [] if safe and safe <= readers else [f"{path}:{node.lineno} {call}"]
            if call.endswith(("unsafe_load", "imread", "unpack_archive", "extractall")):
                wrong.append(f"{path}:{node.lineno} {call}")
    assert not wrong, "\n".join(wrong)
