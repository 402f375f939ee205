"""What other programs write into a PNG about its making: the web UI's text, ComfyUI's graph.

Forms of the web UI's ControlNet extension, one unit each (`0` and `1` are numbers of units):

    ControlNet 0: "Module: canny, Model: control_v11p_sd15_canny, Weight: 1, Guidance Start: 0, …"
    ControlNet 0: "preprocessor: canny, model: …, weight: 1, starting/ending: (0, 1), …"
    ControlNet-0 Enabled: True, ControlNet-0 Module: canny, ControlNet-0 Weight: 1, …

ComfyUI keeps the graph that was run as JSON (`prompt`): number of a node -> its class and inputs,
an input being a value or [number of a node, number of its output].
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from workbench.study.jsontext import parse_json

WEBUI, COMFY, OWN, UNKNOWN = "webui", "ComfyUI", "the workbench", "an unknown program"
MAX_TEXT = 2_000_000
"""Characters of one text chunk that is read."""
MAX_SETTINGS, MAX_NAME, MAX_NODES = 30_000, 200, 5_000
"""Characters of the web UI's settings and of a network's name, and nodes of a graph: walks over
them take their square."""
_KINDS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (r"line.?art.*anime|anime.*line.?art", "lineart", {"method": "anime"}),
    (r"line.?art.*standard", "lineart", {"method": "standard"}),
    (r"line.?art.*(realistic|coarse)", "lineart", {"method": "realistic"}),
    (r"line.?art", "lineart", {}),
    (r"m-?lsd", "lines", {"method": "mlsd"}),
    (r"hough|(?<![a-z])lines(?![a-z])", "lines", {}),
    (r"canny", "canny", {}),
    (r"normal|(?<![a-z])bae(?![a-z])", "normal", {}),
    (r"depth|midas|(?<![a-z])zoe|leres", "depth", {}),
    (r"(?<!dense)(?<!animal)pose", "pose", {}),
    (r"scribble|sketch|xdog", "scribble", {}),
    (r"soft.?edge|(?<![a-z])hed|pidi", "hed", {}),
    (r"(?<![a-z])seg|segmentation|semseg|(one|uni)former", "segmentation", {}),
)
_PAIR = re.compile(r'\s*(\w[\w \-/]{0,80}?):\s*("(?:\\.|[^"\\])*"|\([^()]*\)|[^,]*)(?:,|$)')
_UNIT = re.compile(r"controlnet(?:[ -](\d+))?(?: (\w[\w ]*))?")
_SETTINGS = re.compile(r"^Steps: \d+", re.MULTILINE)
_NAMES = {"preprocessor": "module", "guidance start": "start", "guidance end": "end"}


class MetadataError(ValueError):
    """What a file says of its making cannot be used. The message is a clause."""


def from_text(chunks: Mapping[str, str]) -> dict[str, Any]:
    """The columns of a table that a PNG's text chunks fill, `program` among them; {} without any.

    Raises MetadataError where they tell of something that a table cannot say.
    """
    if "prompt" in chunks and chunks["prompt"].lstrip().startswith("{"):
        return {"program": COMFY, **from_comfyui(chunks["prompt"])}
    if "parameters" in chunks:
        program = OWN if "workbench" in chunks else WEBUI
        return {"program": program, **from_webui(chunks["parameters"])}
    return {}


def control_named(text: str) -> tuple[str, dict[str, Any]] | None:
    """The control type, and settings of it, that a preprocessor's or ControlNet's name speaks of.

    None for a name of anything else, such as a ControlNet for tiles or QR codes.

    >>> control_named("control_v11p_sd15_softedge [a8575a2a]")
    ('hed', {})
    """
    for pattern, control, settings in _KINDS:
        if re.search(pattern, text[:MAX_NAME].lower()):
            return control, dict(settings)
    return None


def from_webui(text: str) -> dict[str, Any]:
    """The columns that the text of AUTOMATIC1111's web UI (`parameters`) fills."""
    if len(text) > MAX_TEXT:
        raise MetadataError(f"its parameters have more than {MAX_TEXT:,} characters")
    lines = text.replace("\r\n", "\n").strip("\n")
    places = [*_SETTINGS.finditer(lines)]
    at = places[-1].start() if places else len(lines)
    if len(lines) - at > MAX_SETTINGS:
        raise MetadataError(f"its settings have more than {MAX_SETTINGS:,} characters")
    prompt, _, negative = lines[:at].rstrip("\n").partition("Negative prompt: ")
    said = dict(_pairs(lines[at:].replace("\n", " ")))
    found: dict[str, Any] = {
        "prompt": prompt.rstrip("\n"),
        "negative_prompt": negative,
        "steps": said.get("steps"),
        "sampler": " ".join(filter(None, (said.get("sampler"), said.get("schedule type")))),
        "guidance_scale": said.get("cfg scale"),
        "seed": said.get("seed"),
        "model": said.get("model") or said.get("model hash"),
    }
    return {**{k: v for k, v in found.items() if v is not None}, **_only(_units(said))}


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """Names, in small letters, and values of `Steps: 20, Size: 512x512, …`, quotes taken off."""
    for match in _PAIR.finditer(text):
        value = match[2].strip()
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        yield match[1].strip().lower(), value


