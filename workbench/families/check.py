"""What is missing of a family's models, or does not fit, found before any work.

Only names, small JSON files and the headers of weight files are read, so that every model of a
study is checked before the first one is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.families.allowed import class_problem
from workbench.families.catalogue import CLIP, Family
from workbench.families.files import (
    PICKLES,
    components,
    lacks_checker,
    network_folders,
    read_json,
    variant_of,
    variants,
)
from workbench.families.hub import Download, Hub, UnreachableError, room_problem
from workbench.families.loaders import LOADERS, package_problem
from workbench.families.locate import (
    SINGLE_FILES,
    LocateError,
    NotDownloadedError,
    Place,
    add_pins,
    is_offline,
    locate,
    pins_path,
    read_pins,
)
from workbench.families.refs import ControlNetRef, ModelRef, NetworkRef
from workbench.families.shapes import (
    AGAIN,
    BrokenFileError,
    base_shapes_problem,
    control_problem,
    controlnet_shapes_problem,
    denoiser_of,
    header_shapes,
    read_network,
)
from workbench.versions import require_docstrings

_SMALL = {
    "tokenizer": ("tokenizer.json", "vocab.json", "spiece.model"),
    "scheduler": ("scheduler_config.json",),
}
"""Parts of a pipeline without weights, and the files of which one must be there."""
_CLIP_ENDS = ("text_projection.weight", "visual_projection.weight")
_PROCESSOR = ("preprocessor_config.json", "processor_config.json")
_WITHOUT = (
    "to do without T5, load it with text_encoder_3=None, tokenizer_3=None and save that with "
    "save_pretrained"
)
_SHORT = 12  # digits of a commit that are shown


def require_models(
    family: Family,
    bases: Iterable[str],
    controlnets: Iterable[str] = (),
    networks: Iterable[str] = (),
    models: str | Path | None = None,
    *,
    safety_checker: bool = False,
) -> tuple[Download, ...]:
    """Find all models and look into their folders; nothing is loaded or downloaded.

    Of networks that read pictures, the packages which their loaders import are looked for too.

    Args:
        bases, controlnets, networks: names in the family.
        models: the models folder, if not the usual one.
        safety_checker: whether the base models' own safety checkers are needed.

    Returns:
        What must be downloaded first. The hub was asked for its lists of files and whether they
        may be had, and the disk whether it has room.

    Raises:
        LocateError: with every problem, one to a line.
    """
    require_docstrings()
    survey = _Survey(models)
    vae = None if family.vae is None else survey.find("VAE", family.vae)
    if family.vae is not None and not survey.fits("VAE", vae, vae_problem):
        vae = None
    places: list[Place] = []
    for name in dict.fromkeys(bases):
        role, ref = f"base model {name}", family.base_ref(name)
        place = survey.find(role, ref)
        if survey.fits(role, place, lambda found: base_problem(found, family, vae)):
            places += [place] if place else []
        if safety_checker and place is not None:
            survey.look_for_checker(role, family, ref, place)
    for name in dict.fromkeys(controlnets):
        role, net = f"ControlNet for {name}", family.controlnet_ref(name)
        survey.fits(
            role,
            survey.find(role, net),
            lambda found, net=net: _net_problem(found, family, net, places),  # type: ignore[misc]
        )
    bins = family.clip.bins
    survey.fits(
        "CLIP",
        survey.find("CLIP", family.clip),
        lambda found: clip_problem(_folder(found), bins=bins),
    )
    for name in dict.fromkeys(networks):
        role, reader = f"network {name}", family.networks.get(name)
        if reader is None:
            have = ", ".join(family.networks) or "none"
            survey.problems.append(
                f"{role}: a control of the study needs it, and the family {family.name} has no "
                f"such network; it has: {have}"
            )
            continue
        if problem := package_problem(reader.loader):
            survey.problems.append(f"{role}: {problem}")
        survey.fits(
            role,
            survey.find(role, reader),
            lambda found, reader=reader: network_problem(reader, _folder(found)),  # type: ignore[misc]
        )
    return survey.result()


@dataclass
class _Survey:
    """What was found of the models that a study needs.

    `downloads` are the models to download, by title, of which a safety checker has another;
    `failed` the titles of those that were told to be missing, for a union model serves several
    control types; `unreachable` says why the hub does not answer, after which it is not asked
    again, and `absent` which hub ids it was not asked for.
    """

    models: str | Path | None
    problems: list[str] = field(default_factory=list)
    downloads: dict[str, Download] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    hub: Hub = field(default_factory=Hub)
    unreachable: str = ""
    absent: list[str] = field(default_factory=list)

    def find(self, role: str, ref: ModelRef) -> Place | None:
        """Where a model lies; None where it cannot be had, which is then a problem."""
        if ref.title in self.failed:
            return None
        try:
            place = locate(ref, self.models)
            if place.folder is None and ref.title not in self.downloads:
                if self.unreachable:
                    self.absent.append(ref.repo)
                    return None
                self.downloads[ref.title] = self.hub.plan(ref, place.revision)
            return place
        except UnreachableError as error:
            self.unreachable = error.reason
            self.absent.append(ref.repo)
        except LocateError as error:
            self.problems.append(f"{role}: {error}")
            self.failed.add(ref.title)
        return None

    def fits(self, role: str, place: Place | None, check: Callable[[Place], str]) -> bool:
        """Whether a model lies in a folder that has no problem."""
        if place is None or place.folder is None:
            return False
        problem = check(place)
        if problem:
            self.problems.append(f"{role}: {place.name} cannot be used: {problem}")
        return not problem

    def look_for_checker(self, role: str, family: Family, ref: ModelRef, place: Place) -> None:
        """Find the safety checker of a base model."""
        if self.unreachable:
            return
        try:
            problem = self._checker_problem(role, family, ref, place)
            self.problems += [problem] if problem else []
        except UnreachableError as error:
            self.unreachable = error.reason
            self.absent.append(f"the safety checker of {role}")
        except LocateError as error:
            self.problems.append(f"safety checker of {role}: {error}")

    def result(self) -> tuple[Download, ...]:
        """What is to be downloaded. LocateError with every problem, one to a line."""
        downloads = tuple(self.downloads.values())
        if self.unreachable:
            absent = dict.fromkeys([*(one.ref.repo for one in downloads), *self.absent])
            self.problems.append(
                f"these models are not on this disk: {', '.join(absent)}; and the hub cannot "
                f"be reached ({self.unreachable}): mend the network, or copy each to "
                "PATH/owner/name and give --models PATH"
            )
        elif problem := room_problem(downloads):
            self.problems.append(problem)
        if self.problems:
            raise LocateError("\n".join(dict.fromkeys(self.problems)))
        return downloads

    def _checker_problem(self, role: str, family: Family, ref: ModelRef, place: Place) -> str:
        """Why a base model's safety checker cannot be loaded, as one sentence, else ""."""
        way = "leave safety_checker out of the study, or take a base model that brings one"
        if not family.parts_of.checks_safety:
            kind = family.architecture
            return f"safety_checker: models of the architecture {kind} have none: {way}"
        if place.folder is not None and not lacks_checker(place.folder):
            return ""
        if ref.repo and (place.folder is None or place.revision):
            if is_offline():
                return (
                    f"safety_checker: that of {role}, {ref.title}, is not on this disk, and the "
                    "network is switched off: run once without --offline, or leave it out of the "
                    "study"
                )
            if found := self.hub.plan_checker(ref, place.revision):
                self.downloads[f"the safety checker of {ref.title}"] = found
                return ""
        return f"safety_checker: {role}, {ref.title}, comes without one: {way}"


