"""The two ways to install, conda and pip, must ask for the same packages.

Protects environment.yml from drifting away from pyproject.toml, and the wheels from losing data.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from dataclasses import dataclass
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
    "IPython": "by ipykernel",
    "dask": "by distributed",
    "dask_cuda": "by the user, for clusters of several GPUs",
    "mistune": "by nbconvert",
    "pydantic_core": "by pydantic",
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


@dataclass(frozen=True)
class Wheels:
    """The two wheels of a checkout, and the Python that they were installed for."""

    main: Path
    weights: Path
    python: Path

    def run(self, *command: str) -> str:
        """What a command of the installed package prints, in an empty folder."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "WORKBENCH"))}
        return subprocess.run(
            [self.python, *command], cwd=self.main.parent, check=True, capture_output=True,
            text=True, env=clean,
        ).stdout  # fmt: skip


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Wheels:
    """Wheels of the files that git knows, with empty stand-ins for weights, and both installed."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in tracked_files():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        big = name.endswith((".safetensors", ".webp"))
        target.write_bytes(b"" if big else (ROOT / name).read_bytes())
    place = tmp_path_factory.mktemp("elsewhere")
    code = "import sys, hatchling.build as b; print(b.build_wheel(sys.argv[1]))"
    built = [
        place
        / subprocess.run(
            [sys.executable, "-c", code, place],
            cwd=root,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()[-1]
        for root in (folder, folder / "data")
    ]
    venv.create(place / "venv", with_pip=False, symlinks=os.name != "nt")
    python = place / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", *built], check=True, cwd=place)
    (site,) = (path.parent for path in place.glob("venv/**/site-packages/workbench"))
    (site / "requirements.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return Wheels(*built, python)


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as opened:
        return set(opened.namelist())


def test_the_wheel_carries_code_studies_and_pictures(wheels: Wheels) -> None:
    apart = ("data/models/", "data/conflicts/", "data/pyproject.toml")
    asked = {name for name in tracked_files() if name.startswith("workbench/")}
    asked |= {
        f"workbench/_{name}"
        for name in tracked_files()
        if name.startswith("data/") and not name.startswith(apart)
    }
    assert {name for name in names_in(wheels.main) if ".dist-info/" not in name} == asked


def test_the_wheel_is_small(wheels: Wheels) -> None:
    assert wheels.main.stat().st_size < 5_000_000


def test_the_weights_are_a_package_of_their_own(wheels: Wheels) -> None:
    weights = [n for n in tracked_files() if n.startswith(("data/models/", "data/conflicts/"))]
    found = {name for name in names_in(wheels.weights) if ".dist-info/" not in name}
    assert found == {f"workbench/_{name}" for name in weights}


def test_both_work_from_any_folder(wheels: Wheels) -> None:
    code = "from workbench.paths import models_dir; print(*models_dir().iterdir())"
    (models,) = wheels.run("-c", code).split()
    assert Path(models).name == "paperdoll"
    assert Path(models).is_relative_to(wheels.main.parent)
    assert "demo" in wheels.run("-m", "workbench", "studies")
