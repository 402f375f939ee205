"""Training a ControlNet for any base model, on a folder of pictures or on scenes.

The objective is that of the base model with the control added (Zhang et al. 2023, eq. 5):
L = E‖target − prediction‖², where the target is what the base model's own scheduler says that it
predicts. A share of the prompts is replaced by the empty one, so that the map itself is read.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from workbench.atomic import write_atomic
from workbench.cancel import CancelToken
from workbench.controls import get_control
from workbench.families import ControlNetRef, Family, Runtime, get_family, load_catalogue
from workbench.families.determinism import processor_threads
from workbench.families.manager import ModelManager
from workbench.study.canonical import canonical_hash
from workbench.training.beside import BESIDE, ControlLesson, Noising
from workbench.training.examples import HELD, PAPERDOLL, Example, Prepared, read_examples
from workbench.training.loop import Fit, History, Log, Pace, Recipe, StepDraws, Watch, bfloat16_pays
from workbench.training.loop import fit as fit_module
from workbench.training.validation import MOST_STEPS, Validation

Precision = Literal["auto", "no", "fp16", "bf16"]
STATE, SETTINGS, RESULT, CATALOGUE = (
    "checkpoint.safetensors",
    "training.json",
    "controlnet",
    "families.yaml",
)
LOG, CURVE = "log.jsonl", "curve.csv"
_FREE = ("out", "device", "steps", "validate_every", "save_every", "threads", "log_every", "held",
         "look_steps", "cache")  # fmt: skip
"""What may change when a training goes on; other pictures held back of a folder are other ones to
learn from, which are told apart by themselves."""
_DTYPES = {"no": "float32", "fp16": "float16", "bf16": "bfloat16"}
_SHOW_SECONDS = 0.2


class TrainingError(ValueError):
    """A training cannot begin or go on. The message is one sentence for the user."""


@dataclass(frozen=True)
class ControlNetTraining:
    """What is learnt from what, and how.

    Attributes:
        family, base: the model family, and which of its base models ("" is the first).
        control, settings: control type, and settings of its extractor other than the family's.
        data: a folder of pictures with captions, or "paperdoll".
        out: folder of the checkpoint, the log and the result.
        device: where it computes; "" is CUDA where there is some, else the CPU.
        precision: mixed precision; "auto" is the best that the device computes fast.
        steps: optimiser steps. batch_size: pictures in each gradient, accumulate: gradients in
            each step. rate: learning rate, reached after warm_up steps.
        drop: share of the prompts that are replaced by the empty one.
        ema: decay of a running average of the weights, which is then the result; 0 keeps none.
        checkpointing: compute activations anew for the gradient: less memory, more time.
        seed: of the first weights and all draws.
        validate_every, save_every: steps between two looks and between two checkpoints.
        scenes: of the embedded world, where they are the data.
        threads: of the processor; 0 leaves them as they are.
        log_every: steps over which a loss in the log is the mean.
        held: at most so many pictures are not learnt from, but looked at.
        look_steps: denoising steps of such a picture at most.
        cache: folder of maps and latents, which trainings may share; one of its own if None.
        reader: weight of a second objective, which helps the condition encoder of a UNet's
            ControlNet: a linear layer finds the clean latent in what it says of the map. The
            layer is thrown away afterwards; 0 is for the article's training, without it.
    """

    family: str
    control: str
    data: str
    out: Path
    base: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    device: str = ""
    precision: Precision = "auto"
    steps: int = 5_000
    batch_size: int = 4
    accumulate: int = 1
    rate: float = 1e-5
    warm_up: int = 500
    drop: float = 0.5
    ema: float = 0.0
    checkpointing: bool = False
    seed: int = 0
    validate_every: int = 500
    save_every: int = 500
    scenes: int = 2_000
    threads: int = 0
    log_every: int = 50
    held: int = HELD
    look_steps: int = MOST_STEPS
    cache: Path | None = None
    reader: float = 0.0


@dataclass(frozen=True)
class TrainingProgress:
    """How far a training is, for a progress bar; `done` and `total` count what `unit` says."""

    done: int
    total: int
    seconds_left: float | None
    phase: str
    unit: str


Show = Callable[[TrainingProgress], None]


@dataclass(frozen=True)
class Trained:
    """What a training has come to.

    finished: whether all steps were taken. folder: the ControlNet so far, for `from_pretrained`.
    name: of the family in `catalogue`, a file with an entry that extends the base's family.
    history: losses and looks, as in the log.
    """

    finished: bool
    step: int
    folder: Path
    name: str
    catalogue: Path
    history: History


def train_any(
    asked: ControlNetTraining,
    *,
    family: Family | None = None,
    models: Path | None = None,
    log: Log = lambda line: None,
    show: Show = lambda progress: None,
    cancel: CancelToken | None = None,
) -> Trained:
    """Train a ControlNet, or go on where the same training stopped.

    Everything that can be refused is refused before a model is loaded, and the base model is
    checked before any picture is read.

    Args:
        asked: what is learnt from what.
        family, models: the family itself and the models folder, if not those of the catalogue.
        log: takes a line at a time; show: takes progress; cancel: stops it, resumably.

    Raises:
        TrainingError: settings, base model or folder will not do. DataError: the pictures will not.
        ControlError, FamilyError, LocateError, ImageError: as their rooms say.
    """
    chosen = family or get_family(asked.family)
    settings = _checked(asked, chosen)
    examples, held = read_examples(asked.data, asked.scenes, asked.seed, asked.held)
    device = asked.device or ("cuda" if torch.cuda.is_available() else "cpu")
    precision = _precision(asked.precision, device)
    identity = _identity(asked, settings, examples, precision)
    with _claimed(asked.out, identity), processor_threads(asked.threads or torch.get_num_threads()):
        own = chosen.model_copy(
            update={"controlnets": {asked.control: ControlNetRef(path=f"{RESULT}/{asked.control}")}}
        )
        # Plain products train much faster on processors; transformers have fused attention only.
        eager = device == "cpu" and own.parts_of.denoiser == "unet"
        manager = ModelManager(
            own,
            asked.base or None,
            device=device,
            dtype="float32" if device == "cpu" else _DTYPES[precision],
            models_dir=models,
            runtime=Runtime(attention="eager" if eager else "auto"),
        )
        cancel = cancel or CancelToken()
        work = _Work(asked, manager, settings, _accelerator(device, precision), cancel)
        return work.run(examples, held, log, show)


def dropped(captions: Sequence[str], share: float, rng: np.random.Generator) -> list[str]:
    """The captions, each replaced by the empty prompt with this probability."""
    gone = rng.random(len(captions)) < share
    return ["" if empty else text for text, empty in zip(captions, gone, strict=True)]


class _Work:
    """One training: its models, its objective, and where it is written down."""

    def __init__(
        self,
        asked: ControlNetTraining,
        manager: ModelManager,
        settings: Any,
        accelerator: Any,
        cancel: CancelToken,
    ) -> None:
        self.asked, self.manager, self.cancel = asked, manager, cancel
        self.settings, self.accelerator = settings, accelerator
        self.noising = Noising(manager.pipeline(None).scheduler.config)
        self.beside = BESIDE[manager.family.parts_of.denoiser](manager)
        net: Any = self.beside.new_net(asked.seed, checkpointing=asked.checkpointing)
        self.net, self.learner = net, net
        if asked.reader:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(asked.seed)
                lesson = ControlLesson(net, net.config.in_channels)
            self.learner = lesson.to(manager.device)
        self.prepared = Prepared(
            manager, asked.cache or asked.out / "cache", asked.control, settings
        )

    def run(
        self, examples: Sequence[Example], held: Sequence[Example], log: Log, show: Show
    ) -> Trained:
        """Read what is not read yet, then train."""
        asked, total = self.asked, len(examples)
        started = time.monotonic()

        def read(done: int) -> bool:
            if done % 10 == 0:
                passed = time.monotonic() - started
                left = passed * (total - done) / done if done else None
                show(TrainingProgress(done, total, left, "reading", "pictures"))
            return not self.cancel.cancelled

        if not self.prepared.make(examples, read):
            return self._result(Fit(self.learner, 0, False))
        held_maps = Validation(
            self.manager, asked.control, self.settings, held, self.prepared,
            asked.out / "validation", asked.look_steps,
        )  # fmt: skip
        every = range(0, asked.steps, asked.validate_every)
        watch = Watch(frozenset(every), partial(self._look, held_maps))
        self.shown = 0.0
        pace = Pace(
            save_steps=asked.save_every,
            log_steps=asked.log_every,
            cancel=self.cancel,
            accelerator=self.accelerator,
            tell=partial(self._tell, show),
            keep=self._keep,
        )
        recipe = Recipe(
            asked.steps, asked.rate, last_rate=1.0, warm_up=asked.warm_up, average=asked.ema,
            seed=asked.seed, accumulate=asked.accumulate, betas=(0.9, 0.999),
        )  # fmt: skip
        self.steps = 0
        try:
            found = fit_module(
                self.learner.train(), partial(self.loss, examples), recipe, asked.out / STATE, log,
                pace=pace, watch=watch,
            )  # fmt: skip
        except FloatingPointError as error:
            raise TrainingError(
                f"{error}: the checkpoint before it is kept; take a smaller --rate, or --precision "
                "no, and another --out"
            ) from None
        return self._result(found)

    def loss(self, examples: Sequence[Example], draws: StepDraws) -> Mapping[str, Tensor]:
        """The objective on one batch of the step's own draws."""
        rows = draws.numpy.integers(0, len(examples), self.asked.batch_size)
        chosen = [examples[row] for row in rows]
        texts = dropped([one.caption for one in chosen], self.asked.drop, draws.numpy)
        seen, latents = zip(*(self.prepared.load(one) for one in chosen), strict=True)
        clean = torch.from_numpy(np.stack(latents)).to(self.manager.device).float()
        noisy, steps, target = self.noising(clean, draws)
        if not isinstance(self.learner, ControlLesson):
            guess = self.beside.prediction(self.net, noisy, steps, texts, np.stack(seen))
            return {"loss": (guess.float() - target).square().mean()}
        with _heard(self.net.controlnet_cond_embedding) as heard:
            guess = self.beside.prediction(self.net, noisy, steps, texts, np.stack(seen))
        read = (self.learner.reader(heard[0]).float() - clean).square().mean()
        return {
            "loss": (guess.float() - target).square().mean(),
            "reader": self.asked.reader * read,
        }

    def _look(self, validation: Validation, module: nn.Module) -> Mapping[str, float]:
        return validation(_controlnet(module), self.steps, self.cancel)

    def _tell(self, show: Show, step: int, left: float) -> None:
        self.steps = step
        now = time.monotonic()
        if now - self.shown > _SHOW_SECONDS or step == self.asked.steps:
            self.shown = now
            show(TrainingProgress(step, self.asked.steps, left, "training", "steps"))

    def _keep(self, history: History) -> None:
        """The log as JSON lines, and as a table with a row for each step that has figures."""
        import pandas as pd

        plain = [{k: None if v != v else v for k, v in row.items()} for row in history]
        lines = "".join(json.dumps(row) + "\n" for row in plain)
        write_atomic(self.asked.out / LOG, lines.encode())
        table = pd.DataFrame(history).groupby("step", as_index=False).first()
        buffer = io.StringIO()
        table.to_csv(buffer, index=False)
        write_atomic(self.asked.out / CURVE, buffer.getvalue().encode())

    def _result(self, found: Fit) -> Trained:
        """Write the ControlNet as it is, and the family that uses it."""
        import yaml

        out, name = self.asked.out, family_name(self.asked)
        folder, new = out / RESULT, out / f".{RESULT}.new"
        shutil.rmtree(new, ignore_errors=True)
        _controlnet(found.module).save_pretrained(new)
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
        entry = catalogue_entry(self.asked, RESULT)
        write_atomic(out / CATALOGUE, yaml.safe_dump(entry, sort_keys=False).encode())
        return Trained(found.finished, found.step, folder, name, out / CATALOGUE, found.history)