def _net_problem(place: Place, family: Family, ref: ControlNetRef, bases: list[Place]) -> str:
    """Why a ControlNet does not fit one of the base models, else ""."""
    choices: list[Place | None] = [*bases] or [None]
    found = (controlnet_problem(place, family, ref, base) for base in choices)
    return next(filter(None, found), "")


def weights_problem(folder: Path, *, bins: bool = False) -> str:
    """Why a folder's weights cannot be loaded (as the end of a sentence), else "".

    bins: whether a `pytorch_model.bin` may be read.
    """
    for name, path in network_folders(folder).items():
        what = f"its {name}" if name else "it"
        if variants(path, bins=bins):
            continue
        if not path.is_dir():
            way = f"; {_WITHOUT}" if name == "text_encoder_3" else ""
            return f"{what} is missing: {AGAIN}{way}"
        if any(variant_of(file.name) is not None for file in path.iterdir()):
            return f"{what} has some of its weight files only: copy the others there too"
        if any(file.name.endswith(PICKLES) for file in path.iterdir()):
            return (
                f"{what} has pickled weights only, which are never loaded; save it with "
                "save_pretrained(..., safe_serialization=True) first"
            )
        return f"{what} has no safetensors weights: {AGAIN}"
    return ""


def vae_problem(place: Place) -> str:
    """Why a folder cannot be loaded as a VAE (as the end of a sentence), else ""."""
    folder = _folder(place)
    return weights_problem(folder) or read_network(folder, "AutoencoderKL", _variant(place)).problem


