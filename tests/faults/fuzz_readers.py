"""Malformed reports, pictures and run folders, made from a seed, each read under a clock and a
memory limit by what reads them: `workbench study`, `report` and `verify`.

python fuzz_readers.py SEED COUNT FOLDER RUN REPORT MODELS: reads COUNT of them, made (in FOLDER)
from a sound run of the tiny family and its report, and prints a JSON summary.
`… MODELS N` reads case N alone.
"""

from __future__ import annotations

import json
import logging
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import harm
import harm_pages
from peak import peak_bytes
from tiny_run import make_manager

from workbench import measuring
from workbench.images import ImageError
from workbench.measuring.cache import ReferenceCache
from workbench.report import embed, render_report
from workbench.store import RunFolder, StoreError
from workbench.study import Study, StudyError
from workbench.verify import state_sentence, write_state
from workbench.verify.recover import RecoveryError, recover_study
from workbench.verify.result import as_text
from workbench.verify.run import verify_run

CPU_SECONDS = 2.0
WALL_SECONDS = 60
LONGEST_MESSAGE = 20_000
RULES = (StoreError, StudyError, ImageError, RecoveryError)
VERIFY_EACH, REPORT_EACH = 6, 48
"""Of how many run folders one is also verified, and its report written: these take longer."""


class Bench:
    """The sound run, and the place where a harmed copy of it lies."""

    def __init__(self, folder: Path, run: Path, report: Path, models: Path) -> None:
        self.report = report.read_bytes()
        self.outside, self.run = folder / "outside", folder / "run"
        self.file = folder / "case"
        self.outside.mkdir()
        sound = sorted(path for path in run.rglob("*") if path.is_file())
        self.sound = {
            path.relative_to(run).as_posix(): path.read_bytes()
            for path in sound
            if path.suffix not in (".lock", ".html")
        }
        self.renew()
        self.hash = RunFolder.open(self.run).study().hash
        self.table = RunFolder.open(self.run).measurements()
        self.manager = make_manager(models)
        self.sample = next(data for name, data in self.sound.items() if "sample" in name)

    def renew(self) -> None:
        """The folder as it was, whatever has been done to it."""
        harm.cleared(self.run)
        harm.cleared(self.file)
        shutil.rmtree(self.outside)
        self.outside.mkdir()
        for name, data in self.sound.items():
            path = self.run / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def a_report(bench: Bench, rng: random.Random) -> tuple[str, list[Path]]:
    name, data = harm_pages.report(bench.report, rng)
    bench.file.write_bytes(data)
    return f"report {name}", []


def a_picture(bench: Bench, rng: random.Random) -> tuple[str, list[Path]]:
    name, data = harm_pages.picture(bench.sample, rng)
    bench.file.write_bytes(data)
    return f"picture {name}", []


def no_file(bench: Bench, rng: random.Random) -> tuple[str, list[Path]]:
    bench.file.write_bytes(rng.choice((bench.report, bench.sample)))
    return f"file {harm.displaced(bench.file, bench.outside, rng)}", []


BYTES = (harm.truncated, harm.flipped, harm.spliced, harm.nonsense)


def a_run(bench: Bench, rng: random.Random) -> tuple[str, list[Path]]:
    """One file of a run is harmed, or two."""
    if rng.random() < 0.05:
        return "run unharmed", []
    changed, how = [], ""
    for name in rng.sample(sorted(bench.sound), rng.choice((1, 1, 1, 2))):
        path, data = bench.run / name, bench.sound[name]
        if rng.random() < 0.15:
            how = "displaced"
            harm.displaced(path, bench.outside, rng)
        elif path.suffix == ".json" and rng.random() < 0.75:
            maker = rng.choice((harm.json_value, harm.json_value, harm.json_text))
            how = f"json {maker.__name__[5:]}"
            path.write_bytes(maker(data, rng))
        elif path.suffix == ".parquet" and rng.random() < 0.5:
            how = "table"
            path.write_bytes(harm_pages.table(data, rng))
        elif path.suffix == ".yaml" and rng.random() < 0.7:
            how = "study"
            path.write_bytes(harm_pages.study(rng))
        else:
            maker = rng.choice(BYTES)
            how = maker.__name__
            path.write_bytes(maker(data, rng))
        changed.append(path)
    return f"run {how}", changed


def maker_of(number: int) -> Callable[[Bench, random.Random], tuple[str, list[Path]]]:
    if number % 40 == 39:
        return no_file
    return (a_report, a_picture, a_run)[number % 3]


Reader = Callable[[], object]


def readers_of(bench: Bench, number: int, run_case: bool) -> Iterator[tuple[str, Reader]]:
    """What reads the case, by name."""
    if not run_case:
        yield "study", lambda: taken(bench, bench.file)
        return
    opened: list[RunFolder] = []
    yield "open", lambda: opened.append(RunFolder.open(bench.run))
    if not opened:
        return
    run = opened[0]
    yield "study of the run", run.study
    yield "study", lambda: taken(bench, bench.run)
    yield "records", lambda: list(run.records())
    yield "table", run.measurements
    yield "sources", run.read_sources
    yield "references", lambda: ReferenceCache(run.path / "references.json")
    yield "state", lambda: state_sentence(run, "").encode()
    for trial_id in run.trial_ids():
        yield "sample", lambda trial_id=trial_id: run.read_sample(trial_id)
    if number % (3 * VERIFY_EACH) == 2:
        yield "verify", lambda: verified(bench)
    if number % (3 * REPORT_EACH) == 5:
        yield "report", lambda: render_report(run).encode()


