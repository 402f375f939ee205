"""Finding the weight files of an annotator and reading them without running what is in them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.families.catalogue import FamilyError
from workbench.families.loaders import LOADERS
from workbench.families.locate import LocateError, Place
from workbench.families.refs import NetworkRef

if TYPE_CHECKING:
    import torch

M = TypeVar("M", bound="torch.nn.Module")


@dataclass(frozen=True)
class Weights:
    """The weight files of one catalogue entry, and how large a picture its network reads.

    resolution: the side in pixels of the family's pictures.
    """

    ref: NetworkRef
    place: Place
    resolution: int = 512

    @property
    def side(self) -> int:
        """The shorter side in pixels to which pictures are brought before they are read."""
        return self.ref.side or LOADERS[self.ref.loader].side or self.resolution

    def path(self, index: int = 0) -> Path:
        """A weight file on this disk; `workbench.families.hub` brings it there.

        Raises LocateError, which names the file, its repository and the place it was looked for.
        """
        name = self.ref.files[index]
        if self.place.folder is None:
            raise LocateError(f"{self._wants(name)}; it is not on this disk")
        path = self.place.folder / name
        if not path.is_file():
            raise LocateError(f"{self._wants(name)}; it is not in {self.place.folder}")
        return path

    def tensors(self, index: int = 0) -> dict[str, Any]:
        """What a `.pth`, `.pt` or `.safetensors` file holds, on the CPU; no code in it is run.

        Raises FamilyError if the file cannot be read so.
        """
        import torch

        path = self.path(index)
        try:
            if path.suffix == ".safetensors":
                from safetensors.torch import load_file

                return load_file(path)
            loaded = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # what torch raises for a foreign file differs by version
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise FamilyError(
                f"{path}: is no file of weights that can be read safely: {first}"
            ) from error
        if not isinstance(loaded, Mapping):
            raise FamilyError(f"{path}: holds {type(loaded).__name__}, not named weights")
        return dict(loaded)

    def fill(self, make: Callable[[], M], state: Mapping[str, Any], device: str) -> M:
        """A module with these weights in float32, frozen, ready to read, on a device.

        The module is made without memory of its own, so that nothing is initialised in vain.
        Raises FamilyError if the weights are not those of this network.
        """
        import torch

        with redirect_stdout(StringIO()), warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")  # of timm and torch, about the classes' old habits
            model = make()
        try:
            model.load_state_dict(dict(state), strict=True, assign=True)
        except RuntimeError as error:
            first = " ".join(str(error).split())[:200]
            raise FamilyError(
                f"{self.path()}: these are not the weights of {self.ref.loader}: {first}"
            ) from error
        return model.float().eval().requires_grad_(False).to(device)

    def _wants(self, name: str) -> str:
        return f'the extractor "{self.ref.loader}" needs the file {name}{self.ref.source}'


def without_prefix(state: Mapping[str, Any], prefix: str = "module.") -> dict[str, Any]:
    """Weights under the names they had before they were trained on several devices."""
    return {name.removeprefix(prefix): value for name, value in state.items()}
