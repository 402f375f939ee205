"""Turning the sources of a study into pictures: image files, rendered scenes, drawn maps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workbench.controls import Control, ControlError, ControlSettings
from workbench.images import ImageError, fit_image, read_image, read_values, sha256_image
from workbench.study.errors import StudyError, problem
from workbench.study.jsontext import parse_json
from workbench.study.labels import SCENE_SOURCE, SOURCES_ALLOWED, is_map, path_of
from workbench.study.trials import SourceImage

Drawer = tuple[Control[Any], ControlSettings]
"""The control type, with its settings, of which drawn sources are maps."""
SOURCES_INDEX = "sources.json"
_MAX_INDEX_BYTES = 4 * 1024 * 1024


def source_file(label: str, folder: Path) -> Path:
    """The file behind a source label: relative to the study's folder.

    A run folder carries the fitted pictures of its study and lists them in `sources.json`, so the
    copy of the study in it can be run again where the original files are missing.
    """
    path = folder / path_of(label)
    if is_file(path):
        return path
    index = folder / SOURCES_INDEX
    try:
        if not index.is_file() or index.stat().st_size > _MAX_INDEX_BYTES:
            return path
        entry = parse_json(index.read_bytes())[label]
        kept = folder / "sources" / Path(entry["file"]).name
    except (OSError, ValueError, KeyError, TypeError):
        return path
    return kept if is_file(kept) else path


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name which the system does not take is no file."""
    try:
        return path.is_file()
    except OSError:
        return False


def source_sha256(label: str, image: np.ndarray) -> str:
    """The SHA-256 of a source: of its pixels, and of what they are where they are a map.

    The same pixels steer otherwise as a map than as a picture from which a map is extracted.
    """
    pixels = sha256_image(image)
    return hashlib.sha256(f"map of {pixels}".encode()).hexdigest() if is_map(label) else pixels


def load_source(label: str, folder: Path, size: int, drawer: Drawer | None = None) -> SourceImage:
    """Read or render one source and fit it to size×size. Raises ImageError.

    A drawn map is fitted by the rules of its control type, the `drawer`, without which it is
    refused.
    """
    tags: tuple[str, ...] = ()
    note = ""
    scene = SCENE_SOURCE.fullmatch(label)
    if scene:
        from workbench.paperdoll import render, sample_scene

        drawn = sample_scene(int(scene[1]))
        picture, tags = render(drawn).rgb, tuple(drawn.tags)
    elif is_map(label):
        picture, note = _drawing(label, folder, drawer)
    else:
        picture = read_image(source_file(label, folder))
    fitted = _fit_map(label, picture, size, drawer) if is_map(label) else fit_image(picture, size)
    image = np.ascontiguousarray(fitted)
    image.flags.writeable = False
    height, width = picture.shape[:2]
    cut = round(1 - min(height, width) / max(height, width), 3)
    return SourceImage(label, source_sha256(label, image), image, tags, cut, note)


def load_sources(
    labels: Sequence[str],
    folder: Path,
    size: int,
    pinned: Mapping[str, str] | None = None,
    drawer: Drawer | None = None,
) -> dict[str, SourceImage]:
    """All sources by label, in the given order.

    StudyError lists every one that cannot be used. `pinned` maps labels to the SHA-256 their fitted
    pixels must have; another picture under the same name is refused. So are two labels with the
    same pixels: statistics over sources would count one picture twice.
    """
    sources: dict[str, SourceImage] = {}
    first: dict[str, str] = {}
    problems = []
    for i, label in enumerate(labels):
        try:
            source = load_source(label, folder, size, drawer)
        except ImageError as error:
            problems.append(problem(f"sources[{i}]", str(error), SOURCES_ALLOWED))
            continue
        wanted = (pinned or {}).get(label, source.sha256)
        if source.sha256 != wanted:
            problems.append(problem(f"sources[{i}]", _other_picture(source, wanted, size)))
            continue
        if source.sha256 in first:
            what = f'"{label}" is the same picture as "{first[source.sha256]}"'
            problems.append(problem(f"sources[{i}]", what, "each picture once"))
        first.setdefault(source.sha256, label)
        sources[label] = source
    if problems:
        raise StudyError(problems)
    return sources


def _drawing(label: str, folder: Path, drawer: Drawer | None) -> tuple[np.ndarray, str]:
    """A drawn map the way round that its control type wants it, and a sentence about that.

    The copy that a run folder keeps has been turned already.
    """
    path = source_file(label, folder)
    if drawer is None or path != folder / path_of(label):
        return read_image(path), ""
    control, settings = drawer
    try:
        values = read_values(path) if control.name == "depth" else None
        if values is None:
            picture, what = control.turned(read_image(path), settings)
        else:
            plain = settings.model_copy(update={"meaning": "disparity"})
            picture, what = control.turned(control.values_picture(values, settings), plain)
    except ControlError as error:
        raise ImageError(f"{path_of(label)} is no {control.label} map: {error}") from error
    return picture, f"{label} {what}." if what else ""


def _fit_map(label: str, picture: np.ndarray, size: int, drawer: Drawer | None) -> np.ndarray:
    """A drawn map as its control type stores it; ImageError if there is nothing in it."""
    if drawer is None:
        raise ImageError(f"{path_of(label)} is a control map, and there is no control type for it")
    control, settings = drawer
    try:
        fitted = control.fit_drawing(picture, size, settings)
        found = control.from_picture_for(fitted, settings)
        reason = control.nothing_in(found, settings)
    except ControlError as error:
        raise ImageError(f"{path_of(label)} is no {control.label} map: {error}") from error
    if reason:
        raise ImageError(f"{path_of(label)} is no {control.label} map: {reason}")
    return fitted


def _other_picture(source: SourceImage, wanted: str, size: int) -> str:
    what = "renders to other pixels than" if source.tags else "is not the picture"
    end = "in the version that made this study" if source.tags else "this study was made with"
    return (
        f'"{source.label}" {what} {end} (pixels at {size} × {size}: SHA-256 {source.sha256[:16]}…, '
        f"wanted {wanted[:16]}…)"
    )
