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
from workbench.lessons.convergence import Difference, Moment, compare, sudden_convergence
from workbench.lessons.figures import (
    Source,
    learning_figure,
    network_figure,
    pictures_figure,
    residuals_figure,
    source,
    training_figure,
)
from workbench.lessons.learning import (
    Batch,
    Learnt,
    Training,
    batch,
    dropped,
    learn,
    longer_training,
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
    "Batch",
    "Block",
    "ControlledBlock",
    "Difference",
    "EncoderBlock",
    "Gradients",
    "Learnt",
    "Moment",
    "Network",
    "Request",
    "Residual",
    "Source",
    "Training",
    "article_encoder",
    "batch",
    "compare",
    "control_map",
    "convolution",
    "convolutions",
    "costs",
    "difference",
    "diffusers_encoder",
    "dropped",
    "gradients",
    "guess_weights",
    "learn",
    "learning_figure",
    "longer_training",
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
    "sudden_convergence",
    "text_picture",
    "train",
    "training_figure",
    "untrained",
    "weighted",
    "zero_convolutions",
]
