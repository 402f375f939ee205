"""What does a card do with the workbench: equal pictures, speed, memory, and whole sweeps?

    python benchmarks/gpu.py [equal speed memory sweep] [--device cuda] [--width 320] [--size 512]
        [--steps 20] [--json]

`equal` draws with the embedded model: the device in each number format against the CPU in float32,
twice, in batches of one, and under each choice of `runtime`, in steps of 1/255 of a channel (the
largest and the median of the pictures' largest differences), and how far readings move. The other
parts draw with random weights in the shape of Stable Diffusion 1.5 (see overhead.py; --width 320 is
its true width). `speed` is seconds a picture by size of the batch, with determinism strict, strict
but for the filling of uninitialised memory, and off, beside a plain diffusers loop; `memory` what
batches of automatic size come to, alone and where another holds nearly all of the memory; `sweep`
the share of a study's time that is spent drawing. Without a card `--device cpu --width 64
--size 128 --steps 4` rehearses it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from overhead import shaped_family, write_models
from torch.utils import deterministic as fill

from workbench.families import Runtime
from workbench.families.determinism import deterministic
from workbench.families.manager import ModelManager
from workbench.generation import SampleResult, generate
from workbench.generation.recovery import is_full_record
from workbench.measuring import Measurer
from workbench.study import Plan, Study, Trial, make_plan
from workbench.sweep import run_study

Rows = Iterator[tuple[str, str]]
"""What was measured, and the figure."""
SHARE_TAKEN = 0.93
"""Of the free memory, by another, in the second half of `memory`."""


@dataclass(frozen=True)
class Bench:
    """What is measured on, and how much of it.

    embedded, shaped: make managers of the embedded model and of one in the shape of a large one,
        by device, dtype and runtime. size: side of the latter's pictures. batches: sizes of batches
        that are timed. seeds: pictures by scale. controls: of whole sweeps.
    """

    device: str
    embedded: Callable[..., ModelManager]
    shaped: Callable[..., ModelManager]
    steps: int
    size: int
    dtypes: Sequence[str] = ("float32", "float16", "bfloat16")
    batches: Sequence[int] = (1, 4, 16, 32)
    seeds: int = 32
    controls: Sequence[str] = ("canny", "lines", "lineart")

    @property
    def on_card(self) -> bool:
        """Whether the device is one with a memory of its own that can be measured."""
        return self.device.startswith("cuda")

    def study(self, **changes: Any) -> Study:
        """Two sources under one control, of as many seeds as batches need."""
        fields: dict[str, Any] = {
            "name": "gpu",
            "sources": ("paperdoll:900001", "paperdoll:900002"),
            "controls": ("canny",),
            "prompt": "a girl, long hair, black coat, snow",
            "scales": (0, 0.5, 1),
            "seeds": tuple(range(1, self.seeds + 1)),
            "steps": self.steps,
            "guidance_scale": 7.5,
        }
        return Study(**(fields | changes))

    def wait(self) -> None:
        """Until the device has done what was asked of it."""
        if self.on_card:
            torch.cuda.synchronize()

    def seconds(self, work: Callable[[], Any]) -> float:
        """What the work takes when it is done for the second time."""
        for _ in range(2):
            self.wait()
            began = time.perf_counter()
            work()
            self.wait()
            spent = time.perf_counter() - began
        return spent


def drawn(
    manager: ModelManager, plan: Plan, trials: Sequence[Trial], batch_size: Any
) -> dict[str, SampleResult]:
    """Trial id -> what came of it."""
    maps = Measurer(plan, manager).source_maps
    batches = generate(trials, maps, manager, batch_size=batch_size)
    return {result.trial.id: result for batch in batches for result in batch}


def steered(plan: Plan) -> list[Trial]:
    """The trials with a control."""
    return [trial for trial in plan.trials if trial.controls]


def apart(one: Mapping[str, SampleResult], other: Mapping[str, SampleResult]) -> str:
    """How far pictures of the same trials differ."""
    pairs = [(one[t].image, other[t].image) for t in one if t in other]
    far = [int(np.abs(a.astype(int) - b).max()) for a, b in pairs if not (a is None or b is None)]
    failed = len(pairs) - len(far)
    figure = f"{max(far)}/255, median {np.median(far):g}/255" if far else "no picture"
    return figure + (f", {failed} failed" if failed else "")


def attempted(work: Callable[[], str]) -> str:
    """What the work says, or why it could not be done."""
    try:
        return work()
    except Exception as error:  # the other rows are wanted, too
        return f"{type(error).__name__}: {error}"[:100]


def equal(bench: Bench) -> Rows:
    """Pictures and readings of the device against those of the CPU."""
    plan = make_plan(
        bench.study(controls=("canny", "depth"), seeds=(1, 2)),
        resolution=bench.embedded("cpu").family.resolution,
    )
    trials = steered(plan)[:8]
    here = bench.embedded("cpu")
    choices: list[dict[str, Any]] = [
        {"attention": "math"},
        {"attention": "eager"},
        {"channels_last": False},
    ]
    if bench.on_card:
        choices += [{"offload": "model"}, {"offload": "sequential"}, {"compile": "regional"}]
    with deterministic():
        wanted = drawn(here, plan, trials, 8)
        for dtype in bench.dtypes:
            there = bench.embedded(bench.device, dtype=dtype)
            got = drawn(there, plan, trials, 8)
            yield f"{dtype}: against the CPU in float32", apart(wanted, got)
            yield f"{dtype}: twice", apart(got, drawn(there, plan, trials, 8))
            yield f"{dtype}: batches of 1", apart(got, drawn(there, plan, trials, 1))
            yield f"{dtype}: readings", readings_apart(plan, here, wanted, got)
            for choice in choices:
                other = partial(
                    bench.embedded, bench.device, dtype=dtype, runtime=Runtime(**choice)
                )
                said = attempted(
                    lambda make=other, got=got: apart(got, drawn(make(), plan, trials, 8))
                )
                yield f"{dtype}: {' '.join(f'{k} {v}' for k, v in choice.items())}", said


def readings_apart(plan: Plan, judges: ModelManager, *pictures: Mapping[str, SampleResult]) -> str:
    """How far the same judges' readings move from some pictures to others of the same trials."""
    found = []
    for results in pictures:
        images = [(t, r.image) for t, r in results.items() if r.image is not None]
        read = Measurer(plan, judges).measure(images)
        rows = [row for measured in read for row in measured.rows]
        found.append({(row["cell"], row["metric"]): row["value"] for row in rows})
    pairs = [(v, found[1].get(key)) for key, v in found[0].items()]
    moved = [abs(a - b) for a, b in pairs if a is not None and b is not None]
    finite = [value for value in moved if np.isfinite(value)]
    return f"{max(finite):.2g} at most, {np.mean(finite):.2g} on average" if finite else "none"


