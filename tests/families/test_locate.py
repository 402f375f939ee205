"""Protects: models are found where they lie, and a missing one never leads to a network."""

from pathlib import Path

import pytest

from workbench.families import LocateError, ModelRef
from workbench.families.locate import locate
from workbench.paths import MODELS_VARIABLE, data_dir, models_dir


def test_the_choice_goes_argument_then_environment_then_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(MODELS_VARIABLE, raising=False)
    assert models_dir() == data_dir() / "models"
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path / "a"))
    assert models_dir() == tmp_path / "a"
    assert models_dir(tmp_path / "b") == tmp_path / "b"
    monkeypatch.setenv(MODELS_VARIABLE, "")
    assert models_dir() == data_dir() / "models"


def test_a_local_model_is_read_from_this_disk_only(tmp_path: Path) -> None:
    (tmp_path / "some" / "base").mkdir(parents=True)
    place = locate(ModelRef(path="some/base"), tmp_path)
    assert place.folder == tmp_path / "some" / "base"
    assert place.name == str(place.folder)
    assert place.keywords == {"local_files_only": True}


def test_a_missing_model_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(LocateError, match=r"some/base.*WORKBENCH_MODELS") as error:
        locate(ModelRef(path="some/base"), tmp_path)
    assert str(tmp_path) in str(error.value)


def test_without_its_package_the_embedded_model_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.families.locate.data_dir", lambda: tmp_path)
    with pytest.raises(LocateError, match=r"install the package controlnet-workbench-paperdoll"):
        locate(ModelRef(path="paperdoll/base"), tmp_path / "models")


def test_the_embedded_family_stays_where_another_models_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "data" / "models"
    (own / "paperdoll" / "base").mkdir(parents=True)
    monkeypatch.setattr("workbench.families.locate.data_dir", lambda: own.parent)
    other = tmp_path / "other"
    other.mkdir()
    ref = ModelRef(path="paperdoll/base")
    assert locate(ref, other).folder == own / "paperdoll" / "base"
    # One's own weights are never filled up with those of the package.
    (other / "paperdoll" / "clip").mkdir(parents=True)
    with pytest.raises(LocateError, match="paperdoll/base"):
        locate(ref, other)
    (other / "paperdoll" / "base").mkdir()
    assert locate(ref, other).folder == other / "paperdoll" / "base"


def test_a_hub_model_keeps_its_pinned_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_OFFLINE", "")
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    place = locate(
        ModelRef(repo="a/b", revision="c0ffee", subfolder="unet", variant="fp16"), tmp_path
    )
    assert place.name == "a/b"
    assert place.keywords == {"revision": "c0ffee", "subfolder": "unet", "variant": "fp16"}
    assert place.folder is None
