"""Malformed and odd study files, made from a seed, each read under a clock and a memory limit.

python fuzz_studies.py SEED COUNT FOLDER: reads COUNT files (written into FOLDER) and prints a JSON
summary. `python fuzz_studies.py SEED COUNT FOLDER N` reads case N alone.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from peak import peak_bytes

from workbench.study import Study, StudyError

CPU_SECONDS = 2.0
WALL_SECONDS = 60
LONGEST_MESSAGE = 20_000
GOOD: dict[str, Any] = {
    "name": "fuzz",
    "sources": ["paperdoll:1", "paperdoll:2"],
    "controls": ["canny", {"type": "depth", "settings": {}}],
    "prompt": ["a girl", "long hair", "snow"],
    "lengths": [0, 1, 3],
    "scales": [0, 0.5, 1],
    "seeds": [1, 2],
    "steps": 20,
    "guidance_scale": 5.0,
    "scheduler": "unipc",
    "negative_prompt": "bad",
    "control_start": 0.0,
    "control_end": 1.0,
    "batch_size": 16,
    "dtype": "float32",
    "shortening": {"method": "prefix", "seed": 0},
    "extra_prompts": {"empty": [], "full": ["a boy", "rain"]},
    "base": ["render"],
    "family": "paperdoll",
}
SCALARS = (
    "[{pair: [canny, depth]}]", "[{pair: canny}]", "[{pair: [canny]}, {pair: []}]", "{pair: {}}",
    "[{pair: [canny, depth], scales: {canny: [0, .nan]}}]", "[{pair: [canny, canny], scales: 3}]",
    "[{pair: [{type: canny, settings: {low: .nan}}, depth]}, {pair: [1, 2]}]", "[{pair: [[]]}]",
    "null", "~", "true", "no", "0", "-1", "007", "0o17", "0x" + "f" * 9000, "9" * 4000,
    "9" * 5000, "1e400", "-1e-400", ".inf", "-.inf", ".nan", "1:2:3:59", "1" + ":59" * 3000,
    "2024-01-01", "2024-99-99", "2024-01-01 12:00:00", "=", "<<", "''", '"\\0"', '"\\u2028"',
    '"\\ud800"', "'\x7f'", '"\\e[31m"', "'" + "x" * 200_000 + "'", "paperdoll:1", "paperdoll:",
    "paperdoll:99999999999", "paperdoll:٣", "../../etc/passwd", "/dev/zero", "/proc/kmsg",
    "a" * 300, "a/" * 3000, "con.png", "canny", "CANNY", "depht", "'=1+1'",
    "'<script>alert(1)</script>'", "'$\\frac{a$'", "'a,b'", "[]", "{}", "[[]]", "[1, 1]",
    "[null]", "{a: 1}", "{1: 2}", "{null: x}", "[{}, []]", "{a: .nan}", "{a: 2024-01-01}",
    "{type: canny, settings: {low: .nan}}", "[{type: canny, settings: {low: x}}]",
    "[{type: canny, settings: {low: 2024-01-01}}]", "[{type: canny, settings: {x: [{y: .inf}]}}]",
    "{type: depth, settings: null}", "[{type: [], settings: []}]", "[paperdoll:1, paperdoll:1]",
    "!!binary aGVsbG8=", "!!set {a, b}", "!!omap [a: 1]", "!!python/name:os.system", "!x 1",
    "! 1", "!!float abc", "!!int '12'", "&a [1]", "*a", "|\n  text\n  more", ">-\n  text", "? a",
    "- - - 1", "@x", "`x", "%x", "'", '"', "[", "{", "]", "a: b: c", "\t1", "# nothing",
)  # fmt: skip


def text_of(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=None)


def sound(rng: random.Random) -> str:
    values = {key: value for key, value in GOOD.items() if rng.random() < 0.8}
    return text_of({**{k: GOOD[k] for k in ("name", "sources", "controls", "prompt")}, **values,
                    "controls": rng.choice((GOOD["controls"], [{"pair": ["canny", "depth"]}])),
                    "lengths": sorted(rng.sample(range(4), rng.randint(0, 4)))})  # fmt: skip


def truncated(rng: random.Random) -> bytes:
    data = sound(rng).encode()
    return data[: rng.randrange(len(data))]


def flipped(rng: random.Random) -> bytes:
    data = bytearray(sound(rng).encode())
    for _ in range(rng.choice((1, 2, 5, 30))):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def punctuated(rng: random.Random) -> bytes:
    """Indicators of YAML put in at random places."""
    text = sound(rng)
    for _ in range(rng.randint(1, 8)):
        place = rng.randrange(len(text))
        text = (
            text[:place] + rng.choice("[]{}:,-?!&*#|>'\"%@`\t\n \0\x85\u2028\ufeff") + text[place:]
        )
    return text.encode()


def other_values(rng: random.Random) -> bytes:
    """One to three fields get a value that is wrong, or at least odd."""
    lines = {key: f" {json.dumps(value)}" for key, value in GOOD.items()}
    for key in rng.sample(list(lines), rng.randint(1, 3)):
        lines[key] = f" {rng.choice(SCALARS)}"
    return "".join(f"{key}:{value}\n" for key, value in lines.items()).encode("utf-8", "replace")


def other_entries(rng: random.Random) -> bytes:
    """Odd values inside of lists."""
    lines = {key: f" {json.dumps(value)}" for key, value in GOOD.items()}
    for key in rng.sample(
        ("sources", "controls", "prompt", "lengths", "scales", "seeds", "base"), 2
    ):
        lines[key] = "".join(f"\n  - {rng.choice(SCALARS)}" for _ in range(rng.randint(1, 4)))
    return "".join(f"{key}:{value}\n" for key, value in lines.items()).encode("utf-8", "replace")


def other_keys(rng: random.Random) -> bytes:
    values = {k: v for k, v in GOOD.items() if rng.random() < 0.7}
    for _ in range(rng.randint(1, 3)):
        key = rng.choice([*GOOD, "scalse", "Seeds", "x" * 5000, "\u202eabc", "ÿ", "__class__", ""])
        values[rng.choice((key + "s", key[1:], key.upper()))] = rng.choice([*GOOD.values(), None])
    text = text_of(values)
    return (
        text + rng.choice(("", "seeds: [3]\n", "1: 2\n", "? [a]\n: b\n", "<<: {name: x}\n"))
    ).encode()


def noise(rng: random.Random) -> bytes:
    how = rng.randrange(4)
    if how == 0:
        return rng.randbytes(rng.randint(0, 3000))
    if how == 1:
        return "".join(chr(rng.randrange(32, 0x3000)) for _ in range(400)).encode(
            "utf-8", "replace"
        )
    if how == 2:
        return sound(rng).encode(
            rng.choice(("utf-16", "utf-32", "utf-8-sig", "utf-16-le", "cp500"))
        )
    signs = (b"- ", b"? ", b": ", b"[", b"{", b"&a ", b"*a ", b"\n", b"  ", b"x")
    return b"".join(rng.choice(signs) for _ in range(rng.randint(1, 500)))


def documents(rng: random.Random) -> bytes:
    text = sound(rng)
    return rng.choice((
        f"---\n{text}", f"%YAML 1.2\n---\n{text}", f"{text}...\n", f"{text}---\n{text}",
        f"%TAG ! tag:x,2000:\n---\n{text}", text.replace("\n", "\r\n"), text.replace("\n", "\r"),
        text.replace("\n", "\n\n# note\n"), f"\ufeff{text}", text.replace(" ", "\t"), "- " + text,
    )).encode()  # fmt: skip


def many(rng: random.Random) -> bytes:
    """Files that are large within the limit, or would grow, or have countless mistakes."""
    size = 240_000
    head = text_of({k: v for k, v in GOOD.items() if k not in ("seeds", "prompt")})
    return rng.choice((
        lambda: head + "prompt: [a]\nseeds: [" + "1," * (size // 3) + "2]\n",
        lambda: head + "prompt: [a]\nseeds: [" + ",".join(map(str, range(20_000))) + "]\n",
        lambda: head + "prompt: [a]\nseeds: [" + ",".join(map(str, range(4_000))) + "]\n",
        lambda: head + "prompt: [" + ",".join(f"t{i}" for i in range(4_000)) + "]\n",
        lambda: head + "prompt: '" + ", ".join(f"t{i}" for i in range(20_000)) + "'\n",
        lambda: head + "prompt: [" + "-," * 4_000 + "]\n",
        lambda: head + "".join(f"scale{i}: 1\n" for i in range(4_500)),
        lambda: head + "extra_prompts: {" + ",".join(f"ful{i}: [a]" for i in range(3_000)) + "}\n",
        lambda: "a: " + "[" * size,
        lambda: "a: " + "{a: " * (size // 5),
        lambda: "- " * (size // 2),
        lambda: "? " * (size // 2),
        lambda: "".join(" " * i + "a:\n" for i in range(600)),
        lambda: "x: &a [x, x]\n" + "".join(f"y{i}: &b{i} [*a, *a]\n" for i in range(3000)),
        lambda: "a: &a [b]\n" + "".join(f"{c}: &{c} [{f'*{p},' * 9}]\n" for p, c in
                                        zip("abcdefgh", "bcdefghi", strict=True)),
        lambda: head + "prompt: " + "x" * size + "\n",
        lambda: head + "prompt: |\n" + "  a, b, c\n" * (size // 10),
        lambda: "#" * size,
        lambda: "\n" * size,
        lambda: "a:" + " " * size,
        lambda: "'" + "''" * (size // 2),
        lambda: '"' + "\\x41" * (size // 4) + '": 1',
        lambda: "a" * 300_000,
        lambda: "!" * size,
        lambda: head + "prompt: [a]\nseeds: [" + ("9" * 4000 + ",") * 50 + "]\n",
        lambda: head + "prompt: [a]\nsteps: 0x" + "f" * 200_000 + "\n",
        lambda: head + "prompt: [a]\nsteps: 1" + ":59" * 70_000 + "\n",
        lambda: head + "prompt: [a]\nname: " + "é" * 5_000 + "\n",
    ))().encode()  # fmt: skip


def unharmed(rng: random.Random) -> bytes:
    return sound(rng).encode()


MAKERS: tuple[Callable[[random.Random], bytes], ...] = (
    truncated, flipped, punctuated, other_values, other_entries, other_keys, noise, documents,
    other_values, unharmed,
)  # fmt: skip


def maker_of(number: int) -> Callable[[random.Random], bytes]:
    return many if number % 20 == 19 else MAKERS[number % len(MAKERS)]


def wrong(file: Path, must_read: bool) -> tuple[str, bool]:
    """("" or what is wrong with how a file was read, whether it was refused)."""
    begun = time.process_time()
    try:
        study = Study.from_yaml(file)
    except StudyError as error:
        message = str(error)
        seconds = time.process_time() - begun
        if must_read:
            return f"refused, though it is sound: {message}", True
        if len(message) > LONGEST_MESSAGE or not error.problems:
            return f"a message of {len(message)} characters", True
        if any(not (c.isprintable() or c == "\n") for c in message):
            return f"a message with control characters: {message!r}", True
        return (f"took {seconds:.1f} s" if seconds > CPU_SECONDS else ""), True
    except Exception:
        return traceback.format_exc(), False
    seconds = time.process_time() - begun
    if seconds > CPU_SECONDS:
        return f"took {seconds:.1f} s", False
    again = file.with_name("again.yaml")
    again.write_text(study.to_yaml(), encoding="utf-8")
    twin = Study.from_yaml(again)
    return ("" if twin == study and twin.hash == study.hash else "changes when written"), False


def main(seed: int, count: int, folder: Path, only: int | None = None) -> None:
    counts: Counter[str] = Counter()
    faults = []
    file = folder / "study.yaml"
    Study(**GOOD)  # imports count for no file
    for number in range(count) if only is None else [only]:
        maker = maker_of(number)
        file.write_bytes(maker(random.Random(f"{seed}/{number}")))
        signal.alarm(WALL_SECONDS)  # kills a hang, which the parent sees
        fault, refused = wrong(file, maker is unharmed)
        if fault.startswith("took"):  # other work on the machine can take as long: once more
            fault, refused = wrong(file, maker is unharmed)
        signal.alarm(0)
        counts[f"{maker.__name__} {'refused' if refused else 'read'}"] += 1
        if fault:
            faults.append(f"case {number} ({maker.__name__}): {fault}")
    peak = peak_bytes()
    print(json.dumps({"counts": counts, "faults": faults, "peak": peak}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), *map(int, sys.argv[4:]))
