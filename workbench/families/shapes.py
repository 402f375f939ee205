"""Whether weight files hold what their configuration says, and whether models fit each other.

Nothing is loaded: a model is built from its configuration on PyTorch's meta device, which holds no
numbers, and its names and shapes are compared with the headers of the safetensors files. Sentences
go on after "it cannot be used: "; "" means that nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from workbench.families.files import components, pick_variant, read_json, weight_files
from workbench.families.quiet import quiet_libraries
from workbench.families.refs import Architecture

Shapes = Mapping[str, tuple[int, ...]]
AGAIN = "fetch or save it again"
NO_CONFIG = f"it has no config.json that can be read: {AGAIN}"
_POINTER = b"version https://git-lfs"
HINT_CHANNELS = 3
"""Channels of a control map."""


@dataclass(frozen=True)
class Network:
    """A diffusers network as its folder describes it: its whole configuration, or what is wrong."""

    config: Mapping[str, Any]
    problem: str = ""

    def __getitem__(self, name: str) -> Any:
        return self.config.get(name)


class BrokenFileError(ValueError):
    """A weight file cannot be read to its end; the message is the end of a sentence."""


def header_shapes(folder: Path, variant: str = "") -> dict[str, tuple[int, ...]]:
    """Shapes by name of all tensors that loading a network's folder takes, from the headers.

    Raises BrokenFileError for a file that is cut off or none at all.
    """
    from safetensors import SafetensorError, safe_open

    found: dict[str, tuple[int, ...]] = {}
    for path in weight_files(folder, pick_variant(folder, variant)):
        try:
            with safe_open(path, framework="numpy") as file:
                for name in file.keys():  # noqa: SIM118 - it is no mapping
                    found[name] = tuple(file.get_slice(name).get_shape())
        except (SafetensorError, OSError) as error:
            if _is_pointer(path):
                raise BrokenFileError(
                    f"its weight file {path.name} is only a pointer of Git LFS to the file: fetch "
                    "the file itself (git lfs pull)"
                ) from error
            raise BrokenFileError(
                f"its weight file {path.name} is cut off or damaged, as half a download is "
                f"({error}): {AGAIN}"
            ) from error
    return found


def _is_pointer(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return file.read(len(_POINTER)) == _POINTER
    return False


def read_network(folder: Path, kind: str, variant: str = "") -> Network:
    """What a folder holds if it is loaded as the diffusers class `kind`."""
    files = tuple(sorted(folder.glob("*.safetensors"))) + (folder / "config.json",)
    stamp = tuple((str(f), f.stat().st_mtime_ns, f.stat().st_size) for f in files if f.is_file())
    return _read_network(str(folder), kind, variant, stamp)


@lru_cache(maxsize=128)
def _read_network(folder: str, kind: str, variant: str, _stamp: tuple[Any, ...]) -> Network:
    place = Path(folder)
    try:
        have: Shapes = header_shapes(place, variant)
    except BrokenFileError as error:
        return Network({}, str(error))
    given = read_json(place / "config.json")
    if not given:
        return Network({}, NO_CONFIG)
    try:
        config, wanted, have = _built(kind, given, have)
    except Exception as error:  # whatever a class makes of a strange configuration
        first = " ".join(str(error).split())[:200]
        return Network(given, f"its config.json describes no {kind} ({first}): {AGAIN}")
    return Network(config, _difference(wanted, have, kind))


def _built(
    kind: str, given: Mapping[str, Any], have: Shapes
) -> tuple[dict[str, Any], Shapes, Shapes]:
    """The whole configuration, the shapes it asks for, and those that are there, as they load."""
    with quiet_libraries():
        import diffusers
        import torch

        with torch.device("meta"):
            model = getattr(diffusers, kind).from_config(dict(given))
            named = {name: torch.empty(shape) for name, shape in have.items()}
        model._fix_state_dict_keys_on_load(named)  # old names of attention layers
    shapes = {name: tuple(tensor.shape) for name, tensor in named.items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    return dict(model.config), wanted, shapes


def _difference(wanted: Shapes, have: Shapes, kind: str) -> str:
    missing = [name for name in wanted if name not in have]
    if missing:
        return (
            f"its weights lack {len(missing)} of the {len(wanted)} tensors that its config.json "
            f"asks for ({missing[0]}): a file is missing, or it is no {kind}; {AGAIN}"
        )
    for name, shape in wanted.items():
        if have[name] != shape:
            return (
                f"its config.json does not describe its weights: {name} is {_size(have[name])}, "
                f"not {_size(shape)}; take the config.json that belongs to them"
            )
    return ""


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "one number"


def base_shapes_problem(
    folder: Path, architecture: Architecture, variant: str = "", vae: Path | None = None
) -> str:
    """Why a base model's networks cannot work together; `vae` is the folder of the one it gets."""
    denoiser = denoiser_of(folder, architecture, variant)
    if denoiser.problem:
        return f"{architecture.denoiser}: {denoiser.problem}"
    decoder = read_network(vae or folder / "vae", "AutoencoderKL", "" if vae else variant)
    if decoder.problem:
        return f"vae: {decoder.problem}"
    takes, gives = denoiser["in_channels"], decoder["latent_channels"]
    if takes != gives:
        what = "an inpainting model" if takes == 2 * gives + 1 else "made for another task or VAE"
        return (
            f"its {architecture.denoiser} takes {takes} channels and its VAE gives {gives}, so it "
            f"is {what}: take the base model that it was made from"
        )
    widths = []
    for name in ("text_encoder", "text_encoder_2", "text_encoder_3"):
        if name not in components(folder):
            continue
        try:
            header_shapes(folder / name, variant)
        except BrokenFileError as error:
            return f"{name}: {error}"
        config = read_json(folder / name / "config.json")
        if not config:
            return f"{name}: {NO_CONFIG}"
        widths.append(config.get("hidden_size", config.get("d_model")))
    return _text_problem(architecture, denoiser, widths)


