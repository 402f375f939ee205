"""How long does it take to compare two control maps? Seconds for a picture, without the networks.

    python benchmarks/measuring.py [--sizes 512 1024] [--rounds 3] [--controls canny hed ...]

The photographs of data/sources are brought to each size; each one's map is compared with that of
its copy as a JPEG of quality 30, which is the hard case for pairing edges: nearly everything has a
partner, and a few pixels must make others change theirs. Maps are extracted beforehand; on
photographs those of the embedded judge mean little, but they are as dense as others. Seconds are
processor time, the least of the rounds: mean over the photographs, and the slowest of them.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from workbench.controls import CONTROL_NAMES, get_control
from workbench.families.judge import load_judge
from workbench.images import fit_image
from workbench.paths import data_dir

NAMES = ("astronaut", "chelsea", "coffee", "rocket")


def main() -> None:
    """Read the command line and print a row for each control type and size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024], help="in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--controls", nargs="+", default=list(CONTROL_NAMES))
    options = parser.parse_args()
    networks = load_judge(data_dir() / "models" / "paperdoll" / "judge").networks()
    print(f"{'control':14}{'size':>6}{'drawn':>8}{'all metrics':>14}{'slowest':>9}{'primary':>10}")
    for size in options.sizes:
        pictures = [photograph(name, size) for name in NAMES]
        copies = [jpeg(picture) for picture in pictures]
        for name in options.controls:
            control = get_control(name)
            settings = control.settings()
            maps = control.extract([*pictures, *copies], settings, networks)
            wanted, got = maps[: len(pictures)], maps[len(pictures) :]
            triples = [(g, w, settings) for g, w in zip(got, wanted, strict=True)]
            everything = [seconds(control.compare, each, options.rounds) for each in triples]
            primary = [seconds(control.agreement, each, options.rounds) for each in triples]
            drawn = np.mean([(made.picture > 127).any(axis=2).mean() for made in wanted])
            print(
                f"{name:14}{size:6}{drawn:8.1%}{np.mean(everything):14.3f}{max(everything):9.3f}"
                f"{np.mean(primary):10.3f}",
                flush=True,
            )


def photograph(name: str, size: int) -> np.ndarray:
    """One of the photographs that come along, uint8 size×size×3."""
    picture = Image.open(data_dir() / "sources" / f"{name}.png").convert("RGB")
    return fit_image(np.asarray(picture), size)


def jpeg(picture: np.ndarray) -> np.ndarray:
    """The picture as a JPEG of quality 30 shows it."""
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=30)
    return np.asarray(Image.open(data).convert("RGB"))


def seconds(compare: Callable[..., object], arguments: tuple[object, ...], rounds: int) -> float:
    """Processor seconds of one comparison, the least of some."""
    spent = []
    for _ in range(rounds):
        began = time.process_time()
        compare(*arguments)
        spent.append(time.process_time() - began)
    return min(spent)


if __name__ == "__main__":
    main()
