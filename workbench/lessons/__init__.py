"""What stands behind the lessons in `notebooks/`: ControlNet taken apart, live.

Small functions on real modules. Everything that a lesson states, it computes with these.
"""

from workbench.lessons.block import (
    ControlledBlock,
    EncoderBlock,
    Gradients,
    convolution,
    gradients,
    noise,
    one_weight,
    squared_error,
    train,
)
from workbench.lessons.condition import article_encoder, convolutions, diffusers_encoder
from workbench.lessons.figures import (
    Source,
    network_figure,
    pictures_figure,
    residuals_figure,
    source,
    training_figure,
)
from workbench.lessons.network import Block, Network, costs, network, sizes_read
from workbench.lessons.pictures import (
    Request,
    control_map,
    difference,
    models,
    picture,
    source_picture,
    source_words,
    text_picture,
    untrained,
    weighted,
    zero_convolutions,
)
from workbench.lessons.residuals import Residual, guess_weights, residuals

__all__ = [
    "Block",
    "ControlledBlock",
    "EncoderBlock",
    "Gradients",
    "Network",
    "Request",
    "Residual",
    "Source",
    "article_encoder",
    "control_map",
    "convolution",
    "convolutions",
    "costs",
    "difference",
    "diffusers_encoder",
    "gradients",
    "guess_weights",
    "models",
    "network",
    "network_figure",
    "noise",
    "one_weight",
    "picture",
    "pictures_figure",
    "residuals",
    "residuals_figure",
    "sizes_read",
    "source",
    "source_picture",
    "source_words",
    "squared_error",
    "text_picture",
    "train",
    "training_figure",
    "untrained",
    "weighted",
    "zero_convolutions",
]
