"""Writing the report: collect what it says, fill the template, put the file in place."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.atomic import check_target, write_atomic
from workbench.report.content import Content, collect
from workbench.store import RunFolder
from workbench.verify.stored import seal

if TYPE_CHECKING:
    from jinja2 import Environment

log = logging.getLogger(__name__)

TEMPLATE = "report.html.j2"
AIM_BYTES = 8 * 2**20


def write_report(run: RunFolder, path: str | Path, *, influence: bool = False) -> Path:
    """Write the report of a run as one self-contained HTML file and return its path.

    The file loads nothing from anywhere, runs no script but the explorer's own, and is written
    whole or not at all. It says what was measured so far, so it can be written while a run is still
    going on.

    Args:
        influence: with a section that says who is driving (see `workbench.influence`).

    Raises:
        StoreError: the run cannot be read, or nobody looked at who is driving. OSError: the file
            cannot be written.
    """
    path = Path(path)
    check_target(path)  # before the work
    data = render_report(run, influence=influence).encode("utf-8")
    if len(data) > AIM_BYTES:
        log.warning("%s has %.1f MB: the study is large", path, len(data) / 2**20)
    write_atomic(path, data)
    return path


def render_report(run: RunFolder, *, influence: bool = False) -> str:
    """Return the HTML text of the report of a run; `influence` as for `write_report`."""
    return seal(fill(collect(run, influence=influence)))


def fill(content: Content) -> str:
    """Return the HTML text for what a report says. Every value is escaped."""
    from workbench.explorer import policy, style

    template = _environment().get_template(TEMPLATE)
    return template.render(report=content, policy=policy(), explorer_style=style())


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("workbench", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