def _controlnet(module: nn.Module) -> Any:
    """What is kept of what is trained."""
    return module.controlnet if isinstance(module, ControlLesson) else module


@contextmanager
def _heard(module: nn.Module) -> Iterator[list[Tensor]]:
    """What a module returns meanwhile."""
    heard: list[Tensor] = []
    hook = module.register_forward_hook(lambda _, __, found: heard.append(found))
    try:
        yield heard
    finally:
        hook.remove()


def _checked(asked: ControlNetTraining, family: Family) -> Any:
    """The settings of the control's extractor; refuses what no data can mend."""
    if family.parts_of.denoiser == "unet" and family.latent_scale not in (2, 4, 8):
        raise TrainingError(
            f"one latent of {family.name} covers {family.latent_scale} pixels, and the condition "
            "encoder of a ControlNet is made for 2, 4 or 8"
        )
    if asked.reader and family.parts_of.denoiser != "unet":
        raise TrainingError(
            f"reader: {family.name} has no condition encoder to help, leave it at 0"
        )
    least = {"steps": 1, "batch_size": 1, "accumulate": 1, "validate_every": 1, "save_every": 1,
             "log_every": 1, "held": 1, "look_steps": 1,
             "warm_up": 0, "rate": 0, "drop": 0, "ema": 0, "scenes": 1, "seed": 0,
             "reader": 0}  # fmt: skip
    for name, low in least.items():
        value = getattr(asked, name)
        if value < low or (name in ("drop", "ema") and value > 1):
            raise TrainingError(f"{name}: {value} will not do")
    family.base_ref(asked.base or family.default_base)
    control = get_control(asked.control)
    settings = control.settings({**family.settings_for(asked.control), **asked.settings})
    lacking = [name for name in control.needs_for(settings) if name not in family.networks]
    if lacking:
        raise TrainingError(
            f"the family {family.name} has no network for {', '.join(lacking)}, which "
            f"{asked.control} maps are read by: add one to its entry in families.yaml"
        )
    return settings


