"""One block and its ControlNet form: a locked copy, a trainable copy, two zero convolutions.

Lvmin Zhang, Anyi Rao and Maneesh Agrawala: *Adding Conditional Control to Text-to-Image Diffusion
Models* (2023), section 3.1.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pandas as pd
import torch
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn


class EncoderBlock(ResnetBlock2D):  # type: ignore[misc]
    """A block as Stable Diffusion's encoder is made of, N×channels×H×W -> the same shape.

    It is diffusers' `ResnetBlock2D`: two convolutions with a shortcut around them, here without
    the input for the time step. Its weights are random, the same for the same seed. `channels` must
    be a multiple of 4.
    """

    def __init__(self, channels: int = 8, *, seed: int = 0) -> None:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            super().__init__(in_channels=channels, temb_channels=None, groups=4)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """x: N×channels×H×W, and so is what is returned."""
        return super().forward(x, None)  # type: ignore[no-any-return]


def noise(*shape: int, seed: int) -> Tensor:
    """Numbers drawn from the standard normal distribution, the same for the same seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def convolution(inside: int, outside: int, std: float = 0.0, *, seed: int = 0) -> nn.Conv2d:
    """A 1×1 convolution, N×inside×H×W -> N×outside×H×W.

    std: standard deviation of its weights and biases around 0; 0 makes a zero convolution.
    """
    made = nn.Conv2d(inside, outside, kernel_size=1)
    with torch.no_grad():
        for place, values in enumerate(made.parameters()):
            values.copy_(std * noise(*values.shape, seed=2 * seed + place))
    return made


class ControlledBlock(nn.Module):
    """y_c = F(x; Θ) + Z(F(x + Z(c; Θz1); Θc); Θz2)

    block: F, with its weights Θ; N×x×H×W -> N×y×H×W.
    x, c, y: channels of the block's input, of the condition, and of the block's output.
    std: standard deviation at which the two convolutions Z start; 0 makes zero convolutions.
    """

    def __init__(self, block: nn.Module, x: int, c: int, y: int, std: float = 0.0) -> None:
        super().__init__()
        self.locked = copy.deepcopy(block).requires_grad_(False)  # Θ
        self.copy = copy.deepcopy(block).requires_grad_(True)  # Θc
        self.z1 = convolution(c, x, std, seed=1)  # Θz1
        self.z2 = convolution(y, y, std, seed=2)  # Θz2

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """The block's output under the condition, N×y×H×W; x is N×x×H×W, c is N×c×H×W."""
        return self.locked(x) + self.z2(self.copy(x + self.z1(c)))  # type: ignore[no-any-return]


def squared_error(block: ControlledBlock, x: Tensor, c: Tensor, wanted: Tensor) -> Tensor:
    """The mean squared difference between what the block gives and what is wanted, N×y×H×W."""
    return (block(x, c) - wanted.detach()).square().mean()


@dataclass(frozen=True, eq=False)
class Gradients:
    """What one backward pass brings to the second zero convolution.

    input: what goes into it, N×y×H×W. output: what comes out of it, the same shape.
    upstream: how the loss changes with each number of its output, the same shape.
    by_hand: upstream · input, summed over pictures and places: y×y, row o for output channel o.
    autograd: what PyTorch finds for its weights, y×y.
    sizes: the largest gradient, in absolute value, in each part of the block.
    """

    input: Tensor
    output: Tensor
    upstream: Tensor
    by_hand: Tensor
    autograd: Tensor
    sizes: pd.Series


def gradients(block: ControlledBlock, x: Tensor, c: Tensor, wanted: Tensor) -> Gradients:
    """The gradients of `squared_error`, those of the second zero convolution also by hand.

    For a 1×1 convolution output = W · input + b at each place, and so ∂L/∂W = Σ upstream · input.
    Arguments as in `squared_error`; the weights stay as they are.
    """
    seen: list[Tensor] = []

    def keep(_: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        output.retain_grad()
        seen.extend((given[0], output))

    block.zero_grad(set_to_none=True)
    hook = block.z2.register_forward_hook(keep)
    try:
        squared_error(block, x, c, wanted).backward()
    finally:
        hook.remove()
    given, output = seen
    upstream = output.grad
    assert upstream is not None and block.z2.weight.grad is not None
    found = Gradients(
        input=given.detach(),
        output=output.detach(),
        upstream=upstream,
        by_hand=torch.einsum("nohw,nihw->oi", upstream, given.detach()),
        autograd=block.z2.weight.grad[:, :, 0, 0].clone(),
        sizes=pd.Series(
            {
                name: max(float(p.grad.abs().max()) if p.grad is not None else 0.0 for p in part)
                for name, part in _parts(block).items()
            }
        ),
    )
    block.zero_grad(set_to_none=True)
    return found


def one_weight(found: Gradients, output: int = 0, given: int = 0, count: int = 3) -> pd.DataFrame:
    """The sum behind the gradient of one weight of the second zero convolution, term by term.

    output, given: the weight's output and input channel. count: how many terms are listed; the rest
    is one row. The last row is the sum, and what PyTorch found stands below it as "autograd".
    """
    upstream, given_in = found.upstream[:, output].flatten(), found.input[:, given].flatten()
    products = upstream * given_in
    blank = float("nan")
    rows = [
        (
            f"place {place + 1}",
            float(upstream[place]),
            float(given_in[place]),
            float(products[place]),
        )
        for place in range(count)
    ]
    rows += [
        (f"{len(products) - count} more places", blank, blank, float(products[count:].sum())),
        ("sum", blank, blank, float(products.sum())),
        ("autograd", blank, blank, float(found.autograd[output, given])),
    ]
    columns = ["", "upstream", "input", "upstream · input"]
    return pd.DataFrame(rows, columns=columns).set_index("")


def train(
    block: ControlledBlock, x: Tensor, c: Tensor, wanted: Tensor, *, steps: int = 40,
    rate: float = 0.01,
) -> pd.DataFrame:  # fmt: skip
    """Train a block by Adam, and note how far each part has moved. The block is changed.

    x, c, wanted: as in `squared_error`. steps: how many. rate: the learning rate.

    Returns:
        One row for each step, 0 before the first: the loss, and the Euclidean distance that the
        weights of "locked", "copy", "z1" and "z2" have moved from where they began. For a zero
        convolution, which begins at 0, it is the norm of its weights.
    """
    start = {name: [p.detach().clone() for p in part] for name, part in _parts(block).items()}
    optimiser = torch.optim.Adam([p for p in block.parameters() if p.requires_grad], lr=rate)
    rows = []
    for step in range(steps + 1):
        loss = squared_error(block, x, c, wanted)
        rows.append({"step": step, "loss": loss.item()} | _moved(block, start))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return pd.DataFrame(rows).set_index("step")


def _parts(block: ControlledBlock) -> dict[str, list[nn.Parameter]]:
    names = ("locked", "copy", "z1", "z2")
    return {name: list(block.get_submodule(name).parameters()) for name in names}


def _moved(block: ControlledBlock, start: dict[str, list[Tensor]]) -> dict[str, float]:
    found = {}
    for name, part in _parts(block).items():
        apart = [
            (now.detach() - then).flatten() for now, then in zip(part, start[name], strict=True)
        ]
        found[name] = float(torch.cat(apart).norm())
    return found