def taken(bench: Bench, path: Path) -> Study | None:
    """The study, read back from the text that would be written; None if its sources are away."""
    found = recover_study(path, bench.outside)
    found.text.encode()
    if found.missing:
        return None
    file = bench.outside / "taken.yaml"
    file.write_text(found.text, encoding="utf-8")
    return Study.from_yaml(file)


def verified(bench: Bench) -> str:
    result = verify_run(bench.run, trials=0, manager=bench.manager)
    assert result is not None
    shown = as_text(result)
    if any(not (c.isprintable() or c == "\n") for c in shown):
        raise AssertionError(f"control characters in {shown!r}")
    json.dumps(result.to_dict()).encode()
    write_state(RunFolder.open(bench.run), result)
    return result.outcome


def wrong(bench: Bench, number: int, name: str) -> tuple[list[str], Counter[str]]:
    """(what is wrong with how a case was read, how often each reader read and refused it)."""
    faults, counts = [], Counter[str]()
    kind, _, how = name.partition(" ")
    for reader, read in readers_of(bench, number, kind == "run"):
        begun = time.process_time()
        refused, fault, value = "", "", None
        try:
            value = read()
        except RULES as error:
            refused = str(error)
            fault = wrong_message(refused, bench)
        except Exception:
            fault = traceback.format_exc()
        seconds = time.process_time() - begun
        allowed = CPU_SECONDS * (3 if reader == "report" else 1)  # a sound one takes about two
        if seconds > allowed:  # other work on the machine can take as long: once more
            seconds = seconds_again(read)
        if seconds > allowed:
            fault = f"took {seconds:.1f} s; {fault}"
        if how == "unharmed":
            fault = fault or wrong_value(bench, reader, value, refused)
        if fault:
            faults.append(f"{reader}: {fault}")
        word = value if reader == "verify" and value else "refused" if refused else "read"
        counts[f"{name}, {reader} {word}" if kind == "run" else f"{name} {word}"] += 1
    return faults, counts


def seconds_again(read: Reader) -> float:
    begun = time.process_time()
    with suppress(Exception):
        read()
    return time.process_time() - begun


def wrong_message(message: str, bench: Bench) -> str:
    if len(message) > LONGEST_MESSAGE:
        return f"a message of {len(message)} characters: {message[:200]}"
    if any(not (c.isprintable() or c == "\n") for c in message):
        return f"a message with control characters: {message!r}"
    names = [str(bench.file), str(bench.run), "the study", "the source"]
    if not any(name in message for name in names):
        return f"a message that names no file: {message}"
    return ""


def wrong_value(bench: Bench, reader: str, value: Any, refused: str) -> str:
    """What is wrong with how a sound file was read."""
    if refused:
        return f"refused, though it is sound: {refused}"
    if reader == "study" and value.hash != bench.hash and not value.name.startswith("trial-"):
        return "gave another study"
    if reader == "table" and not value.equals(bench.table):
        return "gave another table"
    if reader == "verify" and value != "identical":
        return f"verified as {value}"
    return ""


def forget_peak() -> int:
    """Let the peak begin anew (on Linux); returns the bytes that are held now."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


def main(seed: int, count: int, places: list[Path], only: int | None = None) -> None:
    logging.disable(logging.CRITICAL)
    # Lines are drawn but not written down, and chance and ceiling are those of the sound run.
    embed._webp = lambda *_, **__: b"picture"
    bench = Bench(*places)
    measuring.Measurer = partial(measuring.Measurer, cache_path=places[1] / "references.json")
    for number in (2, 5):
        for _, read in readers_of(bench, number, True):
            read()  # imports and models count for no file
    peak = 0
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (limit + 3 * 2**30, hard))
    counts: Counter[str] = Counter()
    faults = []
    for number in range(count) if only is None else [only]:
        rng = random.Random(f"{seed}/{number}")
        bench.renew()
        name, changed = maker_of(number)(bench, rng)
        signal.alarm(WALL_SECONDS)  # kills a hang, which the parent sees
        before = forget_peak()
        found, seen = wrong(bench, number, name)
        signal.alarm(0)
        counts += seen
        peak = max(peak, peak_bytes() - before)
        label = f"case {number} ({name}, {', '.join(path.name for path in changed)})"
        faults += [f"{label}: {fault}" for fault in found]
    print(json.dumps({"counts": counts, "faults": faults, "peak": peak, "cases": number + 1}))


if __name__ == "__main__":
    seed, count = map(int, sys.argv[1:3])
    main(seed, count, [Path(text) for text in sys.argv[3:7]], *map(int, sys.argv[7:]))