def _precision(asked: Precision, device: str) -> str:
    if asked != "auto":
        if asked == "fp16" and device == "cpu":
            raise TrainingError("--precision fp16 is for GPUs: take bf16, or no, on a processor")
        return asked
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return "bf16" if device == "cpu" and bfloat16_pays() else "no"


def _accelerator(device: str, precision: str) -> Any:
    """One process's; the state that accelerate keeps of an earlier one is forgotten."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    made = Accelerator(mixed_precision=precision, cpu=device == "cpu", device_placement=False)
    if made.num_processes > 1:
        raise TrainingError("a training is one process on one device: start it without a launcher")
    return made


def _identity(
    asked: ControlNetTraining, settings: Any, examples: Sequence[Example], precision: str
) -> dict[str, Any]:
    """What must stay the same when a training goes on, as plain JSON."""
    plain = {k: v for k, v in vars(asked).items() if k not in _FREE}
    plain |= {"settings": json.loads(settings.map_canonical()), "precision": precision}
    data = asked.data if asked.data == PAPERDOLL else str(Path(asked.data).resolve())
    return plain | {"data": data, "pictures": canonical_hash([one.mark for one in examples])}


@contextmanager
def _claimed(out: Path, identity: Mapping[str, Any]) -> Iterator[None]:
    """Hold the folder, which is empty or of this very training, as its one writer."""
    from filelock import FileLock, Timeout

    path = out / SETTINGS
    if out.exists() and not out.is_dir():
        raise TrainingError(f"{out} is a file: name a folder")
    if path.is_file():
        known = {"reader": 0.0} | json.loads(path.read_text("utf-8"))  # older ones have none
        odd = [name for name in identity if known.get(name) != identity[name]]
        if odd:
            told = ", ".join(f"{name} {known.get(name)} (not {identity[name]})" for name in odd)
            raise TrainingError(
                f"{out} holds a training with other settings: {told}; name another --out"
            )
    elif out.is_dir() and any(out.iterdir()):
        raise TrainingError(f"{out} is not empty and holds no training: name another --out")
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise TrainingError(f"another process is training in {out}: wait for it") from None
    try:
        write_atomic(path, (json.dumps(identity, indent=1) + "\n").encode())
        yield
    finally:
        lock.release()


def family_name(asked: ControlNetTraining) -> str:
    """What the family with the trained ControlNet is called: as the folder, but like no other."""
    name = re.sub(r"[^a-z0-9_.-]+", "-", asked.out.resolve().name.lower()).strip("-._")[:50]
    known = load_catalogue()
    return f"{name or asked.family}-trained" if not name or name in known else name


def catalogue_entry(asked: ControlNetTraining, path: str) -> dict[str, Any]:
    """The contents of a families.yaml whose one family has the ControlNet at a path."""
    entry: dict[str, Any] = {
        "extends": asked.family,
        "controlnets": {asked.control: {"path": path}},
    }
    return {"families": {family_name(asked): entry}}
