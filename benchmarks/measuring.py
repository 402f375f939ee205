"""How long does it take to measure a picture? Seconds for each control type, without the networks.

    python benchmarks/measuring.py [--sizes 512 1024] [--rounds 3] [--controls canny hed ...]
        [--drawing]

The photographs of data/sources are brought to each size; each one's map is compared with that of
its copy as a JPEG of quality 30, which is the hard case for pairing edges: nearly everything has a
partner, and a few pixels must make others change theirs. On photographs the answers of the embedded
judge mean little, but they are as dense as others. Columns: the share of the map that is drawn;
making the map, the answer of a network given; all metrics of two maps, mean over the photographs
and the slowest of them; the one metric that stands for adherence; all metrics on the clock, with
the map where no network makes it, one picture after the other and as a sweep reads them, several at
once. Seconds are processor time but for those two, always the least of the rounds.

--drawing also times one denoising step with a ControlNet of the shape of Stable Diffusion 1.5 (860
and 361 million weights, all alike, float32) at 512 px with guidance, which is two pictures at once,
on all processors. 20 such steps make a picture; the VAE is left out. It prints which share of a
sweep is drawing: 20 steps against 20 steps and the measuring of one picture.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from workbench.controls import CONTROL_NAMES, Control, ControlMap, Networks, get_control
from workbench.families.judge import load_judge
from workbench.images import fit_image
from workbench.measuring.threads import at_once
from workbench.paths import data_dir

STEPS = 20
T = TypeVar("T")
NAMES = ("astronaut", "chelsea", "coffee", "rocket")


def main() -> None:
    """Read the command line and print a row for each control type and size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024], help="in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--controls", nargs="+", default=list(CONTROL_NAMES))
    parser.add_argument("--drawing", action="store_true", help="its share of a sweep, at 512 px")
    options = parser.parse_args()
    picture_seconds = STEPS * step_seconds() if options.drawing else 0.0
    networks = load_judge(data_dir() / "models" / "paperdoll" / "judge").networks()
    head = f"{'control':14}{'size':>6}{'drawn':>8}{'map':>8}{'all metrics':>14}{'slowest':>9}"
    print(f"{head}{'primary':>10}{'clock':>8}{'threads':>9}" + f"{'drawing':>10}" * options.drawing)
    for size in options.sizes:
        pictures = [photograph(name, size) for name in NAMES]
        copies = [jpeg(picture) for picture in pictures]
        for name in options.controls:
            control = get_control(name)
            settings = control.settings()
            lent = {need: Remembering(networks[need]) for need in control.needs_for(settings)}
            maps = control.extract([*pictures, *copies], settings, lent)
            again = ([*pictures, *copies], settings, lent)
            making = seconds(control.extract, again, options.rounds) / len(again[0])
            wanted, got = maps[: len(pictures)], maps[len(pictures) :]
            pairs = [(g, w, settings) for g, w in zip(got, wanted, strict=True)]
            everything = [seconds(control.compare, each, options.rounds) for each in pairs]
            primary = [seconds(control.agreement, each, options.rounds) for each in pairs]
            read = partial(read_one, control, settings, lent)
            triples = list(zip(copies, got, wanted, strict=True))
            singly, threaded = clock(read, triples, size * size, options.rounds)
            drawn = np.mean([(made.picture > 127).any(axis=2).mean() for made in wanted])
            print(
                f"{name:14}{size:6}{drawn:8.1%}{making:8.3f}{np.mean(everything):14.3f}"
                f"{max(everything):9.3f}{np.mean(primary):10.3f}{singly:8.3f}{threaded:9.3f}",
                end="" if options.drawing and size == 512 else "\n",
                flush=True,
            )
            if options.drawing and size == 512:
                whole = picture_seconds + making + float(np.mean(everything))
                print(f"{picture_seconds / whole:10.2%}", flush=True)


class Remembering:
    """A network that answers the same pictures at once when asked again."""

    def __init__(self, network: Callable[[np.ndarray], np.ndarray]) -> None:
        self._network = network
        self._answer: np.ndarray | None = None

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        if self._answer is None:
            self._answer = self._network(pictures)
        return self._answer


def step_seconds() -> float:
    """Wall seconds of one step at 512 px with guidance and a ControlNet, as SD 1.5 has it."""
    import torch
    from diffusers import ControlNetModel, UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
        net = ControlNetModel.from_unet(unet, load_weights_from_unet=False)
    for model in (unet, net):
        model.to_empty(device="cpu").eval().requires_grad_(False)
        for weights in model.parameters():
            weights.fill_(0.01)
    torch.set_num_threads(os.cpu_count() or 1)
    latents, text = torch.zeros(2, 4, 64, 64), torch.zeros(2, 77, 768)
    with torch.inference_mode():
        began = time.perf_counter()
        down, mid = net(latents, 1, text, torch.zeros(2, 3, 512, 512), return_dict=False)
        unet(
            latents,
            1,
            text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
        )
        spent = time.perf_counter() - began
    count = sum(weights.numel() for model in (unet, net) for weights in model.parameters())
    print(
        f"one step of {count / 1e6:.0f} million weights: {spent:.1f} s; a picture {STEPS} of them"
    )
    return spent


def photograph(name: str, size: int) -> np.ndarray:
    """One of the photographs that come along, uint8 size×size×3."""
    picture = Image.open(data_dir() / "sources" / f"{name}.png").convert("RGB")
    return fit_image(np.asarray(picture), size)


def jpeg(picture: np.ndarray) -> np.ndarray:
    """The picture as a JPEG of quality 30 shows it."""
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=30)
    return np.asarray(Image.open(data).convert("RGB"))


def read_one(
    control: Control[Any],
    settings: Any,
    lent: Networks,
    triple: tuple[np.ndarray, ControlMap, ControlMap],
) -> None:
    """Make a picture's map, unless a network does, and compare it with the wanted one."""
    picture, got, wanted = triple
    if not lent:
        (got,) = control.extract([picture], settings, {})
    control.compare(got, wanted, settings)


def clock(
    read: Callable[[T], object], items: list[T], pixels: int, rounds: int
) -> tuple[float, float]:
    """Wall seconds for each item, read one after the other and at once; taken in turns."""
    spent: list[float] = []
    for _ in range(rounds):
        for large in (0, pixels):
            began = time.perf_counter()
            at_once(read, items, large)
            spent.append((time.perf_counter() - began) / len(items))
    return min(spent[::2]), min(spent[1::2])


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
