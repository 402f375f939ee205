"""Protects: each annotator's published file loads into its real class, and it reads pictures."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

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
from fake_hub import FakeHub, serving, small_hub
from tiny_families import snapshot

from workbench.families import FamilyError, LocateError, NetworkRef
from workbench.families.annotators.transformers_models import _larger
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


@pytest.mark.parametrize(
    ("loader", "said", "side"),
    [
        *(("hed", None, 1024), ("lineart", None, 1024), ("mlsd", None, 1024)),
        *(("normalbae", None, 1024), ("midas", None, 512), ("openpose", None, 512)),
        *(("hed", 768, 768), ("midas", 384, 384)),
    ],
)
def test_maps_are_read_at_the_size_of_the_familys_pictures(
    loader: str, said: int | None, side: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: list[Any] = []

    def load(ref: NetworkRef, locate: Any, device: str, resolution: int) -> Any:
        given.append(Weights(ref, Place("", {}, tmp_path), resolution))
        return {LOADERS[loader].gives[0]: len}

    monkeypatch.setattr("workbench.families.annotators.load_networks", load)
    name = LOADERS[loader].gives[0]
    entry = {"loader": loader, "path": FOLDER} | ({"side": said} if said else {})
    family = family_with({name: entry}).model_copy(update={"resolution": 1024})
    ModelManager(family, models_dir=tmp_path).network(name)
    assert [weights.side for weights in given] == [side]


def test_segmentation_reads_larger_pictures_larger_than_in_training() -> None:
    class Processor:
        size: ClassVar = {"shortest_edge": 640, "longest_edge": 2560}

    assert _larger((512, 512), Processor(), 512) == {}
    assert _larger((1024, 1024), Processor(), 1024) == {"size": {"height": 1024, "width": 1024}}
    assert _larger((300, 450), Processor(), 1024) == {"size": {"height": 1024, "width": 1536}}
    Processor.size = {"height": 512, "width": 512}
    assert _larger((1024, 1024), Processor(), 1024)


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


FILES = {LOADERS[loader].files[0]: loader.encode() for loader in ("hed", "mlsd", "openpose")}
AT = "c" * 40


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    inside = {f"in/{name}": data for name, data in FILES.items()}
    with serving(small_hub({"a/b": FILES | inside}, AT), tmp_path, monkeypatch) as server:
        yield server


def test_files_of_one_repository_are_fetched_one_after_the_other(hub: FakeHub) -> None:
    """All annotators share a repository; that one of its files is here says nothing of others."""
    for loader in ("hed", "mlsd", "openpose"):
        ref = NetworkRef(loader=loader, repo="a/b")
        assert locate(ref).folder is None
        place = fetch(ref, locate(ref))
        assert Weights(ref, place).path().read_bytes() == loader.encode()
        assert locate(ref) == place
        assert place.revision == AT
    assert hub.asked == [f"a/b/{name}" for name in FILES]


def test_a_file_on_a_hub_comes_from_the_repository_at_its_revision(hub: FakeHub) -> None:
    ref = NetworkRef(loader="hed", repo="a/b", revision=AT, subfolder="in")
    found = Weights(ref, fetch(ref, locate(ref))).path()
    assert found.is_file() and found.parent.name == "in"
    assert hub.asked == ["a/b/in/ControlNetHED.pth"]


def test_a_file_on_a_hub_out_of_reach_is_named(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    family = family_with({"edges": {"loader": "hed", "repo": "someone/Annotators"}})
    with pytest.raises(LocateError, match=r"ControlNetHED\.pth of someone/Annotators") as error:
        ModelManager(family).network("edges")
    assert "--models PATH" in str(error.value)


def test_a_cached_model_without_safe_weights_is_fetched(hub: FakeHub, tmp_path: Path) -> None:
    """Another program may have fetched the pickled weights of a model that has both."""
    folder = snapshot(tmp_path / "hub", "a/depth")
    folder.mkdir(parents=True)
    for name in ("config.json", "pytorch_model.bin"):
        (folder / name).write_bytes(b"{}")
    ref = NetworkRef(loader="depth-transformers", repo="a/depth")
    assert locate(ref).folder is None
    assert locate(ref.model_copy(update={"weights": "bin"})).reads_bin
    (folder / "model.safetensors").write_bytes(b"")
    assert locate(ref).folder is not None
    assert not locate(ref.model_copy(update={"weights": "bin"})).reads_bin
