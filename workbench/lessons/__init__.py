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
from workbench.lessons.figures import Source, pictures_figure, source, training_figure
from workbench.lessons.pictures import (
    Request,
    control_map,
    difference,
    models,
    picture,
    source_picture,
    text_picture,
    untrained,
    weighted,
    zero_convolutions,
)

__all__ = [
    "ControlledBlock",
    "EncoderBlock",
    "Gradients",
    "Request",
    "Source",
    "control_map",
    "convolution",
    "difference",
    "gradients",
    "models",
    "noise",
    "one_weight",
    "picture",
    "pictures_figure",
    "source",
    "source_picture",
    "squared_error",
    "text_picture",
    "train",
    "training_figure",
    "untrained",
    "weighted",
    "zero_convolutions",
]