@contextmanager
def filling(wanted: bool) -> Iterator[None]:
    """Whether PyTorch, in deterministic mode, fills memory that it hands out."""
    before = fill.fill_uninitialized_memory
    fill.fill_uninitialized_memory = wanted  # type: ignore[assignment]
    try:
        yield
    finally:
        fill.fill_uninitialized_memory = before  # type: ignore[assignment]


def speed(bench: Bench) -> Rows:
    """Seconds a picture, by batch, and of a plain loop."""
    plan = make_plan(bench.study(), resolution=bench.size)
    trials = steered(plan)
    for dtype in bench.dtypes:
        manager = bench.shaped(bench.device, dtype=dtype)
        maps = Measurer(plan, manager).source_maps
        best = np.inf
        for name, mode, fills in (
            ("strict", deterministic, True),
            ("without filling", deterministic, False),
            ("not deterministic", nullcontext, False),
        ):
            with mode(), filling(fills):
                for size in bench.batches:
                    batch = trials[:size]
                    spent = bench.seconds(partial(one_batch, manager, maps, batch))
                    best = min(best, spent / len(batch))
                    yield f"{dtype}: {name}, batch of {len(batch)}", f"{spent / len(batch):.3f} s"
        plain = bench.seconds(partial(plainly, manager, bench))
        yield f"{dtype}: plain diffusers loop", f"{plain:.3f} s"
        yield f"{dtype}: the best of these", f"{plain / best:.2f} × as fast as the loop"
        if bench.on_card:
            compiled = bench.shaped(bench.device, dtype=dtype, runtime=Runtime(compile="regional"))
            batch = trials[: max(bench.batches)]
            spent = bench.seconds(partial(one_batch, compiled, maps, batch))
            yield f"{dtype}: compiled, batch of {len(batch)}", f"{spent / len(batch):.3f} s"


def one_batch(manager: ModelManager, maps: Mapping[Any, Any], batch: Sequence[Trial]) -> None:
    """These trials at once."""
    list(generate(batch, maps, manager, batch_size=len(batch)))


def plainly(manager: ModelManager, bench: Bench) -> None:
    """One picture, as the stock pipeline makes it."""
    with torch.inference_mode():
        manager.pipeline("canny")(
            prompt="a girl, long hair, black coat, snow",
            image=torch.rand(1, 3, bench.size, bench.size),
            num_inference_steps=bench.steps,
            generator=torch.Generator("cpu").manual_seed(1),
            height=bench.size,
            width=bench.size,
        )


