"""Pictures that another program made, and what is said of each: a folder, or a table.

A table is CSV, JSON lines or Parquet with a row for each picture. A folder may hold one
(`metadata.csv`, `metadata.jsonl`, `metadata.parquet`). What it does not say, the text in the PNG
files says, or a text beside each (`a.txt` beside `a.png`, as the web UI writes).
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from workbench.images import SUFFIXES, ImageError, fit_image, read_with_text, sha256_image
from workbench.scoring.metadata import UNKNOWN, MetadataError, from_text
from workbench.study.errors import one_line, short
from workbench.study.fields import MAX_PROMPT_LENGTH
from workbench.study.jsontext import parse_json

TABLES = (".csv", ".jsonl", ".ndjson", ".parquet")
INDEX = "metadata"
"""The name of a table that describes the folder it lies in."""
MAX_ROWS = 100_000
MAX_TABLE_BYTES = 64 * 2**20
MAX_TEXT_BYTES = 2**20
MAX_TOLD = 10
"""So many mistakes are listed."""
_ALIASES = {
    **dict.fromkeys(("file_name", "file", "image", "path"), "picture"),
    **dict.fromkeys(("text", "caption", "positive_prompt"), "prompt"),
    **dict.fromkeys(("negative", "neg_prompt"), "negative_prompt"),
    **dict.fromkeys(("control_type", "preprocessor"), "control"),
    **dict.fromkeys(("weight", "strength", "conditioning_scale"), "scale"),
    **dict.fromkeys(("controlnet_conditioning_scale",), "scale"),
    **dict.fromkeys(("base", "checkpoint", "model_name"), "model"),
    **dict.fromkeys(("cfg", "cfg_scale"), "guidance_scale"),
    **dict.fromkeys(("scheduler", "sampler_name"), "sampler"),
    **dict.fromkeys(("control_start", "guidance_start"), "start"),
    **dict.fromkeys(("control_end", "guidance_end"), "end"),
    **dict.fromkeys(("source_image",), "source"),
    **dict.fromkeys(("control_map", "control_image"), "map"),
}
"""Other names of the columns."""


class ScoringError(ValueError):
    """Pictures that cannot be scored. `problems` holds one sentence for each thing wrong."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(dict.fromkeys(map(one_line, problems)))
        lines = [f"  - {line}" for line in self.problems[:MAX_TOLD]]
        if len(self.problems) > MAX_TOLD:
            lines.append(f"  … and {len(self.problems) - MAX_TOLD} more")
        what = "these pictures cannot be scored:"
        alone = len(lines) == 1
        super().__init__(self.problems[0] if alone else "\n".join([what, *lines]))


def _settings(value: Any) -> Any:
    return parse_json(value.encode()) if isinstance(value, str) else value


def _whole(value: Any) -> Any:
    """A seed as 64 bits hold it, with their sign: ComfyUI's go up to 2^64 - 1."""
    number = int(value) if isinstance(value, str) and value.strip().isdigit() else value
    return number - 2**64 if isinstance(number, int) and 2**63 <= number < 2**64 else number


