"""A whole network with its ControlNet: what its blocks are, read off the modules while they run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from workbench.lessons.pictures import models
from workbench.yamltext import read_yaml

EMBEDDED = "paperdoll"


@dataclass(frozen=True)
class Block:
    """One block of a network.

    part: "encoder", "middle" or "decoder" of the locked network (a transformer has a "decoder"
        only), "copy" or "copy's middle" of the ControlNet.
    shape: of what it gives for one picture: channels, height, width; or tokens, channels.
    parameters: how many numbers it has learnt.
    """

    part: str
    name: str
    shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class Network:
    """A locked network and its ControlNet.

    residuals: shapes of what the ControlNet adds, in the order of the encoder, the middle last.
    parameters, flops: of the "locked" network and of its "trainable" ControlNet; floating point
        operations are those of one prediction of one picture, as torch.utils.flop_counter counts
        them (a multiplication and an addition are two).
    """

    label: str
    blocks: tuple[Block, ...]
    residuals: tuple[tuple[int, ...], ...]
    parameters: dict[str, int]
    flops: dict[str, int]

    def of(self, part: str) -> tuple[Block, ...]:
        """The blocks of one part, in the order in which they run."""
        return tuple(block for block in self.blocks if block.part == part)

    def table(self) -> pd.DataFrame:
        """One row for each block."""
        rows = [(b.part, b.name, "×".join(map(str, b.shape)), b.parameters) for b in self.blocks]
        return pd.DataFrame(rows, columns=["part", "block", "shape", "parameters"])


@dataclass(frozen=True)
class Stage:
    """Modules that make one block; the last of them gives its output."""

    part: str
    name: str
    modules: tuple[nn.Module, ...]


@cache
def network(name: str = EMBEDDED) -> Network:
    """The network of the embedded model ("paperdoll"), or of "sd15", "sdxl" or "sd35".

    The embedded one is the real thing. The others are built from their sizes
    (`architectures.yaml`, which says where they were read) on PyTorch's meta device, which knows
    shapes but holds no numbers: no weights are needed. ValueError for another name.
    """
    import diffusers

    if name == EMBEDDED:
        unet, net = models().pipeline(None).unet, models().controlnet("depth")
        return _read_unet("Paperdoll (embedded)", unet, net, tokens=models().family.text_limit)
    known = _architectures()
    if name not in known:
        raise ValueError(f'there is no "{name}" here; there is: {EMBEDDED}, {", ".join(known)}')
    found = known[name]
    with torch.device("meta"):
        if "transformer" in found:
            whole = diffusers.SD3Transformer2DModel(**found["transformer"])
            net = diffusers.SD3ControlNetModel(**found["controlnet"])
            return _read_transformer(found["label"], whole, net)
        unet = diffusers.UNet2DConditionModel(**found["unet"])
        net = diffusers.ControlNetModel.from_unet(unet, load_weights_from_unet=False)
        return _read_unet(found["label"], unet, net, tokens=77)


def encoder_stages(net: Any, part: str = "encoder") -> list[Stage]:
    """The blocks of the encoder of a UNet, or of its copy in a ControlNet, in their order."""
    found = [Stage(part, "conv in", (net.conv_in,))]
    for level, block in enumerate(net.down_blocks, start=1):
        found += _layers(block, part, f"level {level}")
        for down in block.downsamplers or ():
            found.append(Stage(part, f"level {level} down", (down,)))
    return found


@contextmanager
def watched(stages: Sequence[Stage], seen: dict[int, Tensor]) -> Iterator[None]:
    """Keep what each stage gives, by its number, as long as the context lasts."""
    with ExitStack() as stack:
        for number, stage in enumerate(stages):

            def keep(_: nn.Module, __: Any, output: Any, number: int = number) -> None:
                # A block of a transformer gives the words first, then the picture.
                seen[number] = output if isinstance(output, Tensor) else output[-1]

            stack.callback(stage.modules[-1].register_forward_hook(keep).remove)
        yield


def _layers(block: Any, part: str, name: str) -> list[Stage]:
    attentions = getattr(block, "attentions", None) or [None] * len(block.resnets)
    pairs = zip(block.resnets, attentions, strict=True)
    return [
        Stage(part, f"{name}.{place}", tuple(m for m in pair if m is not None))
        for place, pair in enumerate(pairs, start=1)
    ]


def _decoder_stages(unet: Any) -> list[Stage]:
    found: list[Stage] = []
    for level, block in zip(range(len(unet.up_blocks), 0, -1), unet.up_blocks, strict=True):
        layers = _layers(block, "decoder", f"level {level}")
        more = tuple(block.upsamplers or ())
        last = layers[-1]
        # What makes larger belongs to the last block of a level; its skip came before it.
        found += [*layers[:-1], Stage(last.part, last.name, (*more, *last.modules))]
    return found


def _read_unet(label: str, unet: Any, controlnet: Any, tokens: int) -> Network:
    side, device = int(unet.config.sample_size), unet.device
    text = torch.zeros(1, tokens, unet.config.cross_attention_dim, device=device)
    sample = torch.zeros(1, unet.config.in_channels, side, side, device=device)
    step = torch.ones(1, device=device)
    more: dict[str, Any] = {}
    if unet.config.addition_embed_type == "text_time":
        pooled = unet.config.projection_class_embeddings_input_dim
        pooled -= 6 * unet.config.addition_time_embed_dim
        more["added_cond_kwargs"] = {
            "text_embeds": torch.zeros(1, pooled, device=device),
            "time_ids": torch.zeros(1, 6, device=device),
        }
    locked = [
        *encoder_stages(unet),
        Stage("middle", "middle", (unet.mid_block,)),
        *_decoder_stages(unet),
    ]
    copied = [
        *encoder_stages(controlnet, "copy"),
        Stage("copy's middle", "middle", (controlnet.mid_block,)),
    ]
    halves = 2 ** (len(controlnet.config.conditioning_embedding_out_channels) - 1)
    seen = torch.zeros(1, 3, side * halves, side * halves, device=device)
    blocks, flops = _run(locked, lambda: unet(sample, step, text, **more))
    added: list[Tensor] = []

    def control() -> None:
        down, middle = controlnet(sample, step, text, seen, return_dict=False, **more)
        added.extend([*down, middle])

    copies, more_flops = _run(copied, control)
    return Network(
        label,
        (*blocks, *copies),
        tuple(tuple(residual.shape[1:]) for residual in added),
        {"locked": _count(unet), "trainable": _count(controlnet)},
        {"locked": flops, "trainable": more_flops},
    )


def _read_transformer(label: str, transformer: Any, controlnet: Any) -> Network:
    config = transformer.config
    side, text = int(config.sample_size), 333  # 77 tokens of CLIP and 256 of T5
    latent = torch.zeros(1, config.in_channels, side, side)
    pooled, step = torch.zeros(1, config.pooled_projection_dim), torch.ones(1)
    locked = [
        Stage("decoder", f"block {place}", (block,))
        for place, block in enumerate(transformer.transformer_blocks, start=1)
    ]
    copied = [
        Stage("copy", f"block {place}", (block,))
        for place, block in enumerate(controlnet.transformer_blocks, start=1)
    ]
    words = torch.zeros(1, text, config.joint_attention_dim)
    blocks, flops = _run(locked, lambda: transformer(latent, words, pooled, step))
    added: list[Tensor] = []

    def control() -> None:
        tokens = transformer.pos_embed(latent)
        added.extend(
            controlnet(
                hidden_states=tokens, controlnet_cond=latent, timestep=step,
                pooled_projections=pooled, return_dict=False,
            )[0]
        )  # fmt: skip

    copies, more_flops = _run(copied, control)
    return Network(
        label,
        (*blocks, *copies),
        tuple(tuple(residual.shape[1:]) for residual in added),
        {"locked": _count(transformer), "trainable": _count(controlnet)},
        {"locked": flops, "trainable": more_flops},
    )


def _run(stages: Sequence[Stage], call: Any) -> tuple[list[Block], int]:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    seen: dict[int, Tensor] = {}
    # Attention by plain products of matrices: the counter does not know the CPU's fused kernel.
    with (
        torch.no_grad(),
        watched(stages, seen),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        call()
    blocks = [
        Block(
            stage.part,
            stage.name,
            tuple(seen[number].shape[1:]),
            sum({id(p): p.numel() for m in stage.modules for p in m.parameters()}.values()),
        )
        for number, stage in enumerate(stages)
    ]
    return blocks, int(counter.get_total_flops())


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def costs(*names: str) -> pd.DataFrame:
    """What networks and their ControlNets hold and compute, one row for each name of `network`.

    Parameters are in millions, operations in billions for one prediction of one picture; `share` is
    the trainable part's divided by the locked one's.
    """
    rows = []
    for name in names:
        net = network(name)
        row: dict[str, object] = {"network": net.label, "residuals": len(net.residuals)}
        for what, found, unit in (
            ("parameters", net.parameters, 1e6),
            ("operations", net.flops, 1e9),
        ):
            row |= {f"{what}, {part}": found[part] / unit for part in ("locked", "trainable")}
            row[f"{what}, share"] = found["trainable"] / found["locked"]
        rows.append(row)
    return pd.DataFrame(rows).set_index("network")


def sizes_read(name: str) -> list[str]:
    """Where the sizes of "sd15", "sdxl" or "sd35" were read."""
    return list(_architectures()[name]["read"])


@cache
def _architectures() -> dict[str, Any]:
    place = Path(__file__).with_name("architectures.yaml")
    return read_yaml(place.read_text("utf-8"), name=place.name, what="list of sizes")