def memory(bench: Bench) -> Rows:
    """Batches of automatic size, alone and beside somebody who holds nearly all of the memory."""
    plan = make_plan(bench.study(), resolution=bench.size)
    dtype = "float16" if bench.on_card else "float32"
    manager = bench.shaped(bench.device, dtype=dtype)

    def sizes() -> str:
        results = drawn(manager, plan, steered(plan), "auto").values()
        counts = Counter(int(r.made_by["batch_size"]) for r in results)
        short = sum(is_full_record(r.made_by) for r in results)
        failed = sum(r.image is None for r in results)
        made = ", ".join(f"{n} in batches of {size}" for size, n in sorted(counts.items()))
        return f"{made}; memory short for {short}, failed {failed}"

    with deterministic():
        yield "automatic", sizes()
        if not bench.on_card:
            yield "little memory", "not tried on a CPU"
            return
        yield "peak", f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB"
        torch.cuda.empty_cache()
        taken = int(torch.cuda.mem_get_info()[0] * SHARE_TAKEN)
        hog = torch.empty(taken, dtype=torch.uint8, device=bench.device)
        yield f"little memory, {hog.nbytes / 1e9:.1f} GB taken", sizes()


def sweep(bench: Bench) -> Rows:
    """Of the time of a study, how much is spent drawing."""
    for control in bench.controls:
        dtype = "float16" if bench.on_card else "float32"
        manager = bench.shaped(bench.device, dtype=dtype)
        seeds = tuple(range(1, min(4, bench.seeds) + 1))
        study = bench.study(
            controls=(control,),
            scales=(0, 1),
            seeds=seeds,
            dtype=dtype,
            batch_size=max(bench.batches),
        )
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            run = run_study(study, Path(folder) / "run", manager=manager)
            whole = time.perf_counter() - began
            records = list(run.records())
        drawing = sum(float(record.made_by.get("seconds") or 0) for record in records)
        failed = sum(bool(record.failed) for record in records)
        yield (
            f"{control}: {len(records)} pictures",
            f"{whole:.1f} s, {drawing / whole:.0%} drawing" + (f", {failed} failed" * bool(failed)),
        )


PARTS: dict[str, Callable[[Bench], Rows]] = {
    "equal": equal,
    "speed": speed,
    "memory": memory,
    "sweep": sweep,
}


def main() -> None:
    """Read the command line, measure, print one table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--width", type=int, default=320, help="of the first block")
    parser.add_argument("--size", type=int, default=512, help="side of the pictures in pixels")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="print nothing but JSON")
    options = parser.parse_args()
    if unknown := [name for name in options.parts if name not in PARTS]:
        parser.error(f"there is no part {unknown[0]}; there is: {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory() as folder:
        bench = real_bench(options, Path(folder))
        rows = list(measured(bench, options.parts or list(PARTS)))
    print(json.dumps(rows, indent=2) if options.json else table(bench, rows))


def real_bench(options: argparse.Namespace, folder: Path) -> Bench:
    """The embedded model, and one in SD 1.5's shape that is written into the folder."""
    write_models(folder / "sd", options.width)
    nets = {name: {"path": "sd/controlnet"} for name in ("canny", "lines", "lineart")}
    shape = shaped_family(options.size)
    family = type(shape).model_validate(shape.model_dump() | {"controlnets": nets})

    def shaped(device: str, **choices: Any) -> ModelManager:
        return ModelManager(family, device=device, models_dir=folder, **choices)

    def embedded(device: str, **choices: Any) -> ModelManager:
        return ModelManager(device=device, **choices)

    card = str(options.device).startswith("cuda")
    return Bench(
        device=options.device,
        embedded=embedded,
        shaped=shaped,
        steps=options.steps,
        size=options.size,
        dtypes=("float32", "float16", "bfloat16") if card else ("float32",),
        batches=(1, 4, 16, 32) if card else (1, 2),
        seeds=32 if card else 2,
    )


def measured(bench: Bench, parts: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Part, what was measured, and the figure, row by row."""
    for part in parts:
        for what, figure in PARTS[part](bench):
            yield part, what, figure


def table(bench: Bench, rows: Sequence[tuple[str, str, str]]) -> str:
    """The rows for people and for documents."""
    name = torch.cuda.get_device_name(bench.device) if bench.on_card else bench.device
    lines = [
        f"{name}, torch {torch.__version__}, {bench.size} px, {bench.steps} steps",
        "",
        "| part | what | figure |",
        "|---|---|---|",
    ]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


if __name__ == "__main__":
    main()
