"""What a ControlNet learns from: pictures with captions and control maps, read once and kept."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workbench.atomic import write_atomic
from workbench.controls import Control, get_control, map_warning
from workbench.families.manager import ModelManager
from workbench.families.runtime import encode, scaled
from workbench.images import SUFFIXES, fit_image, read_image, sha256_image
from workbench.paperdoll import render, sample_scene
from workbench.study import SourceImage
from workbench.study.canonical import short_hash
from workbench.study.jsontext import parse_json
from workbench.training.captions import caption
from workbench.training.data import TRAIN_SEEDS
from workbench.training.watch import WATCH_SEEDS

PAPERDOLL = "paperdoll"
"""In place of a folder: rendered scenes of the embedded world with their tags."""
FEWEST = 8
"""Pictures that a folder must hold."""
HELD = 8
"""So many pictures are usually kept from training, to look at what was learnt; of a folder at most
a quarter."""
INDEX = ("metadata.jsonl", "metadata.csv")
_CAPTIONS = ("text", "caption", "prompt")
_MAPS = ("conditioning", "conditioning_image", "conditioning_file_name", "map")
_MAX_TABLE_BYTES = 256 * 2**20
_SHOWN = 3

log = logging.getLogger(__name__)


class DataError(ValueError):
    """The pictures cannot be learnt from. The message is one sentence for the user."""


@dataclass(frozen=True)
class Example:
    """One picture: a file, or the seed of a scene; its caption, and its map where it is drawn."""

    name: str
    caption: str
    picture: Path | int
    drawn: Path | None = None

    @property
    def mark(self) -> str:
        """What tells it from others, and from itself after a change, without reading it."""
        files = [path for path in (self.picture, self.drawn) if isinstance(path, Path)]
        stamps = [(f.stat().st_size, f.stat().st_mtime_ns) for f in files]
        return short_hash([self.name, self.drawn and self.drawn.name, stamps])

    def read(self, size: int) -> np.ndarray:
        """The picture's largest centred square, uint8 size×size×3. Raises ImageError."""
        if isinstance(self.picture, int):
            return fit_image(render(sample_scene(self.picture)).rgb, size)
        return fit_image(read_image(self.picture), size)


def read_examples(
    data: str, scenes: int, seed: int, most: int = HELD
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Examples to learn from, and a few others to look at.

    Args:
        data: a folder of pictures with captions, or `PAPERDOLL`.
        scenes: how many scenes of the embedded world are learnt from.
        seed: decides which pictures of a folder are held back.
        most: how many others at most.

    Raises:
        DataError: no folder, too few pictures, or some without a caption.
    """
    if data == PAPERDOLL and not Path(data).is_dir():
        return _scenes(TRAIN_SEEDS[:scenes]), _scenes(WATCH_SEEDS[:most])
    found = _folder(Path(data))
    count = min(most, len(found) // 4)
    held = set(np.random.default_rng(seed).permutation(len(found))[:count].tolist())
    return (
        tuple(one for place, one in enumerate(found) if place not in held),
        tuple(one for place, one in enumerate(found) if place in held),
    )


def _scenes(seeds: Sequence[int]) -> tuple[Example, ...]:
    return tuple(
        Example(f"{PAPERDOLL}:{seed}", caption(sample_scene(seed).tags), seed) for seed in seeds
    )


def _folder(folder: Path) -> list[Example]:
    """Every picture of a folder that has a caption, by name."""
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder of pictures")
    index = next((folder / name for name in INDEX if (folder / name).is_file()), None)
    found = [*(_beside(folder) if index is None else _listed(index))]
    if len(found) < FEWEST:
        raise DataError(
            f"{folder}: there are {len(found)} pictures in it, and at least {FEWEST} are needed"
        )
    missing = [one.name for one in found if not one.caption]
    if missing:
        raise DataError(
            f"{folder}: {len(missing)} of {len(found)} pictures have no caption ({_few(missing)}): "
            "write metadata.jsonl with file_name and text in each line, or a .txt beside each"
        )
    drawn = sum(one.drawn is not None for one in found)
    if drawn not in (0, len(found)):
        raise DataError(f"{index}: only {drawn} of {len(found)} pictures have a conditioning map")
    return found


def _beside(folder: Path) -> Iterator[Example]:
    """Pictures of a folder and those below it, each with the text beside it."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            text = path.with_suffix(".txt")
            told = text.read_text("utf-8", "replace").strip() if text.is_file() else ""
            yield Example(str(path.relative_to(folder)), told, path)


def _listed(index: Path) -> Iterator[Example]:
    """The pictures that a table names."""
    for number, row in enumerate(_rows(index), 1):
        where = f"{index}, row {number}"
        name = str(row.get("file_name") or "")
        if not name:
            raise DataError(f"{where}: it needs a file_name, and a text beside it")
        told = next((str(row[key]) for key in _CAPTIONS if row.get(key)), "")
        drawn = next((str(row[key]) for key in _MAPS if row.get(key)), "")
        map_file = _inside(index.parent, drawn, where) if drawn else None
        yield Example(name, told.strip(), _inside(index.parent, name, where), map_file)


def _rows(index: Path) -> Iterator[Mapping[str, Any]]:
    if index.stat().st_size > _MAX_TABLE_BYTES:
        raise DataError(f"{index} has more than {_MAX_TABLE_BYTES // 2**20} MB")
    text = index.read_text("utf-8-sig", "replace")
    if index.suffix == ".csv":
        yield from csv.DictReader(io.StringIO(text))
        return
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line.encode())
        except ValueError as error:
            raise DataError(f"{index}, line {number}: it is no JSON ({error})") from error
        if not isinstance(row, dict):
            raise DataError(f"{index}, line {number}: it is no JSON object")
        yield row