def _text_problem(architecture: Architecture, denoiser: Network, widths: list[Any]) -> str:
    """Whether the text encoders, of these widths, give what the denoiser reads."""
    if architecture.encodes_maps:  # two CLIPs side by side are filled up to the width of T5
        reads, gives = denoiser["joint_attention_dim"], widths[2] if len(widths) > 2 else None
    else:
        reads = denoiser["cross_attention_dim"]
        gives = sum(widths) if all(isinstance(width, int) for width in widths) else None
    if not isinstance(reads, int) or gives is None or reads == gives:
        return ""
    return (
        f"its {architecture.denoiser} reads text of width {reads} and its text encoders give "
        f"{gives}: its parts come from different models; {AGAIN}"
    )


def denoiser_of(folder: Path, architecture: Architecture, variant: str = "") -> Network:
    """The network of a base model that predicts the noise."""
    return read_network(folder / architecture.denoiser, architecture.denoiser_class, variant)


def controlnet_shapes_problem(net: Network, base: Network, architecture: Architecture) -> str:
    """Why a ControlNet cannot steer a base model's denoiser.

    What both have in common decides: channels of latents, width of text or tokens, and the number
    and widths of the blocks to whose outputs the ControlNet adds its own.
    """
    pairs = _in_common(net, base, architecture)
    for what, (theirs, ours) in pairs.items():
        if theirs is not None and ours is not None and theirs != ours:
            return (
                f"it belongs to another architecture: its {what} is {theirs}, that of the base "
                f"model {ours}; take one that was trained for this kind of base model"
            )
    return ""


def control_problem(net: Network, latent_scale: int, mode: int | None = None) -> str:
    """Why a ControlNet cannot read control maps; `mode` is the number of its control type."""
    if mode is not None and mode >= net["num_control_type"]:
        return (
            f"union_mode {mode} is not one of its {net['num_control_type']} control types: give "
            f"the family's catalogue entry one from 0 to {net['num_control_type'] - 1}"
        )
    hints = net["conditioning_channels"]
    if hints is not None and hints != HINT_CHANNELS:
        return (
            f"it reads hints of {hints} channels, and control maps have {HINT_CHANNELS}: take a "
            "ControlNet that was trained on control maps"
        )
    if extra := net["extra_conditioning_channels"]:
        return (
            f"it reads {extra} channels beside the control map, as ControlNets for inpainting do: "
            "take one that was trained on control maps alone"
        )
    channels = net["conditioning_embedding_out_channels"]
    factor = 2 ** (len(channels) - 1) if channels else latent_scale
    if factor != latent_scale:
        return (
            f"it makes control maps {factor} times smaller, and one latent covers {latent_scale} "
            "pixels: take one that was trained for this kind of base model"
        )
    return ""


def _in_common(
    net: Network, base: Network, architecture: Architecture
) -> dict[str, tuple[Any, Any]]:
    """What must be equal: name -> (of the ControlNet, of the denoiser)."""
    if architecture.encodes_maps:
        names = {
            "text width": "joint_attention_dim",
            "pooled text width": "pooled_projection_dim",
            "patch size": "patch_size",
        }
        own: dict[str, tuple[Any, Any]] = {"width": (_tokens(net), _tokens(base))}
    else:
        names = {
            "width": "cross_attention_dim",
            "pooled text width": "projection_class_embeddings_input_dim",
        }
        own = {"row of blocks": (_blocks(net), _blocks(base))}
    names["number of latent channels"] = "in_channels"
    return {what: (net[name], base[name]) for what, name in names.items()} | own


def _tokens(network: Network) -> int:
    return int(network["num_attention_heads"]) * int(network["attention_head_dim"])


def _blocks(network: Network) -> str:
    """Widths of the outputs that a UNet's encoder hands on, and a ControlNet adds to."""
    widths = list(network["block_out_channels"])
    layers = network["layers_per_block"]
    each = layers if isinstance(layers, list | tuple) else [layers] * len(widths)
    found = [widths[0]]
    for place, (width, count) in enumerate(zip(widths, each, strict=True)):
        found += [width] * (count + (place + 1 < len(widths)))
    return "-".join(map(str, found))
