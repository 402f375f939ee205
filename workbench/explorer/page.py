"""The explorer as one HTML file that needs nothing else: no kernel, no server, no network."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from html import escape
from pathlib import Path

from workbench.explorer.pictures import QUALITY
from workbench.explorer.view import View

HERE = Path(__file__).parent
EXPORT = "\nexport default { render };\n"


def explorer_page(view: View) -> str:
    """An HTML file with the explorer's script, its data and its pictures (WebP) inside."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy()}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(view.title)}</title>\n<style>body {{ margin: 0 }}\n{style()}</style>\n"
        f'</head>\n<body class="wbx-page">\n{explorer_block(view)}\n</body>\n</html>\n'
    )


def explorer_block(view: View, quality: int = QUALITY) -> str:
    """The explorer as a part of a page: its place, data and script; the style is `style()`.

    Args:
        quality: of its pictures, as WebP counts it, to 100.
    """
    files = dict(view.pictures.files(view.shown.pictures, view.side, quality))
    images = [
        base64.b64encode(files[key]).decode("ascii") if key in files else None
        for key in view.shown.pictures
    ]
    values = {"explorer-data": view.shown.data, "explorer-images": images}
    inside = "".join(
        f'<script type="application/json" id="{name}">{json_text(value)}</script>\n'
        for name, value in values.items()
    )
    return f'<div id="explorer"></div>\n{inside}<script type="module">\n{script()}{START}</script>'


START = """
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const inside = { data: read("explorer-data"), images: read("explorer-images") };
render({ model: { get: (name) => inside[name] }, el: document.getElementById("explorer") });
"""


def program() -> str:
    """The one script of a page: the module, and what starts it on the data of the page."""
    return f"\n{script()}{START}"


@cache
def policy() -> str:
    """The content security policy of a page with an explorer: nothing is loaded, and no script runs
    but its own, which is known by its hash."""
    own = base64.b64encode(hashlib.sha256(program().encode("utf-8")).digest()).decode("ascii")
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{own}'"
    )


def json_text(value: object) -> str:
    """JSON that can stand in a script element: it holds no "<", so none can end it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


@cache
def module() -> str:
    """The explorer's ES module, as a notebook loads it."""
    return (HERE / "explorer.js").read_text("utf-8")


@cache
def style() -> str:
    """The explorer's style sheet."""
    return (HERE / "explorer.css").read_text("utf-8")


def script() -> str:
    """The module without its export, to stand in a page."""
    whole = module()
    if not whole.endswith(EXPORT):
        raise ValueError("explorer.js must end with its export")
    return whole.removesuffix(EXPORT)
