"""What was seen on the way to one picture, as one file of the run folder."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from workbench.images import ImageError, decode_image, encode_png, fit_image_to
from workbench.influences.parts import INFLUENCES, PARTS
from workbench.store import RunFolder, StoreError, plain
from workbench.study import Trial
from workbench.study.jsontext import parse_json

FOLDER = "influence"
SCHEMA = 1
SO_FAR, SO_FAR_SIDE = "so far ", 256
_NAME = re.compile(r"([0-9a-f]{16})\.safetensors")


@dataclass(frozen=True, eq=False)
class Observation:
    """The way to one picture.

    facts: of its cell, as `store.cell_facts`. made_by: as in the record of a picture.
    times: the scheduler's time of each step, float64 (S,). products: of the parts at each step,
    float64 (S, 4, 4). maps: step (1 … S) -> float32 (3, h, w), the `INFLUENCES` on the latent.
    picture: uint8 H×W×3. words: word of the prompt -> the attention paid to it, float32 (2, h, w),
    with the control and without it; empty where none was seen. so_far: step -> what the picture
    looked like then, uint8 h×w×3, to be looked at and not to be measured; older files have none.
    """

    trial: Trial
    facts: Mapping[str, Any]
    made_by: Mapping[str, Any]
    times: np.ndarray
    products: np.ndarray
    maps: Mapping[int, np.ndarray]
    picture: np.ndarray
    words: Mapping[str, np.ndarray] = field(default_factory=dict)
    so_far: Mapping[int, np.ndarray] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """The bytes of its file, in the format of safetensors."""
        from safetensors.numpy import save

        about = {
            "schema": SCHEMA,
            "trial": self.trial.to_dict(),
            "facts": self.facts,
            "made_by": self.made_by,
            "words": list(self.words),
        }
        text = json.dumps(plain(about), allow_nan=False).encode()
        steps = sorted(self.maps)
        words = {"words": np.stack(list(self.words.values()))} if self.words else {}
        so_far = {f"{SO_FAR}{n}": _webp(self.so_far[n]) for n in sorted(self.so_far)}
        return save(
            words
            | so_far
            | {
                "about": np.frombuffer(text, np.uint8),
                "times": self.times,
                "products": self.products,
                "map_steps": np.array(steps, np.int64),
                "maps": np.stack([self.maps[step] for step in steps]),
                "picture": np.frombuffer(encode_png(self.picture), np.uint8),
            }
        )

    @classmethod
    def decoded(cls, data: bytes) -> Observation:
        """The inverse of `encoded`; StoreError for anything else."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            return cls._checked(load(data))
        except (ValueError, KeyError, TypeError, SafetensorError, ImageError) as error:
            raise StoreError(f"it is damaged ({type(error).__name__}: {error})") from error

    @classmethod
    def _checked(cls, found: Mapping[str, np.ndarray]) -> Observation:
        about = parse_json(found["about"].tobytes())
        if about["schema"] != SCHEMA:
            raise ValueError(f"schema {about['schema']}, this version reads {SCHEMA}")
        times, products = found["times"], found["products"]
        steps, maps = found["map_steps"], found["maps"]
        words = list(map(str, about.get("words", ())))
        paid = found["words"] if words else np.zeros((0, 2, 1, 1), np.float32)
        fits = (
            times.ndim == 1
            and products.shape == (*times.shape, len(PARTS), len(PARTS))
            and products.dtype == np.float64
        )
        fits &= maps.ndim == 4 and maps.shape[:2] == (*steps.shape, len(INFLUENCES))
        fits &= paid.ndim == 4 and paid.shape[:2] == (len(words), 2)
        if not fits or not np.isfinite(products).all():
            raise ValueError("its numbers do not fit together")
        return cls(
            trial=Trial.from_dict(about["trial"]),
            facts=dict(about["facts"]),
            made_by=dict(about["made_by"]),
            times=times,
            products=products,
            maps={int(step): one for step, one in zip(steps, maps, strict=True)},
            picture=decode_image(found["picture"].tobytes(), name="its picture"),
            words=dict(zip(words, paid, strict=True)),
            so_far={
                int(name.removeprefix(SO_FAR)): decode_image(
                    data.tobytes(), name="a picture so far"
                )
                for name, data in found.items()
                if name.startswith(SO_FAR)
            },
        )


def _webp(picture: np.ndarray) -> np.ndarray:
    """A picture so far as the bytes of a small file, uint8."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(_small(picture)).save(buffer, format="WEBP", quality=80, method=4)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def _small(picture: np.ndarray) -> np.ndarray:
    if max(picture.shape[:2]) <= SO_FAR_SIDE:
        return picture
    return fit_image_to(picture, (SO_FAR_SIDE, SO_FAR_SIDE))


def write_observation(run: RunFolder, observation: Observation) -> None:
    """Put one way into the run folder; an older one of the same trial is replaced."""
    run.write_file(f"{FOLDER}/{observation.trial.id}.safetensors", observation.encoded())


def read_observations(run: RunFolder) -> tuple[dict[str, Observation], dict[str, str]]:
    """Trial id -> what was seen on its way; and trial id -> why its file cannot be used."""
    found: dict[str, Observation] = {}
    damaged: dict[str, str] = {}
    for trial, path in _files(run):
        try:
            one = Observation.decoded(run.contents(path) or b"")
            if one.trial.id != trial:
                raise StoreError("it belongs to another trial")
            found[trial] = one
        except StoreError as error:
            damaged[trial] = str(error)
    return found, damaged


def stamps(run: RunFolder) -> tuple[tuple[str, int, int], ...]:
    """What tells the files of a run's observations from earlier ones, without reading them."""
    found = []
    for trial, path in _files(run):
        with suppress(OSError):  # it was replaced just now
            stat = path.stat()
            found.append((trial, stat.st_mtime_ns, stat.st_ino))
    return tuple(found)


def _files(run: RunFolder) -> Iterator[tuple[str, Path]]:
    """Trial id and file of each observation, in their order."""
    folder = run.path / FOLDER
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if (name := _NAME.fullmatch(path.name)) is not None:
            yield name[1], path
