"""Protects the audit of a judge of words from the folder of pictures to what a run says of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from command_line import run_command

from workbench.families.words import WordReading
from workbench.images import encode_png
from workbench.judging import (
    NOT_VALIDATED,
    LabelError,
    audit_judge,
    find_audit,
    keep_audit,
    read_labels,
    standing,
)
from workbench.judging.stored import audits_path
from workbench.paperdoll import render, sample_scene
from workbench.store import RunFolder
from workbench.store.schema import Manifest


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


class RedWords:
    """Sees "red" where red is the strongest colour, and knows no other word."""

    name = "reddest"
    validated = ""

    def knows(self, word: str) -> bool:
        return word == "red"

    def read(self, images: Sequence[np.ndarray], words: Sequence[str]) -> WordReading:
        red = np.array([[image[..., 0].mean() / 255] * len(words) for image in images])
        return WordReading(red.astype(np.float32), red > 0.5)


def write(folder: Path, lines: Sequence[str], head: str = "picture,word,label") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "labels.csv").write_text("\n".join([head, *lines]) + "\n", "utf-8")
    return folder


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """Twelve pictures: six are red and said to be; of six others one is red."""
    folder, lines = tmp_path / "mine", []
    folder.mkdir()
    for number in range(12):
        colour = (230, 20, 20) if number < 7 else (20, 20, 230)
        picture = np.full((8, 8, 3), colour, np.uint8)
        (folder / f"{number}.png").write_bytes(encode_png(picture))
        lines.append(f"{number}.png,red,{'yes' if number < 6 else 'No'}")
    return write(folder, lines)


def test_an_audit_counts_what_the_judge_says(folder: Path) -> None:
    found = audit_judge(folder, RedWords(), "photos", "abc")
    assert (found.total.n, found.total.pictures) == (12, 12)
    assert found.total.sensitivity.value == 1
    assert found.total.specificity.value == pytest.approx(5 / 6)
    assert found.total.right.value == pytest.approx(11 / 12)
    assert [word.word for word in found.words] == ["red"]
    assert re.fullmatch(
        r"On 12 of your labelled pictures the judge was right in 92 % \(\d\d–99\); it was asked "
        "about “red”.",
        found.sentence,
    )


def test_an_audit_is_kept_by_family_and_weights(folder: Path) -> None:
    found = audit_judge(folder, RedWords(), "photos", "abc")
    assert find_audit("photos", "abc") is None
    path = keep_audit(found)
    assert find_audit("photos", "abc") == found
    assert find_audit("photos", "abd") is None and find_audit("other", "abc") is None
    keep_audit(audit_judge(folder, RedWords(), "other", "abc"))
    assert find_audit("photos", "abc") == found
    for damage in ("{", "[]", '{"schema": 9}', '{"schema": 1, "audits": {"photos/abc": {"a": 1}}}'):
        path.write_text(damage, "utf-8")
        assert find_audit("photos", "abc") is None


TEN = [f"{i}.png,red,{'yes' if i % 2 else 'no'}" for i in range(10)]


@pytest.mark.parametrize(
    ("lines", "head", "said"),
    [
        (TEN, "picture,word,shown", 'has a column "shown"'),
        (TEN, "picture,word", "has no column label"),
        ([*TEN, "a.png,red,maybe"], "", 'line 12: "maybe" is neither yes nor no'),
        ([*TEN, "1.png,red,no"], "", '1.png is said both to show "red" and not to'),
        ([*TEN, ",red,no"], "", "line 12: needs a picture, a word and yes or no"),
        ([*TEN, "a.png,red,no,more"], "", "line 12: needs a picture, a word and yes or no"),
        (TEN[:9], "", "has 9 labels; 10 are the least, fifty are enough"),
        ([*TEN[:9], TEN[0]], "", "has 9 labels"),
        ([line.replace("no", "yes") for line in TEN], "", "all labels are yes"),
    ],
)
def test_labels_that_cannot_be_used_are_one_sentence(
    lines: Sequence[str], head: str, said: str, tmp_path: Path
) -> None:
    folder = write(tmp_path / "f", lines, head or "picture,word,label")
    with pytest.raises(LabelError, match=re.escape(said)) as error:
        read_labels(folder)
    assert "\n" not in str(error.value)


def test_what_is_missing_is_one_sentence(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(LabelError, match=r"there is no labels\.csv; its columns are picture"):
        read_labels(tmp_path)
    (folder / "labels.csv").write_bytes(b"picture,word,label\n\xff\xfe,red,no\n")
    with pytest.raises(LabelError, match="cannot be read as CSV in UTF-8"):
        read_labels(folder)
    write(folder, [*TEN, "nowhere.png,red,no"])
    with pytest.raises((ValueError, OSError), match=r"nowhere\.png"):
        audit_judge(folder, RedWords(), "photos", "abc")
    write(folder, [*TEN, "1.png,a dog,no"])
    with pytest.raises(LabelError, match='cannot be asked about "a dog"'):
        audit_judge(folder, RedWords(), "photos", "abc")


def test_a_run_says_on_what_its_judge_was_validated(
    folder: Path, tmp_path: Path, new_run: Callable[[Path], RunFolder]
) -> None:
    run = new_run(tmp_path / "run")
    assert NOT_VALIDATED in standing(run, "photos").sentence  # an older run says nothing
    told = {"judge": "reddest", "validated": "", "weights": "abc"}
    run.write_manifest(Manifest.model_validate({"words": told}))
    assert standing(run, "photos").short == NOT_VALIDATED
    assert "workbench audit judge --family photos" in standing(run, "photos").sentence
    run.write_manifest(Manifest.model_validate({"words": told | {"validated": "on sixty walls"}}))
    assert standing(run, "photos").sentence.endswith("Validated: on sixty walls.")
    run.write_manifest(Manifest.model_validate({"words": told | {"unknown": "fog, a dog"}}))
    assert "CLIP is asked about “fog”, “a dog” inside" in standing(run, "photos").sentence
    assert standing(run, "photos").unknown == ("fog", "a dog")
    run.write_manifest(Manifest.model_validate({"words": told | {"validated": "on sixty walls"}}))
    keep_audit(audit_judge(folder, RedWords(), "photos", "abc"))
    found = standing(run, "photos")
    assert found.sentence.startswith("Words are judged by reddest. On 12 of your labelled pictures")
    assert found.short.startswith("right in 92 %")
    assert NOT_VALIDATED not in standing(run, "photos").sentence
    assert standing(run, "other").sentence.endswith("Validated: on sixty walls.")


@pytest.mark.models
def test_the_command_audits_the_embedded_judge(tmp_path: Path) -> None:
    folder, lines = tmp_path / "mine", []
    folder.mkdir()
    for number in range(12):
        scene = sample_scene(930_100 + number)
        (folder / f"{number}.png").write_bytes(encode_png(render(scene).rgb))
        for word in ("snow", "long hair"):
            lines.append(f"{number}.png,{word},{'yes' if word in scene.tags else 'no'}")
    write(folder, lines)
    done = run_command("audit", "judge", folder)
    assert done.code == 0, done.err
    assert re.search(r"^snow +12 ", done.out, re.M) and re.search(r"^all +24 ", done.out, re.M)
    assert "On 12 of your labelled pictures the judge was right in" in done.out
    kept = json.loads(audits_path().read_text("utf-8"))["audits"]
    (audit,) = kept.values()
    assert audit["family"] == "paperdoll" and audit["total"]["right"]["value"] > 0.8


def test_the_command_refuses_in_one_sentence(tmp_path: Path) -> None:
    for words in (("audit", "judge", tmp_path), ("audit", "judge", tmp_path / "nowhere")):
        done = run_command(*words)
        assert done.code == 2 and "there is no labels.csv" in done.err
        assert "Traceback" not in done.err
