"""Protects: a catalogue entry that cannot work is refused with a reason when it is read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from workbench.families import (
    Family,
    FamilyError,
    LocateError,
    ModelRef,
    get_family,
    load_catalogue,
)
from workbench.families.locate import locate
from workbench.paperdoll import TAG_GROUPS

ENTRY = {
    "label": "Some",
    "resolution": 64,
    "licence": "MIT",
    "base": {"render": {"path": "some/base"}},
    "clip": {"path": "some/clip"},
}


def write(folder: Path, families: object) -> Path:
    path = folder / "catalogue.yaml"
    path.write_text(yaml.safe_dump({"families": families}), "utf-8")
    return path


def test_the_embedded_family_is_in_the_package() -> None:
    family = get_family("paperdoll")
    assert family == load_catalogue()["paperdoll"]
    assert family.resolution == 128
    assert {"depth", "canny"} <= set(family.controlnets)
    assert family.default_base == "render"
    assert family.tag_groups() is TAG_GROUPS


def test_unknown_names_are_told_what_exists() -> None:
    with pytest.raises(FamilyError, match=r'"paperdol"; there is: paperdoll.*Did you mean'):
        get_family("paperdol")
    with pytest.raises(FamilyError, match=r'"rendr".*there is: render'):
        get_family("paperdoll").base_ref("rendr")
    with pytest.raises(FamilyError, match=r'"telepathy".*depth, canny'):
        get_family("paperdoll").controlnet_ref("telepathy")


def test_what_is_left_out_has_sensible_defaults(tmp_path: Path) -> None:
    family = load_catalogue(write(tmp_path, {"some": ENTRY}))["some"]
    assert (family.name, family.latent_scale, family.text_limit) == ("some", 8, 77)
    assert (family.defaults.steps, family.defaults.scheduler) == (20, "unipc")
    assert family.tag_groups() == {}


def test_all_problems_of_a_catalogue_are_reported_at_once(tmp_path: Path) -> None:
    bad = {
        "one": {**ENTRY, "resolution": 65, "colour": "red"},
        "two": {**ENTRY, "defaults": {"scheduler": "ancestral"}},
        "three": "a word",
    }
    with pytest.raises(FamilyError) as error:
        load_catalogue(write(tmp_path, bad))
    text = str(error.value)
    for part in ("one.resolution", "one.colour", "two.defaults.scheduler", "three"):
        assert part in text


@pytest.mark.parametrize("text", ["families: [", "families: [a]", "other: {}", "\x00", ""])
def test_a_file_that_is_no_catalogue_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "catalogue.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(FamilyError, match=r"catalogue\.yaml"):
        load_catalogue(path)
    with pytest.raises(FamilyError, match="cannot be read"):
        load_catalogue(tmp_path / "missing.yaml")


@pytest.mark.parametrize(
    "ref",
    [
        {},
        {"path": "a", "repo": "b/c", "revision": "1"},
        {"repo": "no-owner"},
        {"path": "a", "revision": "1"},
        {"path": "../outside"},
        {"path": "/absolute"},
    ],
)
def test_a_model_lies_in_one_known_place(ref: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        ModelRef.model_validate(ref)


def test_titles_tell_models_apart() -> None:
    assert ModelRef(path="some/base").title == "some/base"
    assert ModelRef(repo="a/b", revision="1", subfolder="c").title == "a/b@1/c"
    assert ModelRef(repo="a/b").title == "a/b"


def test_an_entry_must_fit_its_architecture(tmp_path: Path) -> None:
    flow = {**ENTRY, "architecture": "stable-diffusion-3", "defaults": {"scheduler": "ddim"}}
    union = {**ENTRY, "controlnets": {"canny": {"path": "a", "union_mode": 3}}}
    with pytest.raises(FamilyError) as error:
        load_catalogue(write(tmp_path, {"flow": flow, "union": union}))
    assert "has no scheduler ddim; it has: unipc, euler, dpm++" in str(error.value)
    assert "no union ControlNets for stable-diffusion: canny" in str(error.value)


def test_the_models_folder_may_bring_families(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"some": ENTRY, "sd15": {**ENTRY, "label": "Mine"}}).rename(
        tmp_path / "families.yaml"
    )
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path))
    assert get_family("some").label == "Some"
    assert get_family("sd15").label == "Mine"
    assert get_family("paperdoll").resolution == 128
    (tmp_path / "families.yaml").write_text("nonsense", "utf-8")
    with pytest.raises(FamilyError, match=r"families\.yaml"):
        get_family("paperdoll")


def test_the_real_families_cover_what_they_promise() -> None:
    from workbench.controls import CONTROL_NAMES

    families = load_catalogue()
    for name in ("sd15", "sdxl"):
        assert set(families[name].controls) == set(CONTROL_NAMES)
    assert len(families["sd15"].base) >= 2
    assert families["sd15"].controlnet_name("lineart", '{"method":"anime"}') == "lineart.anime"
    union = families["sdxl"].controlnets
    assert {ref.repo for ref in union.values()} == {"xinsir/controlnet-union-sdxl-1.0"}
    assert all(ref.union_mode in range(6) for ref in union.values())
    for family in families.values():
        for ref in [*family.base.values(), *family.controlnets.values()]:
            assert not ref.revision or len(ref.revision) == 40


def test_families_cannot_change() -> None:
    with pytest.raises(ValidationError):
        get_family("paperdoll").label = "other"  # type: ignore[misc]
    assert isinstance(get_family("paperdoll"), Family)


def test_reading_the_catalogue_loads_no_heavy_library() -> None:
    code = (
        "import sys; from workbench.families import load_catalogue; load_catalogue();"
        "print([m for m in ('torch', 'diffusers', 'transformers', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_catalogue_that_grows_by_aliases_is_refused_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    path = tmp_path / "families.yaml"
    path.write_text("\n".join([*lines, "families: *a11"]), "utf-8")
    with pytest.raises(FamilyError, match="has more than 30,000 values"):
        load_catalogue(path)


FINE_TUNE = """
families:
  my-style: {extends: sd15, base: {my-style: {path: my-style}}}