def base_problem(place: Place, family: Family, vae: Place | None = None) -> str:
    """Why a local base model cannot be used in the family (as the end of a sentence), else "".

    `vae` is where the family's own VAE lies, which takes the place of the base model's.
    """
    folder, architecture = _folder(place), family.parts_of
    if not (folder / "model_index.json").is_file():
        return f"it is no saved diffusers pipeline: it has no model_index.json{_single(folder)}"
    if not components(folder):
        return f"its model_index.json cannot be read: {AGAIN}"
    if problem := class_problem(folder):
        way = f"take one that is saved as a {architecture.text}"
        return f"it is not loaded: {problem}; {way}"
    index, parts = read_json(folder / "model_index.json"), components(folder)
    kind = index.get("_class_name", "another pipeline")
    missing = [name for name in architecture.parts if name not in parts]
    other = [name for name in architecture.absent if name in parts]
    if missing or other:
        detail = f"it lacks a {missing[0]}" if missing else f"it has a {other[0]}"
        return f"it is of another architecture ({kind}): {detail}, unlike {architecture.text}"
    denoiser = index[architecture.denoiser][1]
    if denoiser != architecture.denoiser_class:
        return (
            f"it is of another architecture ({kind}): its {architecture.denoiser} is a {denoiser}, "
            f"no {architecture.denoiser_class}"
        )
    if problem := weights_problem(folder) or _small_problem(folder, parts):
        return problem
    own = vae.folder if vae is not None else None
    return base_shapes_problem(folder, architecture, _variant(place), own)


def _single(folder: Path) -> str:
    """How a sentence goes on where a folder holds a checkpoint, or a LoRA, that is one file."""
    files = sorted(path.name for path in folder.glob("*") if path.suffix in SINGLE_FILES)
    own = next((name for name in files if variant_of(name) is None), "")
    if not own:
        return f": {AGAIN}, or name the folder that save_pretrained wrote"
    return (
        f", and its {own} is a single file (a checkpoint, or a LoRA): the guide to real models "
        "shows how to make a folder of it, by from_single_file or fuse_lora, and save_pretrained"
    )


def _small_problem(folder: Path, parts: Iterable[str]) -> str:
    """Which of a pipeline's parts without weights is not there, else ""."""
    for name in parts:
        files = _SMALL.get(name.partition("_")[0])
        if files and not any((folder / name / file).is_file() for file in files):
            return f"its {name} has no {' or '.join(files)}: {AGAIN}"
    return ""


def controlnet_problem(
    place: Place, family: Family, ref: ControlNetRef, base: Place | None = None
) -> str:
    """Why a local ControlNet cannot steer this base (as the end of a sentence), else "".

    The weights' names tell the kinds apart: a union model's config may have any class name.
    """
    folder, architecture = _folder(place), family.parts_of
    config = read_json(folder / "config.json")
    if not config:
        return f"it is no diffusers model: it has no config.json{_single(folder)}"
    if problem := weights_problem(folder):
        return problem
    try:
        names = header_shapes(folder, _variant(place)).keys()
    except BrokenFileError as error:
        return str(error)
    kind = next((kind for name, kind in _TELLTALES.items() if name in names), "")
    if not kind:
        return _no_controlnet(config, sorted(names))
    union = ref.union_mode is not None
    wanted = architecture.union_controlnet if union else architecture.controlnet
    if kind != wanted:
        way = _OTHER_WAY.get((kind, wanted), "take one that was trained for this kind of model")
        return f"it is of another kind: {kind}, where {wanted} is needed; {way}"
    net = read_network(folder, kind, _variant(place))
    problem = net.problem or control_problem(net, family.latent_scale, ref.union_mode)
    if problem or base is None:
        return problem
    denoiser = denoiser_of(_folder(base), architecture, _variant(base))
    return "" if denoiser.problem else controlnet_shapes_problem(net, denoiser, architecture)


_TELLTALES = {
    "pos_embed_input.proj.weight": "SD3ControlNetModel",
    "task_embedding": "ControlNetUnionModel",
    "controlnet_cond_embedding.conv_in.weight": "ControlNetModel",
}
"""A tensor by which the kind of a ControlNet is told, and its class."""
_OTHER_WAY = {
    ("ControlNetUnionModel", "ControlNetModel"): "say its union_mode in the catalogue entry",
    ("ControlNetModel", "ControlNetUnionModel"): "leave union_mode out of the catalogue entry",
}


def _no_controlnet(config: Mapping[str, Any], names: Sequence[str]) -> str:
    """What a folder is whose tensors are those of no ControlNet known here."""
    if any(name.startswith(("control_model.", "input_hint_block.")) for name in names):
        return (
            "its weights are in the layout of the original code: convert the file with diffusers' "
            "ControlNetModel.from_single_file(FILE).save_pretrained(FOLDER)"
        )
    said = str(config.get("_class_name", "something else"))
    shown = ", ".join(names[:2]) or "none"
    if said in _TELLTALES.values():
        return f"its config.json says {said}, but its weights are others ({shown}, …): {AGAIN}"
    return f"it is no ControlNet, but {said} (its weights: {shown}, …): take a ControlNet"


