"""How much memory a family needs, and how much a device has."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from workbench.dtypes import DTYPE_BYTES
from workbench.families.catalogue import Family
from workbench.families.files import pick_variant, read_json, weight_files
from workbench.families.locate import LocateError, locate
from workbench.families.refs import ModelRef, NetworkRef

WORK = 1500
"""Numbers that sampling and decoding hold at once for each pixel of a picture, about: SD 1.5 takes
0.8 GB beside its weights for one picture of 512 px in half precision."""


@dataclass(frozen=True)
class Weights:
    """Bytes of the weights that a run holds: of what makes pictures, and of the judges.

    The makers may wait in main memory (`runtime.offload`), the judges are always on the device.
    """

    makers: int
    judges: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.makers + self.judges


def weights_need(
    family: Family,
    dtype: str,
    models: str | Path | None = None,
    *,
    bases: Iterable[str] | None = None,
    controlnets: Iterable[str] | None = None,
    networks: Iterable[str] | None = None,
) -> Weights | None:
    """Bytes of all weights that a run of these parts loads, for it keeps them all until its end.

    They are counted in local files, as loading takes them; None where one of the files is not here.

    Args:
        bases: names of base models; None takes the default one.
        controlnets: names of ControlNets; None takes the largest one that is here.
        networks: names of networks that read pictures; None takes all.

    Raises:
        FamilyError: there is no base model or ControlNet of such a name.
    """
    chosen = [family.default_base] if bases is None else list(dict.fromkeys(bases))
    refs = [family.base_ref(name) for name in chosen]
    skip = () if family.vae is None else ("vae",)
    makers = _sum(_count(ref, models, skip) for ref in refs)
    if family.vae is not None:  # each base model is loaded with its own copy
        vae = _count(family.vae, models)
        makers = None if makers is None or vae is None else makers + len(refs) * vae
    if controlnets is None:
        sizes = [_count(ref, models) or 0 for ref in family.controlnets.values()]
        nets: int | None = max(sizes, default=0)
    else:
        loaded = {ref.title: ref for ref in map(family.controlnet_ref, controlnets)}
        own = _sum(_taken(net, ref, models) for net in loaded.values() for ref in refs)
        nets = _sum([own, *(_count(net, models) for net in loaded.values())])
    wanted = family.networks if networks is None else dict.fromkeys(networks)
    readers = [family.networks[name] for name in wanted if name in family.networks]
    judges = [_count(ref, models) for ref in [family.clip, *dict.fromkeys(readers)]]
    if networks is None:  # of a family, not of a run: judges may come later
        judges = [size or 0 for size in judges]
    read = _sum(judges)
    if makers is None or nets is None or read is None:
        return None
    return Weights(DTYPE_BYTES[dtype] * (makers + nets), DTYPE_BYTES["float32"] * read)


def memory_need(
    family: Family, dtype: str, weights: Weights | None, *, pictures: int = 1
) -> int | None:
    """Bytes that a run takes with these weights, `pictures` at a time.

    Where the weights are not here (None), it is what the family's catalogue entry states, or None.
    """
    if weights is None:
        stated = {str(name): size for name, size in family.memory.items()}.get(dtype)
        return None if stated is None else int(stated * 1e9)
    return weights.total + DTYPE_BYTES[dtype] * WORK * family.resolution**2 * pictures


def free_memory(device: str) -> int | None:
    """Bytes that can be taken now on a device; None where it does not tell."""
    kind = device.partition(":")[0]
    if kind == "cpu":
        import psutil

        return int(psutil.virtual_memory().available)
    import torch

    if kind == "cuda" and torch.cuda.is_available():
        return int(torch.cuda.mem_get_info(device)[0])
    if kind == "mps" and torch.backends.mps.is_available():
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return None


def parameters_in(file: Path, prefix: str = "") -> int:
    """Numbers in a safetensors file, from its header alone, of the tensors whose names begin so.

    ValueError if it is none.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as weights:
            names = [key for key in weights.keys() if key.startswith(prefix)]  # noqa: SIM118 - it is no mapping
            return sum(math.prod(weights.get_slice(key).get_shape()) for key in names)
    except SafetensorError as error:
        raise ValueError(f"{file} is no safetensors file") from error


def _taken(net: ModelRef, base: ModelRef, models: str | Path | None) -> int | None:
    """Parameters that a ControlNet takes from a base model and keeps for it as its own.

    Those of Stable Diffusion 3.5 Large have no positions of their own. None if a file is not here.
    """
    try:
        place, ours = locate(net, models), locate(base, models)
    except LocateError:
        return None
    if place.folder is None or ours.folder is None:
        return None
    if read_json(place.folder / "config.json").get("use_pos_embed", True):
        return 0
    folder = ours.folder / "transformer"
    files = weight_files(folder, pick_variant(folder, str(ours.keywords.get("variant", ""))))
    try:
        return sum(parameters_in(file, "pos_embed.") for file in files)
    except (OSError, ValueError):  # broken; loading says so
        return None


def _count(ref: ModelRef, models: str | Path | None, skip: Iterable[str] = ()) -> int | None:
    """Parameters of a local model without the components `skip`; None if its files are not here."""
    try:
        place = locate(ref, models)
    except LocateError:
        return None
    if place.folder is None:
        return None
    if isinstance(ref, NetworkRef) and ref.files:
        files = [place.folder / name for name in ref.files]
        if not all(file.is_file() for file in files):
            return None
        # Pickles tell no shapes without being read; nearly all hold float32.
        return sum(file.stat().st_size // DTYPE_BYTES["float32"] for file in files)
    if place.reads_bin:  # which tells no shapes either
        files = weight_files(place.folder, "", bins=True)
        return sum(file.stat().st_size // DTYPE_BYTES["float32"] for file in files)
    files = weight_files(place.folder, place.keywords.get("variant", ""), skip)
    try:
        return sum(parameters_in(file) for file in files)
    except (OSError, ValueError):  # broken; loading says so
        return None


def _sum(counts: Iterable[int | None]) -> int | None:
    known = list(counts)
    return None if None in known else sum(count or 0 for count in known)
