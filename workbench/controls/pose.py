"""Human pose: joints read by the model family's pose network, drawn as OpenPose draws them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from workbench.controls import _skeleton
from workbench.controls._batches import ask
from workbench.controls.base import (
    Control,
    ControlError,
    ControlMap,
    ControlSettings,
    Networks,
    all_nothing,
)
from workbench.images import as_rgb
from workbench.metrics.spec import MetricSpec, Reading

JOINT_COUNT = 18


class PoseSettings(ControlSettings):
    """Settings of the pose.

    confidence: joints of which the network is less sure are left out. The embedded judge is surer
        than 0.3 of 99.9 % of the joints in rendered scenes.
    """

    confidence: float = Field(default=0.3, gt=0, le=1)


class PoseControl(Control[PoseSettings]):
    """Human pose. The map's picture is an OpenPose skeleton.

    The data are float32 P×18×3 in OpenPose's COCO-18 order: x and y as shares of the picture's
    width and height, so that maps of unequal sizes compare, and the confidence; three zeros for a
    joint which was not found or lies outside the picture. Without people P is 0. `limbs` are the
    joints that each limb joins, `colours` those of the joints; limbs take the first ones.

    PCK stands for adherence. On 40 rendered scenes with the embedded judge its chance is 0.15 and
    its ceiling 0.99 (standard deviation over unrelated pairs 0.22); OKS, whose COCO sigmas forgive
    a torso far more than a face, has 0.34 and 0.98 (0.22). The share of joints found is 1 for
    unrelated people too: it only tells that there is somebody.
    """

    name = "pose"
    label = "Human pose"
    settings_type = PoseSettings
    primary = "pose_pck"
    needs = ("pose",)
    limbs = _skeleton.LIMBS
    colours = _skeleton.COLOURS
    metrics = (
        MetricSpec.of(
            "PoseOKS",
            "pose_oks",
            "Pose OKS",
            "object keypoint similarity (COCO) over the wanted people, matched one to "
            "one; area of the box around the wanted joints; the neck takes the shoulders' sigma",
        ),
        MetricSpec.of(
            "PosePCK",
            "pose_pck",
            "Pose PCK@0.2",
            "share of wanted joints within 0.2 torso lengths (neck to hips), else 0.2 of "
            "the longer side of the box around the joints (Yang and Ramanan 2013)",
        ),
        MetricSpec.of(
            "PoseFound",
            "pose_found",
            "Joints found",
            "share of the wanted joints which the matched person has, wherever they are",
        ),
    )

    def extract(
        self, images: Sequence[NDArray[np.uint8]], settings: PoseSettings, networks: Networks
    ) -> list[ControlMap]:
        """One map per picture, in one call of the network for each size among the pictures."""
        answers = ask(images, networks, "pose", self.label, 3, may_be_empty=True)
        maps = []
        for image, people in zip(images, answers, strict=True):
            if people.shape[1:] != (JOINT_COUNT, 3):
                raise ControlError(
                    f"the network 'pose' returned people of {people.shape[1:]}, "
                    f"not {(JOINT_COUNT, 3)}"
                )
            height, width = image.shape[:2]
            kept = _kept(people, height, width, settings.confidence)
            maps.append(ControlMap(_skeleton.draw(kept, height, width), kept))
        return maps

    def nothing_in(self, target: ControlMap, settings: PoseSettings) -> str:
        """See `Control.nothing_in`: a map without people."""
        return "" if len(target.data) else "the wanted map has no person in it"

    def compare(
        self, preds: ControlMap, target: ControlMap, settings: PoseSettings
    ) -> dict[str, Reading]:
        """All three readings. A wanted map without people leaves nothing to compare."""
        from workbench.metrics.pose import pose_scores

        if reason := self.nothing_in(target, settings):
            return all_nothing(self.metrics, reason)
        height, width = target.picture.shape[:2]
        to_pixels = np.array([width, height, 1], np.float64)
        scores = pose_scores(preds.data * to_pixels, target.data * to_pixels)
        return {
            "pose_oks": Reading(scores.oks),
            "pose_pck": Reading(scores.pck),
            "pose_found": Reading(scores.found),
        }

    def draw(self, people: NDArray[np.float32], height: int, width: int) -> ControlMap:
        """The map of people P×18×3 (see the class); joints of confidence 0 are left out."""
        kept = np.where(people[..., 2:] > 0, people, np.float32(0))
        return ControlMap(_skeleton.draw(kept, height, width), kept)

    def from_picture(self, picture: NDArray[np.uint8]) -> ControlMap:
        """Read the joints back from a skeleton in OpenPose's colours, see `_skeleton.read`.

        Raises ControlError if the picture is not such a drawing.
        """
        drawing = as_rgb(picture)
        return ControlMap(drawing, _skeleton.read(drawing))


def _kept(people: np.ndarray, height: int, width: int, least: float) -> NDArray[np.float32]:
    """People of P×18×3 in pixels who have enough sure joints, as shares of the picture."""
    shares = people.astype(np.float32) / np.array([width, height, 1], np.float32)
    inside = ((shares[..., :2] >= 0) & (shares[..., :2] < 1)).all(axis=2)
    sure = inside & (shares[..., 2] >= least)
    return np.where(sure[..., None], shares, np.float32(0))[
        sure.sum(axis=1) >= _skeleton.FEWEST_JOINTS
    ]


CONTROL = PoseControl()