def _folder(place: Place) -> Path:
    assert place.folder is not None, "only what lies on this disk can be looked into"
    return place.folder


def _variant(place: Place) -> str:
    return str(place.keywords.get("variant", ""))


def network_problem(ref: NetworkRef, folder: Path) -> str:
    """Why a folder cannot serve a catalogue entry (as the end of a sentence), else ""."""
    if ref.files:
        missing = [name for name in ref.files if not (folder / name).is_file()]
        return f"it lacks {' and '.join(missing)}{ref.source}" if missing else ""
    processor = LOADERS[ref.loader].processor
    found = _model_problem(folder, bins=ref.bins)
    return found or (_processor_problem(folder) if processor else "")


def clip_problem(folder: Path, *, bins: bool = False) -> str:
    """Why a folder cannot be loaded as a CLIP (as the end of a sentence), else "".

    bins: whether a `pytorch_model.bin` may be read.
    """
    if problem := _model_problem(folder, bins=bins):
        return problem
    names = header_shapes(folder)
    if names and not all(end in names for end in _CLIP_ENDS):
        kind = (read_json(folder / "config.json").get("architectures") or ["another model"])[0]
        return f"it is no CLIP of pictures and texts, but {kind}: take one that CLIPModel loads"
    words = (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()
    if not words and not (folder / "tokenizer.json").is_file():
        return "it has no tokenizer: save the model's CLIPTokenizer there with save_pretrained"
    return _processor_problem(folder)


def _model_problem(folder: Path, *, bins: bool) -> str:
    if problem := weights_problem(folder, bins=bins):
        return problem
    try:
        header_shapes(folder)
    except BrokenFileError as error:
        return str(error)
    return "" if (folder / "config.json").is_file() else "it has no config.json"


def _processor_problem(folder: Path) -> str:
    if any((folder / name).is_file() for name in _PROCESSOR):
        return ""
    return f"it has no {_PROCESSOR[0]}: save the model's image processor there with save_pretrained"


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
            where = f", revision {self.place.revision[:_SHORT]}"
        else:
            where = f" in {self.place.folder}" if self.ref.repo else ""
        return f"present{where}" + (f", but cannot be used: {self.problem}" if self.problem else "")

    @property
    def licence_text(self) -> str:
        """The licence, or where it is to be read."""
        return self.licence or f"see its model card, https://huggingface.co/{self.ref.repo}"


def _usual(family: Family) -> Iterator[tuple[str, ModelRef]]:
    """Every model that a study of the family gets if it chooses no judges, with its role."""
    yield from ((f"base {name}", ref) for name, ref in family.base.items())
    if family.vae is not None:
        yield "VAE", family.vae
    yield from ((f"ControlNet {name}", ref) for name, ref in family.controlnets.items())
    yield "CLIP", family.clip
    yield from ((f"network {name}", ref) for name, ref in family.networks.items())


def _choices(family: Family) -> Iterator[tuple[str, ModelRef]]:
    """Every judge that a study may choose instead, with its role ("depth dpt-large")."""
    for need, refs in family.judges.items():
        usual = family.clip if need == CLIP else family.networks.get(need)
        for name, ref in refs.items():
            if usual is None or _identity(ref, need) != _identity(usual, need):
                yield f"{need} {name}", ref


def family_states(family: Family, models: str | Path | None = None) -> list[ModelState]:
    """Where each model of a family lies. Nothing is loaded, no network is touched."""
    usual = [(role, ref, False) for role, ref in _usual(family)]
    choices = [(role, ref, True) for role, ref in _choices(family)]
    bases = {f"base {name}" for name in family.base}
    sound: list[Place] = []
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
            problem = _problem(family, role, ref, place, sound)
            sound += [place] if role in bases and not problem else []
        licence = ref.licence or (family.licence if ref.path or role in bases else "")
        found.append(ModelState(role, ref, place, problem, licence, is_choice))
    return found


def _identity(ref: ModelRef, need: str) -> tuple[str, str]:
    """What tells two judges apart; a CLIP needs no loader."""
    return ref.title, ref.loader if isinstance(ref, NetworkRef) and need != CLIP else ""


def _problem(family: Family, role: str, ref: ModelRef, place: Place, bases: list[Place]) -> str:
    """Why a model that is here cannot be used; `bases` are those that can, else ""."""
    kind = role.partition(" ")[0].lower()
    if kind == CLIP:
        return clip_problem(_folder(place), bins=ref.bins)
    if kind == "base":
        return base_problem(place, family)
    if isinstance(ref, ControlNetRef):
        return _net_problem(place, family, ref, bases)
    return (
        network_problem(ref, _folder(place)) if isinstance(ref, NetworkRef) else vae_problem(place)
    )


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
    add_pins(path, pins)
    return pins, tuple(unknown)
