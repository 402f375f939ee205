"""Control maps and pictures that a person gives by hand: drawn, painted, posed, cropped.

Thinking only; no widget is known here. What is made is a file beside the runs, named by its
pixels, and a source of studies as any other.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from workbench.atomic import write_atomic
from workbench.controls import resolve
from workbench.controls.base import Control, ControlSettings
from workbench.controls.pose import JOINT_COUNT, PoseControl
from workbench.controls.segmentation import SegmentationControl
from workbench.images import (
    MAX_BYTES,
    SUFFIXES,
    ImageError,
    Picture,
    decode_image,
    encode_png,
    read_with_text,
)
from workbench.paperdoll.scene import JOINTS, Pose

MOST_LIGHT = 0.5
"""Lines that cover more of a map than this share are read as dark lines on light paper."""
MOST_PEOPLE = 20
JOINT_NAMES = tuple(name.replace("_", " ") for name in JOINTS)
"""Of the 18 joints, in their order."""
JOINTS_KEY = "workbench-joints"
"""Names the text chunk of a PNG in which the joints of a skeleton stand, those that are hidden too.
"""
MAP_KEY = "workbench-map"
"""Names the text chunk of a PNG in which stands of which control type it is a map."""
LEAST_CROP = 16
"""The side in pixels of the smallest part that can be cut out of a picture."""
_STANDING = (
    (0.500, 0.150), (0.500, 0.250), (0.430, 0.250), (0.395, 0.390), (0.380, 0.515), (0.570, 0.250),
    (0.605, 0.390), (0.620, 0.515), (0.455, 0.520), (0.450, 0.700), (0.445, 0.880), (0.545, 0.520),
    (0.550, 0.700), (0.555, 0.880), (0.483, 0.133), (0.517, 0.133), (0.462, 0.145), (0.538, 0.145),
)  # fmt: skip


class Mode(StrEnum):
    """What a person does to give a control."""

    DRAW = "draw"
    PAINT = "paint"
    JOINTS = "joints"
    CROP = "crop"


@dataclass(frozen=True, eq=False)
class Medium:
    """How the maps of a control type under its settings are made by hand.

    names: of the classes that are painted, in the order of their numbers; empty for lines.
    palette: uint8 N×3, the colours of the marks: of the classes, or 256 greys.
    """

    control: Control[Any]
    settings: ControlSettings
    mode: Mode
    names: tuple[str, ...]
    palette: NDArray[np.uint8]

    @property
    def about(self) -> str:
        """Tells one medium from another."""
        return f"{self.control.name} {self.settings.canonical()}"

    def marks(self, picture: Picture) -> NDArray[np.uint8]:
        """A map as marks H×W: class numbers, or greys. ControlError if it is no such map."""
        found = self.control.from_picture_for(picture, self.settings)
        return np.asarray(found.data if self.names else found.picture[:, :, 0], np.uint8)

    def picture(self, marks: NDArray[np.uint8]) -> Picture:
        """The map of marks H×W; its pixels are exactly the colours of the palette.

        ValueError for marks that the palette has not, that are nothing, or that would be read as
        another drawing.
        """
        if int(marks.max(initial=0)) >= len(self.palette):
            raise ValueError(f"there is no class {int(marks.max())}")
        if not self.names:
            if not marks.any():
                raise ValueError("nothing is drawn: the source stays as it was")
            light = float((marks >= 128).mean())
            if light > MOST_LIGHT:
                raise ValueError(
                    f"{light:.0%} of the map is white, and more than half would be read as light "
                    "paper: rub some of it out"
                )
        return np.asarray(self.palette[marks], np.uint8)


def medium_of(control: str, settings: str = "") -> Medium | None:
    """How maps of a control type are made by hand; None for those that cannot be.

    settings: as JSON, "" for the defaults.
    """
    kind, values = resolve(control, settings)
    none = np.zeros((0, 3), np.uint8)
    if isinstance(kind, PoseControl):
        return Medium(kind, values, Mode.JOINTS, (), none)
    if isinstance(kind, SegmentationControl):
        classes = kind.classes(values)
        return Medium(kind, values, Mode.PAINT, classes.names, classes.palette)
    if kind.is_lines:
        greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        return Medium(kind, values, Mode.DRAW, (), greys)
    return None


def misread(path: Path, control: Control[Any]) -> str:
    """A sentence about a map that was made by hand for another control type, else "".

    Lines are lines for all control types of lines.
    """
    try:
        name = read_with_text(path)[1].get(MAP_KEY, control.name)
        meant = resolve(name)[0]
    except ValueError:
        return ""
    if meant.name == control.name or (meant.is_lines and control.is_lines):
        return ""
    return f"This map was made as {meant.label}, and is taken as {control.label} now."


def brush_width(control: str, side: int) -> int:
    """The width, in pixels, of strokes that look as the control type draws them."""
    usual = {"scribble": 16, "hed": 6, "segmentation": 32}
    return max(round(side * usual.get(control, 2) / 512), 1)


def standing(world: str = "") -> NDArray[np.float32]:
    """One person who stands and faces the viewer, as `people_of` returns people.

    world: of the embedded family, whose people have other proportions.
    """
    places = np.array(_STANDING, np.float32)
    if world == "paperdoll":
        limbs = (0.25, 0.15)
        pose = Pose(0.5, 1.0, 0.0, 0.0, (limbs, limbs), ((0.06, 0.03), (0.06, 0.03)))
        places = pose.joints().astype(np.float32)
    return np.concatenate([places, np.ones((JOINT_COUNT, 1), np.float32)], axis=1)[None]


def people_of(values: object) -> NDArray[np.float32]:
    """People from plain lists, float32 P×18×3: x and y as shares of the picture, 0 or 1 for shown.

    Joints that are hidden keep their place. ValueError for what is no list of people.
    """
    try:
        people = np.asarray(values, np.float32)
    except (TypeError, ValueError):
        people = np.zeros(0, np.float32)
    if people.ndim != 3 or people.shape[1:] != (JOINT_COUNT, 3) or len(people) > MOST_PEOPLE:
        raise ValueError(f"people are lists of {JOINT_COUNT} joints of three numbers each")
    if not np.isfinite(people).all() or (people < 0).any() or (people[..., :2] >= 1).any():
        raise ValueError("joints lie in the picture, from 0 to less than 1")
    return np.concatenate([people[..., :2], people[..., 2:] > 0], axis=2).astype(np.float32)


def skeleton(people: NDArray[np.float32], side: int) -> tuple[Picture, dict[str, str]]:
    """The map of people as the control type draws it, and the text that keeps their joints.

    ValueError if no joint is shown.
    """
    if not (people[..., 2] > 0).any():
        raise ValueError("no joint is shown")
    kept = people.astype(float).round(5).tolist()
    control = cast(PoseControl, resolve("pose")[0])
    picture = control.draw(np.array(kept, np.float32), side, side).picture
    return picture, {JOINTS_KEY: json.dumps(kept, separators=(",", ":"))}


def joints_in(picture: Picture, text: dict[str, str]) -> NDArray[np.float32]:
    """The people of a skeleton: those that its text keeps, if it is a drawing of them, else as read
    from its pixels. ControlError if it is no skeleton.
    """
    try:
        people = people_of(json.loads(text.get(JOINTS_KEY, "")))
        if np.array_equal(skeleton(people, picture.shape[0])[0], picture):
            return people
    except ValueError:
        pass
    return np.asarray(resolve("pose")[0].from_picture(picture).data, np.float32)


def uploaded(name: str, data: bytes) -> Picture:
    """A picture that somebody gives, upright; ImageError for what is none or is too large."""
    if len(data) > MAX_BYTES:
        raise ImageError(f"{name}: larger than {MAX_BYTES // 2**20} MB")
    if Path(name).suffix.lower() not in SUFFIXES:
        raise ImageError(f"{name}: not one of {', '.join(SUFFIXES)}")
    return decode_image(data, name=name)


def centred(height: int, width: int) -> tuple[int, int, int]:
    """The largest centred square of a picture: left, top, side."""
    side = min(height, width)
    return (width - side) // 2, (height - side) // 2, side


def cropped(picture: Picture, box: Sequence[object]) -> Picture:
    """A square cut out of a picture, pixel by pixel.

    box: left, top and side in pixels; ValueError for one that does not lie in the picture.
    """
    height, width = picture.shape[:2]
    if len(box) != 3 or not all(isinstance(value, int) for value in box):
        raise ValueError("a part of a picture is told by three whole numbers")
    left, top, side = cast(Sequence[int], box)
    least = min(LEAST_CROP, height, width)
    if min(left, top) < 0 or side < least or left + side > width or top + side > height:
        raise ValueError(
            f"the part must lie in the picture and have at least {least} pixels a side"
        )
    return np.ascontiguousarray(picture[top : top + side, left : left + side])


def keep(picture: Picture, folder: Path, stem: str, text: dict[str, str]) -> tuple[Path, bool]:
    """Keep a picture as a PNG named by its pixels; returns its place, and whether it is new there.

    stem: the name begins with it. text: stored in the PNG. OSError if the disk refuses.
    """
    mark = hashlib.sha256(f"{picture.shape}".encode() + picture.tobytes()).hexdigest()[:12]
    stem = re.sub(r"[^\w-]+", "-", stem).strip("-")[:40] or "picture"
    path = folder.resolve() / f"{stem}-{mark}.png"
    new = not path.exists()
    write_atomic(path, encode_png(picture, text))
    return path, new
