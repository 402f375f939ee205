"""Make the pictures of the demo study that README and guides show, from its run.

    python docs/pictures.py runs/demo

writes docs/images/tradeoff.png and, of the explorer, explorer.webp, which moves,
explorer-light.png and explorer-dark.png. It needs Chromium and the packages of `make setup-dev`.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

import workbench as wb

IMAGES = Path(__file__).with_name("images")
WIDTH, HEIGHT = 1280, 720
SHOWN = (960, 540)
BEGIN = {"Source": "scene 900006", "Seed": "1"}
WALK = ["scale"] * 4 + ["prompt"] * 2 + ["-scale"] * 4 + ["-prompt"] * 2
"""One step of a scrubber for each frame, forth and back, so that it ends where it began."""
SECONDS = 0.9


def main(folder: str) -> None:
    """Draw the trade-off of the run, open its explorer and take pictures of it."""
    run = wb.open_run(folder)
    run.plot("tradeoff").savefig(IMAGES / "tradeoff.png")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        file = run.page(Path(place) / "page.html")
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--headless", "--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(file.as_uri())
        page.get_by_role("tab", name="Depth").click()
        for label, value in BEGIN.items():
            page.get_by_label(label, exact=True).select_option(label=value)
        scrub(page, "scale", -9)
        frames = [look(page)]
        for step in WALK:
            name = step.removeprefix("-")
            # Longer prompts come last, and the walk begins with the full one.
            scrub(page, name, -1 if step in ("-scale", "prompt") else 1)
            frames.append(look(page))
        frames[0].save(
            IMAGES / "explorer.webp", save_all=True, append_images=frames[1:-1],
            duration=round(1000 * SECONDS), loop=0, quality=80, method=6,
        )  # fmt: skip
        scrub(page, "scale", 3)
        scrub(page, "prompt", -9)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=IMAGES / f"explorer-{scheme}.png")
        browser.close()


def scrub(page: Any, name: str, by: int) -> None:
    """Move a scrubber by so many steps, no farther than it goes."""
    label = {"scale": "Conditioning scale", "prompt": "Prompt length"}[name]
    slider = page.get_by_role("slider", name=label, exact=True)
    now, most = int(slider.input_value()), int(slider.get_attribute("max"))
    slider.fill(str(max(0, min(most, now + by))))


def look(page: Any) -> Image.Image:
    """The page as it is now, as large as it is shown."""
    shot = Image.open(io.BytesIO(page.screenshot()), formats=("PNG",)).convert("RGB")
    return shot.resize(SHOWN, Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main(sys.argv[1])
