"""Small pieces of HTML for the app. Every text from outside goes through `escape`."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape

from workbench.app.state import Work
from workbench.controls.base import LegendEntry
from workbench.formats import duration

STYLE = """<style>
.wb-still, .jp-OutputArea-child:has(> .jp-OutputArea-output .wb-still) {display: none}
.wb-app .widget-html-content {line-height: 1.4}
.wb-app .wbx {height: clamp(480px, 100vh - 192px, 600px); scroll-margin: 40px 0 4px;
  --tile: clamp(100px, 15vh, 158px)}
.wb-app .wb-setup .jp-widget-tabContents, .wb-app .wb-setup .widget-tab-contents {padding: 6px}
.wb-app .wb-setup .lm-TabBar-tabLabel {color: var(--jp-ui-font-color1)}
.wb-app .wb-picture {margin: 0}
.wb-app .wb-picture div {width: 116px; height: 116px; background: var(--jp-layout-color2)}
.wb-app .wb-picture img {width: 116px; height: 116px; object-fit: contain}
.wb-app .wb-stale {opacity: .4}
.wb-app .wb-presets button {width: auto; height: auto; line-height: 1.7; padding: 0 7px}
.wb-app .wb-warns {opacity: 1; font-weight: 600}
.wb-app .wb-paths {overflow-wrap: anywhere}
.wb-app .wb-compared table {border-collapse: collapse; margin: 6px 0}
.wb-app .wb-compared :is(th, td) {padding: 1px 8px; text-align: left; vertical-align: top;
  overflow-wrap: anywhere; max-width: 300px}
.wb-app .wb-compared img {display: block; max-width: 100%; max-height: 380px}
.wb-app .wb-compared pre {max-height: 300px; overflow: auto}
.wb-app .wb-dark, [data-jp-theme-light="false"] .wb-app .wb-light {display: none !important}
[data-jp-theme-light="false"] .wb-app .wb-dark {display: block !important}
.wb-app .wb-quiet {opacity: .75; font-size: 12px}
.wb-app .jupyter-widget-Collapse {margin: 2px 0}
.wb-app textarea {font-family: var(--jp-code-font-family, monospace); font-size: 12px}
</style>"""


def caption(title: str, text: str = "") -> str:
    """A bold title over a line of text."""
    line = f"<br><span class='wb-quiet'>{escape(text)}</span>" if text else ""
    return f"<b>{escape(title)}</b>{line}"


def picture(png: bytes | None, name: str) -> str:
    """A small picture with its name below; an empty place without one."""
    data = "" if png is None else base64.b64encode(png).decode("ascii")
    shown = f'<img alt="{escape(name)}" src="data:image/png;base64,{data}">' if data else ""
    below = f"<figcaption>{escape(name)}</figcaption>"
    return f'<figure class="wb-picture"><div>{shown}</div>{below}</figure>'


def legend(entries: Sequence[LegendEntry]) -> str:
    """The colours of a map, each with its name."""
    return " ".join(
        f"<span style='white-space:nowrap'><span style='color:rgb{colour}'>■</span> "
        f"{escape(name)}</span>"
        for name, colour, _ in entries
    )


def note(text: str) -> str:
    """One line of plain text."""
    return f"<span dir='auto'>{escape(text)}</span>"


def progress_text(work: Work) -> str:
    """How far the work is, as plain text: "generating: 12 of 184 pictures, 2 min left"."""
    waiting = f" {len(work.queue)} more waiting." if work.queue else ""
    if not work.running:
        return f"{'Paused.' if work.held else ''}{waiting}".strip()
    if not work.total:
        return f"{work.phase} …{waiting}"
    unit = "MB" if work.phase == "downloading" else "pictures"
    text = f"{work.phase}: {work.done} of {work.total} {unit}"
    if work.steps:
        step = f"step {work.step} of {work.steps}"
        text = f"{work.phase}: {step}" if work.total == 1 else f"{text}, {step}"
    if not math.isnan(work.seconds_left):
        text += f", {duration(work.seconds_left)} left"
    return f"{text}.{waiting}"
