"""Protects: a table means what it says, in the forms that other programs write it in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from foreign import save

from workbench.scoring import ScoringError
from workbench.scoring.tables import read_rows

PLAIN = 'picture,prompt,scale\na.png,"a girl, snow",0.5\n'


def written(folder: Path, table: str | bytes, name: str = "metadata.csv") -> Path:
    save(folder / "a.png", np.full((8, 8, 3), 90, np.uint8))
    (folder / name).write_bytes(table.encode() if isinstance(table, str) else table)
    return folder


@pytest.mark.parametrize(
    "table",
    [
        PLAIN,
        "\ufeff" + PLAIN.replace("\n", "\r\n"),
        "picture;prompt;scale\na.png;a girl, snow;0.5\n",
        "picture\tprompt\tscale\na.png\ta girl, snow\t0.5\n",
        PLAIN + "\n,,\n",
        'image,file_name,text,scale\na.png,a.png,"a girl, snow",0.5\n',
    ],
)
def test_each_form_says_the_same(table: str, tmp_path: Path) -> None:
    (row,) = read_rows(written(tmp_path, table), {}).rows
    assert (row.file.name, row.prompt, row.scale) == ("a.png", "a girl, snow", 0.5)


def test_comfyui_names_a_sampler_by_two_columns(tmp_path: Path) -> None:
    table = "picture,sampler_name,scheduler\na.png,euler,karras\n"
    assert read_rows(written(tmp_path, table), {}).rows[0].sampler == "euler karras"


@pytest.mark.parametrize(
    ("table", "name", "sentence"),
    [
        ("picture,image\na.png,b.png\n", "metadata.csv", "'picture' and 'image' both say its"),
        ("picture,text,text\na.png,x,y\n", "metadata.csv", "more than one column 'text'"),
        (PLAIN.encode("utf-16"), "metadata.csv", "it is not text in UTF-8"),
        ('{"picture": "a.png"}\n\nno\n', "metadata.jsonl", "line 3: "),
        ("picture,start,end\na.png,.8,.2\n", "metadata.csv", "starts at 0.8 and ends at 0.2"),
    ],
)
def test_what_a_table_says_twice_or_not_at_all_is_refused(
    table: str | bytes, name: str, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ScoringError, match=sentence):
        read_rows(written(tmp_path, table, name), {})