class Row(BaseModel):
    """What is said of one picture; None where nothing is.

    place: how messages call the row. file: the picture. sha256: of its pixels as `picture` gives
    them. side: its shorter side in pixels. aspect: width / height. program: what made it. prompt:
    the text, "" for an empty one. full_prompt: the prompt of which this is a shorter form. control,
    settings: control type and settings of its extractor. scale, start, end: of the control. model:
    name of the base model.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)

    place: str
    file: Path
    sha256: str
    side: int
    aspect: float
    program: str = UNKNOWN
    prompt: Annotated[str, Field(max_length=MAX_PROMPT_LENGTH)] | None = None
    full_prompt: Annotated[str, Field(max_length=MAX_PROMPT_LENGTH)] | None = None
    negative_prompt: str = ""
    source: str | None = None
    map: str | None = None
    control: str | None = None
    settings: Annotated[dict[str, Any], BeforeValidator(_settings)] = Field(default_factory=dict)
    scale: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] | None = None
    start: Annotated[float, Field(ge=0, le=1)] = 0.0
    end: Annotated[float, Field(ge=0, le=1)] = 1.0
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63), BeforeValidator(_whole)] | None = None
    model: Annotated[str, Field(max_length=300)] = ""
    steps: Annotated[int, Field(ge=0)] = 0
    guidance_scale: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    sampler: str = ""

    @model_validator(mode="after")
    def _in_order(self) -> Row:
        if self.start > self.end:
            raise ValueError(
                f"the control starts at {self.start:g} and ends at {self.end:g}; both are shares "
                "of the steps, the start first"
            )
        return self

    @property
    def picture(self) -> np.ndarray:
        """The largest centred square, at its own size, uint8 side×side×3. ImageError."""
        return fit_image(read_with_text(self.file)[0], self.side)


_OWN = ("place", "file", "sha256", "side", "aspect")
COLUMNS = ("picture", *(name for name in Row.model_fields if name not in _OWN))
"""The columns of a table that are read, each also under its other names."""


@dataclass(frozen=True)
class Rows:
    """Every picture of a folder or table. unread: columns of the table that mean nothing here."""

    rows: tuple[Row, ...]
    unread: tuple[str, ...] = ()


def read_rows(path: Path, defaults: Mapping[str, Any]) -> Rows:
    """Read a folder or a table.

    Args:
        path: the folder, or the file of the table.
        defaults: column -> what holds for every picture that says nothing else.

    Raises:
        ScoringError: with every row that cannot be read.
    """
    odd = [name for name in defaults if _canonical(name) not in COLUMNS[1:]]
    if odd:
        raise ScoringError([f"there is no column {odd[0]!r}; there are: {', '.join(COLUMNS[1:])}"])
    filled = {_canonical(name): value for name, value in defaults.items()}
    table = _table_of(path)
    said = [*_records(table)] if table else [{"picture": file.name} for file in _pictures(path)]
    folder = path if path.is_dir() else path.parent
    if not said:
        raise ScoringError([f"{path}: there is no picture in it"])
    named: list[tuple[str, dict[str, Any]]] = []
    unread: dict[str, None] = {}
    for number, record in enumerate(said, 1):
        columns = _columns(record, number)
        place = str(columns.get("picture", ""))
        named.append((f"row {number} ({short(place)[1:-1]})" if table else place, columns))
        unread |= dict.fromkeys(name for name in columns if name not in COLUMNS)
    rows, problems = [], []
    for place, columns in named:
        try:
            rows.append(_row(place, columns, filled, folder))
        except (ScoringError, MetadataError, ImageError) as error:
            problems.append(f"{place}: {error}")
    if problems:
        raise ScoringError(problems)
    kept = rows if table else _without_sources(rows)
    return Rows(tuple(kept), tuple(unread))


def _without_sources(rows: list[Row]) -> list[Row]:
    """Without the files that lie among the pictures because others were made from them."""
    named = {Path(place).name for row in rows for place in (row.source, row.map) if place}
    return [row for row in rows if row.program != UNKNOWN or row.file.name not in named]


def _canonical(name: str) -> str:
    plain = name.strip().lower().replace(" ", "_").replace("-", "_")
    return _ALIASES.get(plain, plain)


def _columns(record: Mapping[str, Any], number: int) -> dict[str, Any]:
    """What a row says under the names used here; ScoringError if it says a thing twice."""
    columns: dict[str, Any] = {}
    called: dict[str, str] = {}
    for name, value in record.items():
        one = _canonical(name)
        if one == "sampler" and one in columns:  # ComfyUI's sampler_name and scheduler
            value = f"{columns[one]} {value}"
        elif one in COLUMNS and columns.get(one, value) != value:
            what = f"the columns {called[one]!r} and {name!r} both say its {one}, and not the same"
            raise ScoringError([f"row {number}: {what}: leave one of them out"])
        columns[one], called[one] = value, name
    return columns


def _table_of(path: Path) -> Path | None:
    """The table, or that of a folder; None for a folder without one. ScoringError for the rest."""
    if path.is_dir():
        found = [path / f"{INDEX}{suffix}" for suffix in TABLES]
        return next((file for file in found if file.is_file()), None)
    if not path.is_file():
        raise ScoringError([f"{path}: there is no such folder, table or run"])
    if path.suffix.lower() not in TABLES:
        raise ScoringError([f"{path} is no table: {', '.join(TABLES)} are read, or a folder"])
    if path.stat().st_size > MAX_TABLE_BYTES:
        raise ScoringError([f"{path} has more than {MAX_TABLE_BYTES // 2**20} MiB: split it"])
    return path


def _pictures(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a table, without what is empty in them; ScoringError if it is none."""
    readers = {".csv": _csv, ".parquet": _parquet}
    found = readers.get(path.suffix.lower(), _json_lines)(path)
    try:
        for number, row in enumerate(found, 1):
            if number > MAX_ROWS:
                raise ScoringError([f"{path} has more than {MAX_ROWS:,} rows: split it"])
            yield {str(k): v for k, v in row.items() if not _missing(v)}
    except (OSError, ValueError, csv.Error) as error:
        if isinstance(error, ScoringError):
            raise
        raise ScoringError([f"{path} cannot be read as a table: {error}"]) from None


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is not text in UTF-8: save it so") from None
    head = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(",;\t", key=head.count)  # spreadsheets write one or another
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    if twice := [name for name, count in Counter(reader.fieldnames or ()).items() if count > 1]:
        raise ValueError(f"it has more than one column {twice[0]!r}")
    for row in reader:
        if None in row:
            raise ValueError("a row has more fields than there are columns: quote what has commas")
        if any(row.values()):
            yield {name: value for name, value in row.items() if value}


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line, foreign=True)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is not an object with named values")
        yield row


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        names = [name for name in file.schema_arrow.names if _canonical(name) in COLUMNS]
        groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
        if sum(group.total_byte_size for group in groups) > MAX_TABLE_BYTES:
            raise ValueError(f"unpacked it has more than {MAX_TABLE_BYTES // 2**20} MiB")
        for batch in file.iter_batches(1000, columns=names):
            yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error


