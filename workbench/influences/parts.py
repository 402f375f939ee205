"""The four predictions of a denoising step, taken apart: base, control, text and interaction.

At one latent and one time the network predicts the noise (or the velocity, or v) four times, with
the text t or the negative prompt ∅ in its place, with the control c or without:

    base        = ε(∅, ∅)
    control     = ε(∅, c) − ε(∅, ∅)
    text        = ε(t, ∅) − ε(∅, ∅)
    interaction = ε(t, c) − ε(t, ∅) − ε(∅, c) + ε(∅, ∅)

Their sum is ε(t, c). The step actually taken under a guidance scale g follows the prediction

    ε_g = ε(∅, c) + g (ε(t, c) − ε(∅, c)) = base + control + g text + g interaction.

All that is said of lengths and shares follows from the mean products of these four parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

PARTS = ("base", "control", "text", "interaction")
"""The axis of parts, in its order."""
INFLUENCES = ("text", "control", "interaction")
"""What has a map: how far ε(t, c) moves if the text, or the control, is taken away; and by how much
one of the two moves the other's influence."""
_AS_SUMS = {"text": (0, 0, 1, 1), "control": (0, 1, 0, 1), "interaction": (0, 0, 0, 1)}


def same_text(given: Sequence[Any], named: Mapping[str, Any]) -> np.ndarray:
    """Whether each picture's prompt says to a denoiser what its negative prompt says, bool (B,).

    Args:
        given, named: arguments of a UNet or transformer of diffusers, of 2B rows as in `parts_of`.
    """
    texts = [
        named.get("encoder_hidden_states", given[2] if len(given) > 2 else None),
        named.get("pooled_projections"),
        (named.get("added_cond_kwargs") or {}).get("text_embeds"),
    ]
    halves = [text.chunk(2) for text in texts if text is not None]
    same = [(empty == text).flatten(1).all(dim=1).cpu().numpy() for empty, text in halves]
    return np.logical_and.reduce(same) if same else np.array(False)


def parts_of(
    controlled: Tensor, uncontrolled: Tensor, same: np.ndarray | None = None
) -> np.ndarray:
    """The four parts, float64 (4, B, C, H, W) in the order of `PARTS`.

    Where the prompt says what the negative prompt says, both rows are one prediction, which a
    batch rounds in two ways: the first stands for both, so that the text does exactly nothing.

    Args:
        controlled: predictions with the control, (2B, C, H, W): first the B rows with the negative
            prompt, then the B rows with the prompt, as pipelines of diffusers stack them.
        uncontrolled: the same without the control.
        same: of which pictures that is so, bool (B,); of none if None.
    """
    rows = [both.detach().float().cpu().numpy().astype(np.float64) for both in
            (controlled, uncontrolled)]  # fmt: skip
    (empty_c, text_c), (empty, text) = (np.split(both, 2) for both in rows)
    if same is not None:
        text_c[same], text[same] = empty_c[same], empty[same]
    control = empty_c - empty
    return np.stack([empty, control, text - empty, (text_c - text) - control])


def products_of(parts: np.ndarray) -> np.ndarray:
    """Mean products of each two parts over the elements of the latent, float64 (B, 4, 4)."""
    flat = parts.reshape(*parts.shape[:2], -1)
    return np.asarray(np.einsum("pbn,qbn->bpq", flat, flat) / flat.shape[-1])


def maps_of(parts: np.ndarray) -> np.ndarray:
    """The `INFLUENCES` over the picture: root mean square over channels, float32 (B, 3, H, W)."""
    sums = np.array([_AS_SUMS[name] for name in INFLUENCES], dtype=float)
    moved = np.einsum("ip,pbchw->bichw", sums, parts)
    return np.sqrt((moved**2).mean(axis=2)).astype(np.float32)


def figures_of(products: np.ndarray, guidance: float) -> dict[str, np.ndarray]:
    """What a step's products tell, by name; each float, of the shape of the leading axes.

    Root mean squares per element of the latent: "text" ‖ε(t,c) − ε(∅,c)‖, "control"
    ‖ε(t,c) − ε(t,∅)‖, "interaction"; how far the guided prediction ε_g moves if the text, or the
    control, is taken away: "guided text" g (text + interaction), "guided control" control + g
    interaction, and "guided interaction" g interaction; "guided": ε_g itself. "share of …": the
    share of each part in ε_g, its projection ⟨part, ε_g⟩ / ‖ε_g‖² with the weight that guidance
    gives it. The four shares add up to 1; a part that works against the step has a negative one.

    Args:
        products: as `products_of` gives them, (…, 4, 4).
        guidance: the guidance scale g.
    """
    step = np.array([1.0, 1.0, guidance, guidance])
    found = {name: _length(products, weights) for name, weights in _AS_SUMS.items()}
    found["guided text"] = _length(products, (0, 0, guidance, guidance))
    found["guided control"] = _length(products, (0, 1, 0, guidance))
    found["guided interaction"] = guidance * found["interaction"]
    found["guided"] = _length(products, step)
    along = (products @ step) * step
    total = along.sum(axis=-1)
    shares = np.divide(
        along, total[..., None], out=np.full(along.shape, np.nan), where=total[..., None] > 0
    )
    return found | {f"share of {name}": shares[..., i] for i, name in enumerate(PARTS)}


def _length(products: np.ndarray, weights: np.ndarray | tuple[float, ...]) -> np.ndarray:
    """Root mean square of a weighted sum of the parts."""
    square = np.einsum("i,...ij,j->...", np.asarray(weights, float), products, weights)
    return np.sqrt(np.maximum(square, 0.0))
