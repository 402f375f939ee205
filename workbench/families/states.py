"""What of a family is on this disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workbench.families.layout import weights_problem
from workbench.families.locate import LocateError, NotDownloadedError, Place, locate, pins_path
from workbench.families.pins import read_pins, write_pins
from workbench.families.readers import clip_problem, network_problem
from workbench.families.spec import CLIP, Family, ModelRef, NetworkRef

SHORT = 12


@dataclass(frozen=True)
class ModelState:
    """One model of a family: `role` ("base photo", "ControlNet canny"), and where it lies.

    `problem` says why it cannot be used, other than that it is still to be downloaded. `licence`
    is "" where the model's own card must be asked. `is_choice` tells judges that a study may choose
    from those it gets without a choice.
    """

    role: str
    ref: ModelRef
    place: Place | None
    problem: str = ""
    licence: str = ""
    is_choice: bool = False

    @property
    def present(self) -> bool:
        """Whether it lies on this disk."""
        return self.place is not None and self.place.folder is not None

    @property
    def text(self) -> str:
        """ "present" with its revision or folder, or "missing"; and what is wrong with it."""
        if self.place is None or self.place.folder is None:
            return "missing" + (f": {self.problem}" if self.problem else "")
        if self.place.revision:
            where = f", revision {self.place.revision[:SHORT]}"
        else:
            where = f" in {self.place.folder}" if self.ref.repo else ""
        return f"present{where}" + (f", but cannot be used: {self.problem}" if self.problem else "")

    @property
    def licence_text(self) -> str:
        """The licence, or where it is to be read."""
        return self.licence or f"see its model card, https://huggingface.co/{self.ref.repo}"


def family_models(family: Family) -> Iterator[tuple[str, ModelRef]]:
    """Every model that a study of the family gets if it chooses no judges, with its role."""
    for name, ref in family.base.items():
        yield f"base {name}", ref
    if family.vae is not None:
        yield "VAE", family.vae
    for name, net in family.controlnets.items():
        yield f"ControlNet {name}", net
    yield "CLIP", family.clip
    for name, network in family.networks.items():
        yield f"network {name}", network


def family_choices(family: Family) -> Iterator[tuple[str, ModelRef]]:
    """Every judge that a study may choose instead, with its role ("depth dpt-large")."""
    for need, refs in family.judges.items():
        usual = family.clip if need == CLIP else family.networks.get(need)
        for name, ref in refs.items():
            if usual is None or _told(ref, need) != _told(usual, need):
                yield f"{need} {name}", ref


def family_states(family: Family, models: str | Path | None = None) -> list[ModelState]:
    """Where each model of a family lies. Nothing is loaded, no network is touched."""
    usual = [(role, ref, False) for role, ref in family_models(family)]
    choices = [(role, ref, True) for role, ref in family_choices(family)]
    bases = {f"base {name}" for name in family.base}
    found = []
    for role, ref, is_choice in [*usual, *choices]:
        place, problem = None, ""
        try:
            place = locate(ref, models)
        except NotDownloadedError:
            pass
        except LocateError as error:
            problem = str(error)
        if place is not None and place.folder is not None:
            problem = _problem(role, ref, place.folder)
        whole = family.licence if ref.path or role in bases else ""
        licence = ref.licence or whole
        found.append(ModelState(role, ref, place, problem, licence, is_choice))
    return found


def _told(ref: ModelRef, need: str) -> tuple[str, str]:
    """What tells two judges apart; a CLIP needs no loader."""
    return ref.title, ref.loader if isinstance(ref, NetworkRef) and need != CLIP else ""


def _problem(role: str, ref: ModelRef, folder: Path) -> str:
    if role.partition(" ")[0].lower() == CLIP:
        return clip_problem(folder)
    return network_problem(ref, folder) if isinstance(ref, NetworkRef) else weights_problem(folder)


def pin_family(
    family: Family, models: str | Path | None = None
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Write down the commits of downloaded models which the catalogue leaves open.

    Returns the pins of this family, old and new, and the hub ids that could not be pinned: they are
    not downloaded, or lie in a plain folder, which knows no commit. Loading takes the pinned
    commits from then on, and manifests record them.
    """
    path = pins_path(models)
    known = read_pins(path)
    pins: dict[str, str] = {}
    unknown: list[str] = []
    for state in family_states(family, models):
        repo = state.ref.repo
        if not repo or state.ref.revision:
            continue
        commit = state.place.revision if state.present and state.place is not None else ""
        if commit := known.get(repo, "") or commit:
            pins[repo] = commit
        elif repo not in unknown:
            unknown.append(repo)
    if pins.keys() - known.keys():
        write_pins(path, known | pins)
    return pins, tuple(unknown)
