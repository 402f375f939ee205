"""What every control type has in common: its settings, its map, and how two maps are compared."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, StrictBool

from workbench.images import fit_image
from workbench.metrics.spec import MetricSpec, Reading

Networks = Mapping[str, Callable[[np.ndarray], Any]]
"""Networks which a model family lends to the controls, by name ("depth").

Each takes a batch of pictures, uint8 N×H×W×3 RGB. It is the network's business to bring the
pictures to the size it wants; a map of another size is resampled back. By name:

- "depth", "edges": float32 N×H×W (inverse depth in any unit, near is larger; soft edges in [0, 1]).
- "normal": float32 N×H×W×3, unit vectors, x right, y up, z towards the viewer.
- "segmentation": uint8 N×H×W, class numbers.
- "pose": float32 N×P×18×3 for up to P people: x and y in pixels of the picture, confidence in
  [0, 1]; joints in OpenPose's COCO-18 order; rows of zeros where there are fewer people.
- "lines": a list of N float32 arrays K×4 of segments x1, y1, x2, y2 in pixels.
- "lineart", "lineart_anime": float32 N×H×W in [0, 1], 1 on a line.
"""


class ControlError(ValueError):
    """A control cannot do what was asked of it. The message is one sentence for the user."""


class ControlSettings(BaseModel):
    """Settings of an extractor. Unknown keys are errors; values cannot change afterwards.

    `comparison_only` names the settings which change how two maps are compared but not the map
    itself: they must not make a picture count as a different one. `unsaid` names those that are not
    written down where they have their default, as they are newer than stored runs.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )

    comparison_only: ClassVar[frozenset[str]] = frozenset()
    unsaid: ClassVar[frozenset[str]] = frozenset()

    def canonical(self) -> str:
        """All settings as JSON with sorted keys."""
        return self._without(set())

    def map_canonical(self) -> str:
        """The settings which decide the map's pixels, as JSON with sorted keys."""
        return self._without(set(self.comparison_only))

    def _without(self, left_out: set[str]) -> str:
        fields = type(self).model_fields
        left_out |= {name for name in self.unsaid if getattr(self, name) == fields[name].default}
        values = self.model_dump(mode="json", exclude=left_out)
        return json.dumps(values, sort_keys=True, separators=(",", ":"))


class DrawnSettings(ControlSettings):
    """invert: whether maps that are drawn already (`map:`) are turned around before they are used:
    black and white of lines, near and far of depth, up and down of normals. `auto` turns dark lines
    on light paper around, and nothing else.
    """

    unsaid: ClassVar[frozenset[str]] = frozenset({"invert"})

    invert: Literal["auto"] | StrictBool = "auto"


@dataclass(frozen=True, eq=False)
class ControlMap:
    """What an extractor made of one picture.

    picture: uint8 H×W×3, what the ControlNet sees and the user is shown.
    data: what is compared, H×W or whatever the control type declares: bool edges, float depth, …
    """

    picture: NDArray[np.uint8]
    data: np.ndarray

    def __post_init__(self) -> None:
        shape = self.picture.shape
        if self.picture.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3:
            raise ControlError(
                f"a control map's picture must be uint8 H×W×3, not {self.picture.dtype} {shape}"
            )


class MapKey(NamedTuple):
    """Which control map: that of this picture, by this control type under these settings.

    picture: the SHA-256 of a source, or the id of the trial that made the picture.
    control: the name of the control type. settings: its settings, as canonical JSON.
    """

    picture: str
    control: str
    settings: str


class LegendEntry(NamedTuple):
    """What one colour of a map means, the colour (RGB, 0–255), and its share of the pixels."""

    name: str
    colour: tuple[int, int, int]
    share: float


S = TypeVar("S", bound=ControlSettings)


