"""What README and guides show can be typed as it stands.

Protects a newcomer from commands, options, study keys and imports that are no longer there.
"""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest
import yaml
from click import Context
from typer.main import get_command

from workbench.cli import app
from workbench.families import load_catalogue
from workbench.study import Study

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
IDS = [page.relative_to(ROOT).as_posix() for page in PAGES]
COMMANDS = get_command(app)
SHELL = ("", "sh", "bash", "shell")


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced code blocks of a page in these languages."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    return [text for language, text in fences if language in languages]


def shell_lines(page: Path, program: str) -> list[list[str]]:
    """The arguments of every call of a program, in fenced and in indented blocks."""
    text = "\n".join(blocks(page, *SHELL))
    text += "\n".join(re.findall(r"^ {4}(\S.*)$", page.read_text("utf-8"), re.M))
    calls = re.findall(rf"^ *{program} +(.*)$", text.replace("\\\n", " "), re.M)
    return [shlex.split(call, comments=True) for call in calls]


def parse(arguments: list[str]) -> None:
    """Parse a command line as the program would, without running it; raises for a mistake."""
    command, name = COMMANDS, "workbench"
    while hasattr(command, "commands") and arguments and not arguments[0].startswith("-"):
        context = Context(command, info_name=name)
        name, command, arguments = command.resolve_command(context, list(arguments))
    command.make_context(name, list(arguments))


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_exist_with_their_options(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for arguments in shell_lines(page, "workbench"):
        try:
            parse(arguments)
        except Exception as error:
            pytest.fail(f"workbench {shlex.join(arguments)}: {error}")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("run study.yaml --no-such-option", "--no-such-option"),
        ("no-such-command", "no-such-command"),
        ("compare a.png", "Missing"),
    ],
)
def test_a_mistaken_command_is_noticed(call: str, said: str) -> None:
    with pytest.raises(Exception, match=said):
        parse(call.split())


def test_the_page_on_commands_names_them_all() -> None:
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    assert [name for name in COMMANDS.commands if f"`workbench {name}" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_targets_of_make_exist(page: Path) -> None:
    rules = (ROOT / "Makefile").read_text("utf-8")
    targets = re.findall(r"^`{0,3}make ([a-z-]+)|`make ([a-z-]+)", page.read_text("utf-8"), re.M)
    for target in {name for pair in targets for name in pair if name}:
        assert re.search(rf"^{target}:", rules, re.M), target


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_studies_and_catalogues_are_valid(page: Path, tmp_path: Path) -> None:
    """A whole study as it stands, a part of one put into the demo; and catalogues of families."""
    folder = ROOT / "data" / "studies"
    demo = yaml.safe_load((folder / "demo.yaml").read_text("utf-8"))
    for text in blocks(page, "yaml"):
        data = yaml.safe_load(text)
        if "families" in data:
            (tmp_path / "families.yaml").write_text(text, "utf-8")
            assert load_catalogue(tmp_path / "families.yaml")
            continue
        Study.from_dict(data if "name" in data else {**demo, **data}, folder=folder)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_files_that_are_named_exist(page: Path) -> None:
    """Links are checked when the site is built, those of the README here."""
    text = page.read_text("utf-8")
    named = re.findall(r"`((?:data|notebooks|tests|benchmarks|workbench)/[\w/.-]+)`", text)
    if page.name == "README.md":
        named += [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    lost = [name for name in named if not (ROOT / name).exists()]
    assert not lost


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_python_compiles(page: Path) -> None:
    for text in blocks(page, "python"):
        compile(text, str(page), "exec")


def test_the_map_in_the_readme_is_that_of_the_code() -> None:
    rules = ast.parse((ROOT / "tests" / "test_house.py").read_text("utf-8"))
    (floors,) = (
        ast.literal_eval(node.value)
        for node in rules.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLOORS"
    )
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", (ROOT / "README.md").read_text("utf-8"), re.M)
    drawn = {name: int(floor) for floor, rooms in rows for name in re.findall(r"`(\w+)`", rooms)}
    assert drawn == floors