def _inside(folder: Path, name: str, where: str) -> Path:
    """A file that a table names, which must lie in its folder."""
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts or not path.is_file():
        raise DataError(f"{where}: there is no file {name} in {folder}")
    return path


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


class Prepared:
    """Control maps and latents of examples, made once and kept in a folder.

    Each is made alone, so that it does not depend on its company.

    Args:
        manager: the base model whose VAE makes the latents, and the networks of its family.
        folder: where they are kept, by what decides them.
        control, settings: of the extractor; drawn maps are read and fitted instead.
    """

    def __init__(self, manager: ModelManager, folder: Path, control: str, settings: Any) -> None:
        self._manager = manager
        self._kind: Control[Any] = get_control(control)
        self._settings = settings
        family = manager.family
        needs = {n: family.networks[n].title for n in self._kind.needs_for(settings)}
        vae = family.vae or family.base_ref(manager.base)
        decides = [settings.map_canonical(), family.resolution, vae.title, manager.dtype, needs]
        self._encodes = family.parts_of.encodes_maps
        self.folder = folder / f"{control}-{short_hash(decides)}"

    def make(self, examples: Sequence[Example], tell: Callable[[int], bool]) -> bool:
        """Make what is missing. `tell` gets the count of those done and says whether to go on."""
        faint = []
        for place, example in enumerate(examples):
            if not tell(place):
                return False
            path = self._path(example)
            if not path.is_file():
                picture = example.read(self._manager.family.resolution)
                made = self._map(example, picture)
                if warning := map_warning(self._kind, self._settings, made, example.name):
                    faint.append(warning)
                seen = self._latents(made.picture) if self._encodes else made.picture
                self._keep(path, seen, self._latents(picture))
        if faint:
            log.warning("%d of %d maps cannot steer: %s", len(faint), len(examples), faint[0])
        return True

    def load(self, example: Example) -> tuple[np.ndarray, np.ndarray]:
        """What a ControlNet sees of one example, and the picture's latents, float16 C×h×w.

        It sees the map's pixels, uint8 H×W×3, or their latents where the architecture has it so.
        """
        with np.load(self._path(example), allow_pickle=False) as kept:
            return kept["map"], kept["latents"]

    def source(self, example: Example) -> tuple[SourceImage, Any]:
        """The picture as a study has its sources, and its whole control map."""
        picture = example.read(self._manager.family.resolution)
        image = SourceImage(example.name, sha256_image(picture), picture)
        return image, self._map(example, picture)

    def _map(self, example: Example, picture: np.ndarray) -> Any:
        kind, settings = self._kind, self._settings
        if example.drawn is None:
            return kind.extract([picture], settings, self._manager.networks())[0]
        drawn, _ = kind.turned(read_image(example.drawn), settings)
        fitted = kind.fit_drawing(drawn, self._manager.family.resolution, settings)
        return kind.from_picture_for(fitted, settings)

    def _latents(self, picture: np.ndarray) -> np.ndarray:
        vae = self._manager.pipeline(None).vae
        signal = torch.from_numpy(picture).permute(2, 0, 1)[None].to(self._manager.device)
        with torch.inference_mode():
            found = scaled(vae, encode(vae, signal.to(vae.dtype) / 127.5 - 1))
        return np.asarray(found[0].half().cpu().numpy())

    def _path(self, example: Example) -> Path:
        return self.folder / f"{example.mark}.npz"

    @staticmethod
    def _keep(path: Path, seen: np.ndarray, latents: np.ndarray) -> None:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, map=seen, latents=latents)
        write_atomic(path, buffer.getvalue())