def _units(said: Mapping[str, str]) -> list[dict[str, Any]]:
    """The columns of each unit of the ControlNet extension that was at work."""
    units: dict[str, dict[str, str]] = {}
    for name, value in said.items():
        match = _UNIT.fullmatch(name)
        if match is None:
            continue
        unit = units.setdefault(match[1] or "0", {})
        pairs = _pairs(value) if match[2] is None else [(match[2], value)]
        unit |= {_NAMES.get(key, key): told for key, told in pairs}
    on = (unit for unit in units.values() if unit.get("enabled", "True") == "True")
    return [_unit(unit) for unit in on if _drawn(unit) or _drawn(unit, "module")]


def _drawn(unit: Mapping[str, str], what: str = "model") -> bool:
    return unit.get(what, "None").lower() not in ("none", "")


def _unit(unit: Mapping[str, str]) -> dict[str, Any]:
    module = unit.get("module", "") if _drawn(unit, "module") else ""
    control, settings = _known(module, unit.get("model", ""))
    if control == "canny" and {"threshold a", "threshold b"} <= unit.keys():
        settings |= {"low": unit["threshold a"], "high": unit["threshold b"]}
    window = re.findall(r"[\d.]+", unit.get("starting/ending", ""))
    start, end = window if len(window) == 2 else (unit.get("start", 0), unit.get("end", 1))
    return {
        "control": control,
        "settings": {k: float(v) if k in ("low", "high") else v for k, v in settings.items()},
        "scale": unit.get("weight"),
        "start": start,
        "end": end,
    }


def _known(preprocessor: str, model: str) -> tuple[str, dict[str, Any]]:
    """What a preprocessor makes, else what a model takes; MetadataError for neither."""
    found = control_named(preprocessor) if preprocessor else control_named(model)
    if found is None:
        told = preprocessor or model
        raise MetadataError(f'it was steered by "{told[:60]}", which is no control type known here')
    return found


def _only(units: list[dict[str, Any]]) -> dict[str, Any]:
    """The one unit's columns; none without any."""
    if len(units) > 1:
        names = " and ".join(str(unit["control"]) for unit in units)
        raise MetadataError(
            f"it was steered by {len(units)} ControlNets at once ({names}), which cannot be told "
            "apart in one picture: leave it out"
        )
    return units[0] if units else {}


def from_comfyui(text: str) -> dict[str, Any]:
    """The columns that a graph of ComfyUI (`prompt`) fills.

    They are those of the sampler whose picture was saved: its seed and settings, the texts that
    lead to it, and the ControlNet on their way. A picture that a node reads before the ControlNet
    gets it is the `source`, one that the ControlNet gets as it is the `map`.
    """
    if len(text) > MAX_TEXT:
        raise MetadataError(f"its graph has more than {MAX_TEXT:,} characters")
    try:
        raw = parse_json(text.encode("utf-8", "replace"), foreign=True)
    except ValueError as error:
        raise MetadataError(f"its graph cannot be read: {error}") from None
    graph = _Graph(raw)
    sampler = graph.sampler()
    if sampler is None:
        return {}
    settings = sampler | (graph.input(sampler, "sigmas") or {})
    names = (graph.value(settings, "sampler_name"), graph.value(settings, "scheduler"))
    found: dict[str, Any] = {
        "prompt": graph.text(sampler, "positive"),
        "negative_prompt": graph.text(sampler, "negative"),
        "seed": graph.value(sampler, "seed", "noise_seed", "noise"),
        "steps": graph.value(settings, "steps"),
        "guidance_scale": graph.value(sampler, "cfg"),
        "sampler": " ".join(str(name) for name in names if name),
        "model": graph.model(sampler),
    }
    return {**{k: v for k, v in found.items() if v is not None}, **_only(graph.controls(sampler))}


_Node = dict[str, Any]
_HOLD = ("value", "text", "string", "seed", "noise_seed", "int", "float")
"""What nodes that only hold a value call it."""


