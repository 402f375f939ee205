"""Protects: each annotator's published file loads into its real class, and it reads pictures."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from annotator_files import (
    CLASSES,
    FOLDER,
    annotator,
    family_with,
    random_state,
    write_annotator,
)

from workbench.families import FamilyError, LocateError, NetworkRef
from workbench.families.annotators.weights import Weights
from workbench.families.hub import fetch
from workbench.families.loaders import LOADERS
from workbench.families.locate import Place, locate
from workbench.families.manager import ModelManager

SOFT = ("hed", "pidinet", "lineart", "lineart-anime")


@pytest.fixture(scope="module", params=list(CLASSES))
def loader(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def models(loader: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp(loader)
    write_annotator(loader, folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def network(loader: str, models: Path) -> Callable[[Any], Any]:
    return annotator(loader, models)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Three pictures of 96×72 that are no multiples of anything, smooth enough to have shapes."""
    rng = np.random.default_rng(4)
    coarse = rng.integers(0, 256, (3, 12, 9, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


@pytest.fixture(scope="module")
def answer(network: Callable[[Any], Any], pictures: np.ndarray) -> Any:
    return network(pictures)


def test_what_comes_back_is_what_the_controls_expect(loader: str, answer: Any) -> None:
    if loader == "mlsd":
        assert len(answer) == 3
        assert all(s.dtype == np.float32 and s.shape[1:] == (4,) for s in answer)
        return
    assert answer.dtype == np.float32
    assert np.isfinite(answer).all()
    if loader == "openpose":
        assert answer.shape[0] == 3 and answer.shape[2:] == (18, 3)
        return
    assert answer.shape[:3] == (3, 64, 64)  # 64 to the shorter side, 85 rounded to 64s
    if loader == "normalbae":
        assert answer.shape == (3, 64, 64, 3)
        assert np.abs(np.linalg.norm(answer, axis=3) - 1).max() < 1e-4
    elif loader in SOFT:
        assert answer.min() >= 0 and answer.max() <= 1
        assert answer.std() > 1e-4
    else:
        assert answer.min() >= 0


def test_a_batch_says_what_its_pictures_say_alone(
    network: Callable[[Any], Any], pictures: np.ndarray, answer: Any
) -> None:
    for index in range(3):
        alone = network(pictures[index : index + 1])[0]
        together = np.asarray(answer[index])
        assert np.allclose(alone, together[: len(alone)], atol=1e-3, rtol=1e-3)
        assert not together[len(alone) :].any()


def test_the_same_picture_gives_the_same_bits(
    network: Callable[[Any], Any], pictures: np.ndarray
) -> None:
    first, second = (network(pictures[:1])[0] for _ in range(2))
    assert (np.asarray(first) == np.asarray(second)).all()


def test_a_missing_file_is_named_with_its_repository_and_place(loader: str, tmp_path: Path) -> None:
    name, wanted = LOADERS[loader].gives[0], LOADERS[loader].files[0]
    manager = ModelManager(
        family_with({name: {"loader": loader, "path": FOLDER}}), models_dir=tmp_path
    )
    with pytest.raises(LocateError) as no_folder:
        manager.network(name)
    (tmp_path / FOLDER).mkdir()
    with pytest.raises(LocateError) as no_file:
        manager.network(name)
    for error in (no_folder, no_file):
        text = str(error.value)
        assert wanted in text
        assert "lllyasviel/Annotators" in text
        assert str(tmp_path) in text
        assert "\n" not in text


@pytest.mark.parametrize("index", [0])
def test_the_file_that_was_read_is_hashed(loader: str, models: Path, index: int) -> None:
    name = LOADERS[loader].gives[0]
    manager = ModelManager(
        family_with({name: {"loader": loader, "path": FOLDER}}), models_dir=models
    )
    assert manager.weight_hashes() == {}
    manager.network(name)
    title = f"{FOLDER}/{LOADERS[loader].files[index]}"
    assert list(manager.weight_hashes()) == [title]
    assert len(manager.weight_hashes()[title]) == 64


def small_weights(folder: Path, loader: str = "hed") -> Weights:
    ref = NetworkRef(loader=loader, path=FOLDER)
    return Weights(ref, Place(str(folder), {}, folder))


def test_weights_move_to_the_device_in_float32_and_stay_frozen(tmp_path: Path) -> None:
    weights = small_weights(tmp_path)
    for device in ("cpu", "meta"):
        model = weights.fill(CLASSES["hed"], random_state("hed"), device)
        kinds = {(p.device.type, p.dtype, p.requires_grad) for p in model.parameters()}
        assert kinds == {(device, torch.float32, False)}
        assert not model.training


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    write_annotator("lineart", tmp_path)
    folder = tmp_path / FOLDER
    (folder / "sk_model.pth").rename(folder / "ControlNetHED.pth")
    with pytest.raises(FamilyError, match=r"ControlNetHED\.pth: these are not the weights of hed"):
        annotator("hed", tmp_path)


class Harmful:
    """What a hostile file would hold: code that runs when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("this must never run",))


def test_a_file_with_code_in_it_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"weight": Harmful()}, tmp_path / "ControlNetHED.pth")
    with pytest.raises(FamilyError, match=r"ControlNetHED\.pth: is no file of weights"):
        small_weights(tmp_path).tensors()
    assert "never run" not in capsys.readouterr().out


class Hub:
    """A hub with one repository: hands out files into a cache as the hub's library keeps them."""

    def __init__(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache = cache
        self.asked: list[tuple[str, str, str | None]] = []
        self.reachable = True
        for name in ("WORKBENCH_OFFLINE", "HF_HUB_OFFLINE", "WORKBENCH_MODELS"):
            monkeypatch.setenv(name, "")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
        monkeypatch.setattr("huggingface_hub.hf_hub_download", self.download)

    def download(self, repo: str, name: str, *, revision: str | None) -> str:
        if not self.reachable:
            raise ConnectionError("no route")
        self.asked.append((repo, name, revision))
        folder = self.cache / f"models--{repo.replace('/', '--')}"
        commit = "c" * 40 if revision in {None, "main"} else str(revision)
        path = folder / "snapshots" / commit / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"weights")
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / "main").write_text(commit, "utf-8")
        return str(path)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    return Hub(tmp_path / "cache", monkeypatch)


def test_files_of_one_repository_are_fetched_one_after_the_other(hub: Hub, tmp_path: Path) -> None:
    """All annotators share a repository; that one of its files is here says nothing of others."""
    models = tmp_path / "models"
    for loader in ("hed", "mlsd", "openpose"):
        ref = NetworkRef(loader=loader, repo="a/b")
        assert locate(ref, models).folder is None
        place = fetch(ref, locate(ref, models), models)
        assert Weights(ref, place).path().read_bytes() == b"weights"
        assert locate(ref, models) == place
        assert place.revision == "c" * 40
    assert [name for _, name, _ in hub.asked] == [
        LOADERS[loader].files[0] for loader in ("hed", "mlsd", "openpose")
    ]


def test_a_file_on_a_hub_comes_from_the_repository_at_its_revision(
    hub: Hub, tmp_path: Path
) -> None:
    ref = NetworkRef(loader="hed", repo="a/b", revision="d" * 40, subfolder="in")
    found = Weights(ref, fetch(ref, locate(ref, tmp_path), tmp_path)).path()
    assert found.is_file() and found.parent.name == "in"
    assert hub.asked == [("a/b", "in/ControlNetHED.pth", "d" * 40)]


def test_a_file_on_a_hub_out_of_reach_is_named(hub: Hub, tmp_path: Path) -> None:
    hub.reachable = False
    family = family_with({"edges": {"loader": "hed", "repo": "someone/Annotators"}})
    with pytest.raises(LocateError, match=r"ControlNetHED\.pth of someone/Annotators") as error:
        ModelManager(family, models_dir=tmp_path).network("edges")
    assert "--models PATH" in str(error.value)


def test_a_cached_model_without_safe_weights_is_fetched(hub: Hub, tmp_path: Path) -> None:
    """Another program may have fetched the pickled weights of a model that has both."""
    for name in ("config.json", "pytorch_model.bin"):
        hub.download("a/depth", name, revision=None)
    ref = NetworkRef(loader="depth-transformers", repo="a/depth")
    assert locate(ref, tmp_path / "models").folder is None
    hub.download("a/depth", "model.safetensors", revision=None)
    assert locate(ref, tmp_path / "models").folder is not None
