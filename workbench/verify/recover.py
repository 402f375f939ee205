"""The study recovered from a report, a sample's PNG or a run folder, ready to be run again."""

from __future__ import annotations

import base64
import binascii
import html
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.images import ImageError, read_png
from workbench.store import RunFolder, StoreError
from workbench.store.pngtext import STUDY
from workbench.study import Study, StudyError, pin_sources
from workbench.study.labels import at_path, is_scene, path_of
from workbench.study.sources import SOURCES_INDEX
from workbench.study.yamlfile import MAX_BYTES, dump_yaml, parse_yaml

MAX_REPORT_BYTES = 128 * 2**20
LINK = re.compile(
    rb"""<a\s(?:[^<>]*?\s)?href\s*=\s*["']data:application/yaml;base64,([^<>"']*)["']""",
    re.IGNORECASE,
)
"""The study among the files which a report offers for download."""


class RecoveryError(ValueError):
    """There is no study to recover. The message is one sentence for the user."""


@dataclass(frozen=True)
class RecoveredStudy:
    """A study and what it still needs.

    text: YAML. origin: "report", "picture" or "run". missing: pictures that the study names and
    that are not beside it, with the SHA-256 that their fitted pixels must have ("" if unknown).
    kept: sources which the study now takes from the run folder, by their former name.
    """

    text: str
    origin: str
    missing: Mapping[str, str]
    kept: Mapping[str, str]


def recover_study(path: str | Path, folder: str | Path = ".") -> RecoveredStudy:
    """The study of a report (HTML), a sample (PNG) or a run folder.

    A picture's study has one trial: that picture. Rendered scenes come along as they are; pictures
    from files do not: the study names them and pins their pixels, and where `path` lies in a run
    folder it takes the copies which are kept there.

    Args:
        path: the file or folder.
        folder: where the study file will be; its source paths are relative to it.

    Raises:
        RecoveryError: there is no study in it, or none that can be read.
    """
    path, folder = Path(path), Path(folder)
    if path.is_dir():
        text, origin, run_path = _of_run(path), "run", path
    elif _looks_like_png(path):
        text, origin, run_path = _of_picture(path), "picture", path.parent.parent.parent
    else:
        text, origin, run_path = _of_report(path), "report", path.parent
    values = _values(text, path)
    return _with_sources(values, origin, folder, _kept(run_path))


def _of_run(path: Path) -> str:
    try:
        run = RunFolder.open(path)
        manifest = run.read_manifest()
        hashes = manifest.sources if manifest else None
        return pin_sources(run.study_text(), hashes or {})
    except (StoreError, StudyError) as error:
        raise RecoveryError(str(error)) from error


def _of_picture(path: Path) -> str:
    try:
        chunks = read_png(path)[1]
    except ImageError as error:
        raise RecoveryError(str(error)) from error
    if STUDY not in chunks:
        raise RecoveryError(
            f"{path} carries no study: it was not made by the workbench, or another program, or "
            "the setting of its run, left the text in it out"
        )
    return chunks[STUDY]


def _of_report(path: Path) -> str:
    try:
        with path.open("rb") as file:
            page = file.read(MAX_REPORT_BYTES + 1)
    except OSError as error:
        raise RecoveryError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(page) > MAX_REPORT_BYTES:
        raise RecoveryError(f"{path} is too large for a report")
    link = LINK.search(page)
    if link is None:
        raise RecoveryError(
            f"{path} is neither a report nor a picture of the workbench, nor a run folder"
        )
    try:
        code = html.unescape(link[1][: 2 * MAX_BYTES].decode("ascii"))
        return base64.b64decode(code, validate=True).decode("utf-8")
    except (UnicodeDecodeError, binascii.Error) as error:
        raise RecoveryError(f"{path} is a report whose study is damaged") from error


def _looks_like_png(path: Path) -> bool:
    try:
        if path.exists() and not path.is_file():
            raise RecoveryError(f"{path} is not a file")
        with path.open("rb") as file:
            return file.read(8) == b"\x89PNG\r\n\x1a\n"
    except OSError as error:
        raise RecoveryError(f"{path} cannot be read: {error.strerror or error}") from error


def _values(text: str, path: Path) -> dict[str, Any]:
    """The study as plain values; RecoveryError if this version does not understand it."""
    try:
        values = parse_yaml(text, name=str(path))
        study = Study.from_dict(values)
    except StudyError as error:
        raise RecoveryError(f"the study in {path} cannot be used here: {error}") from error
    if study.made_elsewhere:
        raise RecoveryError(f"{path}: {study.made_elsewhere.sentence}")
    return values


def _kept(run_path: Path) -> dict[str, Path]:
    """SHA-256 -> kept picture of the run folder at this path, if it is one."""
    try:
        index = RunFolder(run_path).read_json(SOURCES_INDEX)
        return {
            str(entry["sha256"]): run_path / "sources" / Path(entry["file"]).name
            for entry in (index or {}).values()
        }
    except (StoreError, OSError, KeyError, TypeError, AttributeError):
        return {}


def _with_sources(
    values: dict[str, Any], origin: str, folder: Path, kept: Mapping[str, Path]
) -> RecoveredStudy:
    pins = dict(values.get("source_sha256") or {})
    labels, missing, replaced = [], {}, {}
    for label in values["sources"]:
        digest = str(pins.get(label, ""))
        copy = kept.get(digest)
        if is_scene(label) or (folder / path_of(label)).is_file():
            labels.append(label)
        elif copy is not None and copy.is_file():
            name = at_path(label, Path(os.path.relpath(copy, folder)).as_posix())
            replaced[label] = name
            labels.append(name)
            pins[name] = pins.pop(label)
        else:
            missing[label] = digest
            labels.append(label)
    values = {**values, "sources": labels}
    if pins:
        values["source_sha256"] = pins
    return RecoveredStudy(dump_yaml(values), origin, missing, replaced)
