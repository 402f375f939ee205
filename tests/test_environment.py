"""The two ways to install, conda and pip, must ask for the same packages.

Protects environment.yml from drifting away from pyproject.toml, and the wheel from losing data.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = {
    "accelerate": "diffusers loads models with it",
    "controlnet-aux": "the annotators of photographs, imported one by one by name",
    "anywidget": "the app's widgets",
    "ipykernel": "runs the notebooks",
    "jupyterlab": "make lab",
    "torchvision": "image processors of transformers",
}
"""Packages that are needed, but not imported by name."""
BROUGHT = {
    "dask": "by distributed",
    "dask_cuda": "by the user, for clusters of several GPUs",
    "traitlets": "by ipywidgets",
    "typing_extensions": "by pydantic",
}
"""Packages that are imported, but not required by name."""
NAMED = {
    *("jupyterlab", "ipywidgets", "torch", "diffusers", "transformers", "controlnet-aux"),
    *("matplotlib", "pandas", "torchmetrics", "pytest"),
}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def requirements() -> list[str]:
    """Every requirement of the project, those of the extras included."""
    info = project()
    extras = info["optional-dependencies"].values()
    return [*info["dependencies"], *(line for extra in extras for line in extra)]


def environment() -> tuple[list[str], list[str]]:
    """(conda's lines, pip's lines) of environment.yml."""
    lines = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    (pip,) = [line["pip"] for line in lines if isinstance(line, dict)]
    return [line for line in lines if isinstance(line, str)], pip


def name_of(requirement: str) -> str:
    return re.split(r"[\s<>=!~\[;]", requirement, maxsplit=1)[0].lower()


def test_conda_brings_the_python_the_project_asks_for() -> None:
    conda, _ = environment()
    assert f"python{project()['requires-python']}" in conda


def test_both_files_give_the_same_bounds() -> None:
    known = {name_of(line): line for line in requirements()}
    _, pip = environment()
    listed = {name_of(line): line for line in pip if not line.startswith("-")}
    assert set(listed) >= NAMED
    assert {name: known.get(name) for name in listed} == listed


def test_conda_installs_the_project_with_all_extras() -> None:
    _, pip = environment()
    (editable,) = [line for line in pip if line.startswith("-")]
    wanted = ",".join(sorted(project()["optional-dependencies"], reverse=True))
    assert editable == f"--editable .[{wanted}]"


def test_every_requirement_has_a_lower_bound() -> None:
    assert [line for line in requirements() if ">=" not in line] == []


def imported() -> set[str]:
    """Top-level names that the package imports from elsewhere, at any depth of nesting."""
    found = set()
    for path in (ROOT / "workbench").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"workbench"}


def test_what_is_required_is_used_and_what_is_used_is_required() -> None:
    providers = {
        name: {provider.lower().replace("_", "-") for provider in found}
        for name, found in packages_distributions().items()
    }
    used = {name: providers.get(name, set()) for name in imported() - set(BROUGHT)}
    asked = {name_of(line) for line in requirements()}
    assert {name for name, found in used.items() if not found & asked} == set()
    needed = {name_of(line) for line in project()["dependencies"]}
    assert needed - set().union(*used.values()) <= set(PLUGINS)


def tracked_files() -> list[str]:
    """The files that git knows and that are there, as paths from the root."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in a wheel built from the files that git knows, with small stand-ins for weights."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in tracked_files():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        big = name.endswith(".safetensors")
        target.write_bytes(b"" if big else (ROOT / name).read_bytes())
    (folder / "data" / "models").mkdir(parents=True, exist_ok=True)
    (folder / "data" / "models" / "probe.json").write_text("{}")
    code = "import hatchling.build as b; print(b.build_wheel('.'))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, text=True
    )
    with zipfile.ZipFile(folder / done.stdout.split()[-1]) as wheel:
        return set(wheel.namelist())


def test_the_wheel_carries_data_and_templates(wheel_names: set[str]) -> None:
    assert "workbench/_data/models/probe.json" in wheel_names
    assert "workbench/cli/__init__.py" in wheel_names
    other = [name for name in tracked_files() if name.startswith("workbench/")]
    assert set(other) <= wheel_names


def test_the_wheel_carries_nothing_else(wheel_names: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"workbench"}