class _Graph:
    """A graph of ComfyUI that a stranger may have written: every walk in it visits a node once."""

    def __init__(self, raw: Any) -> None:
        self._nodes: dict[str, _Node] = {}
        if isinstance(raw, dict) and len(raw) > MAX_NODES:
            raise MetadataError(f"its graph has more than {MAX_NODES:,} nodes")
        for name, node in raw.items() if isinstance(raw, dict) else ():
            inputs = node.get("inputs") if isinstance(node, dict) else None
            if isinstance(inputs, dict):
                self._nodes[name] = {**inputs, "": str(node.get("class_type", ""))}

    def input(self, node: _Node, name: str) -> _Node | None:
        """The node that an input is linked to."""
        link = node.get(name)
        if isinstance(link, list) and len(link) == 2:
            return self._nodes.get(str(link[0]))
        return None

    def before(self, node: _Node | None, *inputs: str) -> Iterator[_Node]:
        """A node and all before it, the nearest first, over the named inputs (all without any)."""
        line, seen = [node] if node else [], set()
        while line:
            one = line.pop(0)
            if id(one) in seen:
                continue
            seen.add(id(one))
            yield one
            line += [n for n in (self.input(one, name) for name in inputs or one) if n]

    def value(self, node: _Node, *names: str) -> Any:
        """A number or text of an input, or of the node linked to it if that only holds one."""
        for name in names:
            holder = self.input(node, name)
            keys = (name,) if holder is None else _HOLD
            held = (((holder or node).get(key)) for key in keys)
            plain = next((value for value in held if isinstance(value, str | int | float)), None)
            if plain is not None:
                return plain
        return None

    def sampler(self) -> _Node | None:
        """The sampler nearest to a node that saves pictures, else any."""
        saves = [node for node in self._nodes.values() if "SaveImage" in node[""]]
        for start in (*saves, *self._nodes.values()):
            for node in self.before(start):
                if "KSampler" in node[""] or node[""].startswith("SamplerCustom"):
                    guider = self.input(node, "guider")
                    return {**node, **{k: v for k, v in (guider or {}).items() if k}}
        return None

    def text(self, sampler: _Node, side: str) -> str | None:
        """The prompt that leads to a sampler; None where several are mixed, or none is found."""
        start = self.input(sampler, side)
        if start is None and side == "positive":
            start = self.input(sampler, "conditioning")
        for node in self.before(start, side, "conditioning"):
            if "Combine" in node[""] or "Concat" in node[""] or "Average" in node[""]:
                return None
            if "TextEncode" in node[""]:
                names = ("text", "text_g", "t5xxl", "text_l", "clip_l")
                found = self.value(node, *names)
                return found if isinstance(found, str) else None
        return None

    def model(self, sampler: _Node) -> str | None:
        """The file of the model that a sampler runs."""
        for node in self.before(self.input(sampler, "model"), "model"):
            for name in ("ckpt_name", "unet_name", "model_name"):
                if isinstance(node.get(name), str):
                    return str(node[name])
        return None

    def controls(self, sampler: _Node) -> list[dict[str, Any]]:
        """The columns of each ControlNet between the texts and a sampler."""
        start = self.input(sampler, "positive") or self.input(sampler, "conditioning")
        way = self.before(start, "positive", "conditioning")
        return [self._control(node) for node in way if "ControlNetApply" in node[""]]

    def _control(self, node: _Node) -> dict[str, Any]:
        nets = [*self.before(self.input(node, "control_net"))]
        names = [one.get(key) for one in nets for key in ("type", "control_net_name")]
        model = " ".join(name for name in names if isinstance(name, str) and name != "auto")
        reader, file = "", None
        settings: dict[str, Any] = {}
        for one in self.before(self.input(node, "image")):
            told = f"{one['']} {one.get('preprocessor', '')}"
            if isinstance(one.get("image"), str):
                file = one["image"]
                break
            if not reader and ("reprocessor" in told or control_named(one[""])):
                reader = told
                settings = _canny(one)
        control, known = _known(reader, model)
        return {
            "control": control,
            "settings": {**known, **(settings if control == "canny" else {})},
            "source" if reader else "map": file,
            "scale": self.value(node, "strength"),
            "start": node.get("start_percent", 0.0),
            "end": node.get("end_percent", 1.0),
        }


def _canny(node: _Node) -> dict[str, Any]:
    """Thresholds of Canny on 8-bit pixels; ComfyUI's own node counts them from 0 to 1."""
    told = (node.get("low_threshold"), node.get("high_threshold"))
    pair = [value for value in told if isinstance(value, int | float)]
    if len(pair) < 2:
        return {}
    unit = 255 if all(value <= 1 for value in pair) else 1
    return {name: value * unit for name, value in zip(("low", "high"), pair, strict=True)}
