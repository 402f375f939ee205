"""Sky, ground, places and weather of a Paperdoll scene."""

from __future__ import annotations

import numpy as np

from workbench.paperdoll.canvas import Canvas
from workbench.paperdoll.labels import Label
from workbench.paperdoll.scene import Scene
from workbench.paperdoll.tags import FOLIAGE_COLOURS, GROUND_COLOURS, SKY_COLOURS

FAR = 12.0
"""Distance of the horizon; the sky lies behind it, at infinity."""
GROUND_NEAR = 1.5
"""Distance of the ground at the lower edge of the picture."""

_FRONT = (0.0, 0.0, 1.0)
_DARKNESS = {"night": 0.50, "rain": 0.80, "snow": 1.0, "sunny": 1.0}


def draw_backdrop(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> float:
    """Sky, sun or moon, and the ground; returns the horizon's y."""
    horizon = float(rng.uniform(0.56, 0.63))
    full = (0, canvas.side, 0, canvas.side)
    _, y = canvas.grid(full)
    weather = scene.tag("weather")
    sky = np.asarray(SKY_COLOURS[weather], np.float32)
    rows = np.clip(y / horizon, 0.0, 1.0)
    colour = np.clip(sky * (0.86 + 0.14 * rows[..., None]) + 0.10 * rows[..., None], 0.0, 1.0)
    above = np.broadcast_to(y < horizon, (canvas.side, canvas.side))
    canvas.put(full, above, 1e6, _FRONT, colour, Label.SKY, lit=False)
    inverse = 1 / FAR + (1 / GROUND_NEAR - 1 / FAR) * np.clip((y - horizon) / (1 - horizon), 0, 1)
    ground = np.asarray(GROUND_COLOURS[scene.tag("season")]) * darkness(scene)
    canvas.put(full, ~above, 1 / inverse, (0.0, 0.8, 0.6), ground, Label.GROUND, lit=False)
    if weather == "sunny":
        spot = (rng.uniform(0.12, 0.18), rng.uniform(0.12, 0.16))
        canvas.disc(spot, 0.075, 1e5, (1.0, 0.90, 0.30), Label.SKY)
    elif weather == "night":
        spot = (rng.uniform(0.82, 0.88), rng.uniform(0.12, 0.16))
        canvas.disc(spot, 0.065, 1e5, (0.96, 0.95, 0.82), Label.SKY)
    return horizon


def darkness(scene: Scene) -> float:
    """How much light the weather leaves for the scenery (1 = all)."""
    return _DARKNESS[scene.tag("weather")]


def draw_place(canvas: Canvas, scene: Scene, horizon: float, rng: np.random.Generator) -> None:
    """House, trees, mountain or fenced field behind the figure."""
    place = scene.tag("place")
    if place == "house":
        _house(canvas, scene, horizon, rng)
    elif place == "trees":
        _trees(canvas, scene, horizon, rng)
    elif place == "mountain":
        _mountains(canvas, scene, horizon, rng)
    else:
        _fence(canvas, scene, horizon)


def draw_weather(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    """Flakes or rain in front of everything."""
    weather = scene.tag("weather")
    if weather == "snow":
        for cx, cy, r in zip(*rng.random((2, 26)), rng.uniform(0.011, 0.018, 26), strict=True):
            box = canvas.box((cx - r, cy - r), (cx + r, cy + r))
            x, y = canvas.grid(box)
            reach = 1.0 - np.sqrt((x - cx) ** 2 + (y - cy) ** 2) / r
            canvas.blend(box, np.clip(reach * 2.5, 0.0, 0.95), (1.0, 1.0, 1.0))
    elif weather == "rain":
        length, slant = 0.10, 0.25
        for cx, cy in rng.random((24, 2)):
            box = canvas.box((cx - length * slant - 0.01, cy), (cx + 0.01, cy + length))
            x, y = canvas.grid(box)
            across = np.abs(x - cx + slant * (y - cy))
            along = (y > cy) & (y < cy + length)
            alpha = np.where(along, np.clip(1.4 - across / 0.006, 0.0, 1.0) * 0.65, 0.0)
            canvas.blend(box, alpha, (0.80, 0.87, 0.98))


def _house(canvas: Canvas, scene: Scene, horizon: float, rng: np.random.Generator) -> None:
    light = darkness(scene)
    left = scene.pose.x > 0.5
    x = (0.20 if left else 0.80) + rng.uniform(-0.04, 0.04)
    width, top, bottom = 0.18, horizon - 0.20, horizon + 0.05
    snowy = scene.tag("season") == "winter"
    wall, roof = np.array((0.80, 0.60, 0.42)), np.array((0.64, 0.20, 0.15))
    if snowy:
        roof = np.array((0.93, 0.95, 1.00))
    _rectangle(canvas, (x - width, x + width), (top, bottom), 4.0, wall * light, Label.WALL)
    eaves = width + 0.035
    canvas.polygon(
        [(x - eaves, top), (x, top - 0.16), (x + eaves, top)],
        3.9, (0.0, 0.6, 0.8), roof * light, Label.ROOF,
    )  # fmt: skip
    night = scene.tag("weather") == "night"
    pane = (1.0, 0.88, 0.45) if night else tuple(np.array((0.55, 0.78, 0.95)) * light)
    for dx in (-0.105, 0.105):
        _rectangle(
            canvas, (x + dx - 0.042, x + dx + 0.042), (top + 0.045, top + 0.125),
            3.8, pane, Label.OPENING,
        )  # fmt: skip
    door = np.array((0.38, 0.22, 0.12)) * light
    _rectangle(canvas, (x - 0.036, x + 0.036), (bottom - 0.15, bottom), 3.8, door, Label.OPENING)


def _trees(canvas: Canvas, scene: Scene, horizon: float, rng: np.random.Generator) -> None:
    light = darkness(scene)
    leaves = np.asarray(FOLIAGE_COLOURS[scene.tag("season")]) * light
    bark = np.array((0.38, 0.26, 0.15)) * light
    for slot in (0.09, 0.30, 0.70, 0.91):
        x = slot + rng.uniform(-0.04, 0.04)
        height, z = rng.uniform(0.19, 0.26), rng.uniform(4.0, 5.0)
        canvas.capsule((x, horizon - height * 0.5), (x, horizon + 0.035), 0.017, 0.020, z, bark,
                       Label.TRUNK)  # fmt: skip
        canvas.ellipsoid((x, horizon - height), (0.088, 0.115), z - 0.1, leaves, Label.FOLIAGE)


def _mountains(canvas: Canvas, scene: Scene, horizon: float, rng: np.random.Generator) -> None:
    light = darkness(scene)
    rock, ice = np.array((0.45, 0.47, 0.56)) * light, np.array((0.96, 0.97, 1.00)) * light
    for x, height, width, z in ((0.24, 0.34, 0.30, 9.0), (0.74, 0.42, 0.36, 8.0)):
        x += rng.uniform(-0.05, 0.05)
        peak = (x, horizon - height)
        foot, snow = horizon + 0.01, 0.34
        canvas.polygon([(x - width, foot), peak, (x + width, foot)], z, (-0.3, 0.3, 0.9), rock,
                       Label.MOUNTAIN)  # fmt: skip
        line = horizon - height * (1 - snow)
        canvas.polygon([(x - width * snow, line), peak, (x + width * snow, line)], z - 0.1,
                       (-0.2, 0.5, 0.85), ice, Label.MOUNTAIN)  # fmt: skip


def _fence(canvas: Canvas, scene: Scene, horizon: float) -> None:
    wood = np.array((0.62, 0.42, 0.24)) * darkness(scene)
    top, bottom = horizon - 0.055, horizon + 0.075
    for x in (0.06, 0.235, 0.41, 0.59, 0.765, 0.94):
        _rectangle(canvas, (x - 0.016, x + 0.016), (top, bottom), 3.4, wood, Label.FENCE)
    for y in (horizon - 0.025, horizon + 0.025):
        _rectangle(canvas, (0.0, 1.0), (y - 0.011, y + 0.011), 3.5, wood * 0.9, Label.FENCE)


def _rectangle(
    canvas: Canvas,
    x: tuple[float, float],
    y: tuple[float, float],
    z: float,
    colour: np.ndarray | tuple[float, ...],
    label: int,
) -> None:
    corners = [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])]
    canvas.polygon(corners, z, _FRONT, colour, label, lit=False)