def _row(place: str, columns: Mapping[str, Any], defaults: Mapping[str, Any], folder: Path) -> Row:
    if not columns.get("picture"):
        raise ScoringError(["no picture is named: fill the column `picture`"])
    file = folder / str(columns["picture"])
    if not file.is_file():
        raise ScoringError([f"there is no file {file}: paths are relative to the table's folder"])
    picture, chunks = read_with_text(file)
    height, width = picture.shape[:2]
    facts = {
        "place": place,
        "file": file,
        "sha256": sha256_image(fit_image(picture, min(height, width))),
        "side": min(height, width),
        "aspect": width / height,
    }
    own = _told(chunks, file, columns)
    where = [
        source for source in (columns, own, defaults) if source.get("source") or source.get("map")
    ]
    both = {**defaults, **own, **columns}
    if where:  # a source that is named nearer takes the place of a map, and the other way round
        both |= {name: where[0].get(name) for name in ("source", "map")}
    if own and "control" not in own and "scale" not in both:
        both["scale"] = 0.0  # a program that says how it made a picture would have said
    kept = {name: value for name, value in both.items() if name in COLUMNS and value is not None}
    try:
        return Row.model_validate({**kept, **facts})
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        said = wrong["msg"].removeprefix("Value error, ")
        of = f"{wrong['loc'][0]} {short(wrong['input'])}: " if wrong["loc"] else ""
        raise ScoringError([of + said]) from None


def _told(chunks: Mapping[str, str], file: Path, columns: Mapping[str, Any]) -> dict[str, Any]:
    """What the picture's own text says, or a text file beside it.

    A table that says all that matters need not agree with a text that cannot be used.
    """
    beside = file.with_suffix(".txt")
    if not chunks and beside.is_file() and beside.stat().st_size <= MAX_TEXT_BYTES:
        chunks = {"parameters": beside.read_bytes().decode("utf-8", "replace")}
    try:
        return from_text(chunks)
    except MetadataError:
        if {"prompt", "control", "scale"} <= columns.keys():
            return {}
        raise