"""


def catalogue(folder: Path, text: str) -> dict[str, Family]:
    path = folder / "families.yaml"
    path.write_text(text, "utf-8")
    return load_catalogue(path)


def refused(folder: Path, text: str) -> str:
    with pytest.raises(FamilyError) as caught:
        catalogue(folder, text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_one_line_is_a_family_of_ones_own_fine_tune(tmp_path: Path) -> None:
    ours, theirs = catalogue(tmp_path, FINE_TUNE)["my-style"], get_family("sd15")
    assert ours.default_base == "my-style" and ours.base_ref("my-style").path == "my-style"
    assert list(ours.base) == ["my-style", *theirs.base]
    assert ours.model_dump(exclude={"name", "label", "licence", "base"}) == theirs.model_dump(
        exclude={"name", "label", "licence", "base"}
    )
    assert ours.label == f"my-style, like {theirs.label}"
    assert ours.licence != theirs.licence and theirs.licence in ours.licence


def test_names_are_merged_models_and_lists_replaced_and_null_takes_away(tmp_path: Path) -> None:
    text = """
families:
  mine:
    extends: sdxl
    label: Mine
    licence: MIT
    vae: null
    controlnets: {lines: null, canny: {path: nets/canny}}
    judges: {depth: {own: {loader: depth-transformers, path: depth}}}
    defaults: {steps: 4}
"""
    ours, theirs = catalogue(tmp_path, text)["mine"], get_family("sdxl")
    assert ours.vae is None and (ours.label, ours.licence) == ("Mine", "MIT")
    assert set(ours.controlnets) == set(theirs.controlnets) - {"lines"}
    assert ours.controlnets["canny"].model_dump(exclude_defaults=True) == {"path": "nets/canny"}
    assert ours.controlnets["depth"] == theirs.controlnets["depth"]
    assert set(ours.judges["depth"]) == {"own", *theirs.judges["depth"]}
    assert ours.judges["clip"] == theirs.judges["clip"]
    assert ours.defaults.model_dump() == theirs.defaults.model_dump() | {"steps": 4}


def test_families_extend_each_other_in_chains_and_under_the_name_of_a_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
families:
  small: {extends: mine, resolution: 64}
  mine: {extends: sd15, defaults: {steps: 7}}
"""
    small = catalogue(tmp_path, text)["small"]
    assert (small.resolution, small.defaults.steps) == (64, 7)
    monkeypatch.setenv("WORKBENCH_MODELS", str(tmp_path))
    assert get_family("small") == small and "sd15" in load_catalogue()


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("one: {extends: sd51}", 'line 3: one.extends: there is no family called "sd51"'),
        ("one: {extends: one}", "line 3: one.extends: one extends one: break the circle"),
        ("one:\n    extends: sd15\n    colour: red", "line 5: one.colour: there is no such"),
        (
            "one: {extends: sd15, base: {x: {weights: bin, path: x}}}",
            "line 3: one: x: weights: bin",
        ),
        (
            "one: {extends: sd15}\n  one: {extends: sdxl}",
            'line 4, column 3: the key "one" appears twice',
        ),
        ("one: {extends: sd15}\n  two: [", "line 5, column"),
        ("one: {label: a: b}", "line 3, column"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, entry: str, told: str) -> None:
    text = refused(tmp_path, f"# mine\nfamilies:\n  {entry}\n")
    assert text.startswith(str(tmp_path / "families.yaml")), text
    assert told in text, text


def test_a_circle_of_families_is_told_for_each(tmp_path: Path) -> None:
    with pytest.raises(FamilyError) as caught:
        catalogue(tmp_path, "families: {one: {extends: two}, two: {extends: one}}")
    assert str(caught.value).count("break the circle") == 2


def test_a_single_file_is_called_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "my-style.safetensors").write_bytes(b"")
    for path in ("my-style", "my-style.safetensors"):
        with pytest.raises(
            LocateError, match=r"my-style\.safetensors is a single file.*from_single"
        ):
            locate(ModelRef(path=path), tmp_path)