class Control(ABC, Generic[S]):
    """One control type. Instances hold no state and can be shared.

    name: as written in study files, for example "canny".
    label: as shown to people, for example "Canny edges".
    settings_type: the pydantic class of its settings; called without arguments it gives defaults.
    metrics: what `compare` returns, in the order in which they are shown.
    primary: the name of the metric which stands for adherence to the control.
    former: the name of the one which did so in earlier versions, whose runs have no other.
    asked: metric -> what tells its readings from those that earlier versions stored under its name;
        empty where they are the same.
    is_lines: whether its maps are light lines on black.
    needs: names of the networks which `extract` asks for under its default settings; empty if it
        needs none. A control whose methods need different networks overrides `needs_for`.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    settings_type: type[S]
    metrics: ClassVar[tuple[MetricSpec, ...]]
    primary: ClassVar[str]
    former: ClassVar[str] = ""
    is_lines: ClassVar[bool] = False
    asked: ClassVar[Mapping[str, str]] = {}
    needs: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def extract(
        self, images: Sequence[NDArray[np.uint8]], settings: S, networks: Networks
    ) -> list[ControlMap]:
        """Extract one map from each picture (uint8 H×W×3 RGB, sizes may differ).

        Maps have the size of their pictures. Raises ControlError if a needed network is missing or
        an array is not a picture.
        """

    @abstractmethod
    def compare(self, preds: ControlMap, target: ControlMap, settings: S) -> dict[str, Reading]:
        """Compare two maps; returns one reading for every name in `metrics`, in that order.

        Args:
            preds: the map of the picture that was made, as in torchmetrics.
            target: the map it should have, for example that of the source.

        If the sizes differ, `preds` is resampled to the size of `target`. The roles matter: most
        metrics are not symmetric, and a target that shows nothing leaves nothing to compare.
        """

    def agreement(self, preds: ControlMap, target: ControlMap, settings: S) -> Reading:
        """The primary reading of `compare` alone; overridden where the others cost more."""
        return self.compare(preds, target, settings)[self.primary]

    def nothing_in(self, target: ControlMap, settings: S) -> str:
        """Why nothing can be held against a map, in words; "" where something can.

        Here a reading of the map against itself tells it. Overridden where the map alone does:
        metrics load torch, and who only wants to see a map has no other use for it.
        """
        reading = self.agreement(target, target, settings)
        return reading.reason if reading.is_nan else ""

    def same_both_ways(self, a: ControlMap, b: ControlMap) -> bool:
        """Whether `agreement` is known to be the same whichever of two maps is the target, so that
        it need not be computed twice."""
        return False

    def noise(self, target: ControlMap, settings: S) -> Reading | None:
        """The primary reading of white noise as dense as the target, where noise is a danger.

        Chance is not less than this. None stands for control types whose maps are no lines.
        """
        return None

    @abstractmethod
    def from_picture(self, picture: NDArray[np.uint8]) -> ControlMap:
        """Read back a map which was stored, or drawn by hand, as a picture (uint8 H×W×3)."""

    def from_picture_for(self, picture: NDArray[np.uint8], settings: S) -> ControlMap:
        """`from_picture`, for control types whose pictures mean different things by settings.

        picture: uint8 H×W×3.
        """
        return self.from_picture(picture)

    def fit_drawing(self, picture: NDArray[np.uint8], size: int, settings: S) -> NDArray[np.uint8]:
        """A drawn map (uint8 H×W×3) as a stored one of size×size: its largest centred square.

        Here colours are resampled as in any picture. Control types override it whose maps would
        suffer: thin strokes grow faint, and colours with a meaning mix. What comes out goes in
        again unchanged. Raises ControlError where the picture is no such map.
        """
        return self.from_picture_for(fit_image(picture, size), settings).picture

    def turned(self, picture: NDArray[np.uint8], settings: S) -> tuple[NDArray[np.uint8], str]:
        """A map that somebody drew (uint8 H×W×3), the way round that this control wants it.

        Also returns what was done, or may have to be done, as the end of a sentence, else "".
        Lines are turned by their look unless the settings say; see `DrawnSettings`.
        """
        said = getattr(settings, "invert", "auto")
        if not self.is_lines or said is False:
            return picture, ""
        light = float((picture.mean(axis=2) >= 128).mean())
        if said == "auto" and light <= 0.5:
            return picture, ""
        why = "as the study says" if said is True else f"{light:.0%} of it are light"
        return 255 - picture, f"was inverted, to light lines on black: {why}"

    def values_picture(self, values: np.ndarray, settings: S) -> NDArray[np.uint8]:
        """A map from numbers finer than 8 bits (float32 H×W); depth alone has such maps."""
        raise ControlError("it has more than 8 bits, and only maps of depth have")

    def legend(self, found: ControlMap, settings: S) -> list[LegendEntry]:
        """What the colours in a map mean, the largest share first; empty where they speak alone."""
        return []

    @property
    def has_legend(self) -> bool:
        """Whether colours in its maps have names, which `legend` tells."""
        return type(self).legend is not Control.legend

    def needs_for(self, settings: S) -> tuple[str, ...]:
        """Names of the networks which `extract` asks for under these settings."""
        return self.needs

    def metric(self, name: str) -> MetricSpec:
        """The spec of one of this control's metrics; ControlError if it has none of that name."""
        for spec in self.metrics:
            if spec.name == name:
                return spec
        known = ", ".join(spec.name for spec in self.metrics)
        raise ControlError(f"{self.label} has no metric {name!r}; it has: {known}")

    def settings(self, values: Mapping[str, Any] | None = None) -> S:
        """Validated settings from plain values (pydantic.ValidationError if they are wrong)."""
        return self.settings_type.model_validate(dict(values or {}))


def check_pictures(images: Sequence[np.ndarray]) -> None:
    """Raise ControlError unless every array is a uint8 H×W×3 picture with at least one pixel."""
    for index, image in enumerate(images):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise ControlError(
                f"picture {index} must be uint8 H×W×3, not {image.dtype} {tuple(image.shape)}"
            )


def white_on_black(values: np.ndarray) -> ControlMap:
    """The map of what is compared, H×W, bool or in [0, 1]: 1 is white."""
    grey = np.rint(values * np.float32(255)).astype(np.uint8)
    return ControlMap(picture=np.repeat(grey[:, :, None], 3, axis=2), data=values)


def all_nothing(metrics: Sequence[MetricSpec], reason: str) -> dict[str, Reading]:
    """Readings for two maps with nothing to compare: NaN everywhere, with one reason."""
    return {spec.name: Reading.nothing(reason) for spec in metrics}
