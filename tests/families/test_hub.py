"""Protects: every model of the catalogue can be had from the published lists of files, and loaded.

The hub is on this machine: tests/families/hub/published.yaml holds the lists, and tiny networks of
the same classes stand behind the names.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from annotator_files import write_annotator
from fake_hub import FakeHub, serving
from hub_files import TinyContent, published
from tiny_families import write_tiny_families
from tiny_networks import depth_anything, mask2former, save, upernet
from tiny_safety import write_checker
from typer.testing import CliRunner

from workbench.app.engine import ModelEngine
from workbench.cli import app
from workbench.families import CLIP, Family, LocateError, ModelRef, NetworkRef, load_catalogue
from workbench.families.annotators import load_networks
from workbench.families.check import require_models
from workbench.families.clip_judge import load_clip
from workbench.families.hub import Hub, fetch
from workbench.families.locate import fingerprints, locate
from workbench.families.manager import ModelManager
from workbench.generation import CancelToken
from workbench.runs import open_run

FAMILIES = {name: one for name, one in load_catalogue().items() if name != "paperdoll"}
CHEAP = ("hed", "pidinet", "mlsd", "lineart")
"""Annotators whose files are small: of the others only names are checked here, and their code with
weights of the published layout by tests/families/annotators."""


def models_of(family: Family) -> dict[str, ModelRef]:
    """Every model of a family by role, judges that a study may choose among them."""
    found: dict[str, ModelRef] = {f"base {name}": ref for name, ref in family.base.items()}
    found |= {f"ControlNet {name}": ref for name, ref in family.controlnets.items()}
    found |= {"VAE": family.vae} if family.vae is not None else {}
    found |= {f"network {name}": ref for name, ref in family.networks.items()}
    for need, refs in family.judges.items():
        found |= {f"judge {need} {name}": ref for name, ref in refs.items()}
    return found | {CLIP: family.clip}


def distinct() -> dict[str, tuple[str, ModelRef]]:
    """The models of the catalogue, each once: title -> family and role that name it, and it."""
    found: dict[str, tuple[str, ModelRef]] = {}
    for family in FAMILIES.values():
        for role, ref in models_of(family).items():
            found.setdefault(ref.title, (f"{family.name}, {role}", ref))
    return found


@pytest.fixture(scope="session")
def content(tmp_path_factory: pytest.TempPathFactory) -> TinyContent:
    """The bytes behind the published names, made once."""
    models = tmp_path_factory.mktemp("published")
    write_tiny_families(models)
    write_checker(models / "tiny" / "base")
    flat = shutil.copytree(models / "models--some--xl-base" / "snapshots", models / "snapshots")
    next(flat.iterdir()).rename(models / "some" / "xl-base")
    for name, make in (("depth-anything", depth_anything),):
        save(make(), models / "some" / name)
    for name, made in (("upernet", upernet(150)), ("mask2former", mask2former(150))):
        save(made, models / "some" / name)
    for loader in CHEAP:
        write_annotator(loader, models)
    shutil.copy(models / "annotators" / "sk_model.pth", models / "annotators" / "sk_model2.pth")
    return TinyContent(models, published())


@pytest.fixture
def hub(content: TinyContent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """The hub, and an empty cache."""
    with serving(FakeHub(published(), content), tmp_path, monkeypatch) as server:
        yield server


def test_every_repository_of_the_catalogue_has_a_list_and_where_it_was_read() -> None:
    wanted = {ref.repo for _, ref in distinct().values()}
    assert wanted == set(published())
    for repo, one in published().items():
        assert one.read_at and all(
            a.startswith(f"https://huggingface.co/{repo}") for a in one.read_at
        )
        made_up = one.commit.startswith("0" * 30)
        pins = {ref.revision for _, ref in distinct().values() if ref.repo == repo}
        assert pins == ({""} if made_up else {one.commit}) or "" in pins, repo
        assert not made_up or "commit" in one.unconfirmed, repo


@pytest.mark.parametrize("name", FAMILIES)
def test_every_model_of_a_family_is_in_the_published_lists(hub: FakeHub, name: str) -> None:
    """A list that lacks what is loaded fails here, with the entry's name; no weights are sent."""
    asker = Hub()
    for role, ref in models_of(FAMILIES[name]).items():
        try:
            found = asker.plan(ref, ref.revision)
        except LocateError as error:
            pytest.fail(f"{name}, {role}: {error}")
        assert found.commit == published()[ref.repo].commit
        assert found.missing == found.files and found.bytes > 0
    assert hub.weights_asked == []


def test_the_dry_run_tells_sizes_and_fetches_no_weights(hub: FakeHub, tmp_path: Path) -> None:
    hub.published_sizes = True
    sd15 = FAMILIES["sd15"]
    found = require_models(sd15, ["v1-5"], ["pose"], ["pose"])
    sizes = {one.ref.repo: one.bytes for one in found}
    unet, text, vae = 1719125304, 246144864, 167335342
    assert 0 < sizes["stable-diffusion-v1-5/stable-diffusion-v1-5"] - unet - text - vae < 3_000_000
    assert sizes["lllyasviel/Annotators"] == 209267595
    assert sizes["lllyasviel/control_v11p_sd15_openpose"] == 722598642 + 999
    assert set(sizes) == {
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "lllyasviel/control_v11p_sd15_openpose",
        "lllyasviel/Annotators",
        "openai/clip-vit-base-patch16",
    }
    assert hub.weights_asked == []
    assert not list((tmp_path / "hub").rglob("*.safetensors"))


@pytest.mark.parametrize("title", distinct())
def test_every_model_is_fetched_from_an_empty_cache_and_loaded(
    hub: FakeHub, title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, ref = distinct()[title]
    place = fetch(ref, locate(ref))
    assert place.folder is not None and place.revision == published()[ref.repo].commit
    monkeypatch.setenv("WORKBENCH_OFFLINE", "1")
    assert locate(ref) == place, f"{entry}: the second time it is found on this disk"
    told = fingerprints(ref, place)[ref.title]
    assert place.revision in told
    assert ("read from a .bin, weights only" in told) == ref.bins
    _load(entry, ref)
    known = published()[ref.repo].files
    assert all(name.partition("/")[2].partition("/")[2] in known for name in hub.weights_asked)


def _load(entry: str, ref: ModelRef) -> None:
    """Load one model through the code that a run uses."""
    family = FAMILIES[entry.partition(",")[0]]
    role = entry.partition(", ")[2]
    if isinstance(ref, NetworkRef) and not role.startswith("judge clip"):
        if ref.files and ref.loader not in CHEAP:
            return
        load_networks(ref, locate, "cpu")
    elif role.startswith("base"):
        ModelManager(family.model_copy(update={"vae": None}), role.removeprefix("base ")).pipeline()
    elif role.startswith("ControlNet"):
        ModelManager(family).controlnet(role.removeprefix("ControlNet "))
    elif role == "VAE":
        from diffusers import AutoencoderKL

        AutoencoderKL.from_pretrained(locate(ref).name, use_safetensors=True)
    else:
        load_clip(locate(ref))


SMALL = """
families:
  small-{name}:
    extends: {name}
    resolution: 64
    text_limit: 20
    defaults: {{dtype: float32, steps: 1}}
"""
STUDY = """
name: small
family: small-{name}
sources: ["paperdoll:900001"]
controls: [{control}]
prompt: a girl, snow
scales: [1]
seeds: [1]
"""


def call(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("name", "control"),
    [("sd15", "depth"), ("sdxl", "canny"), ("sd35", "canny"), ("sd35-medium", "depth")],
)
def test_a_family_runs_from_an_empty_cache_and_then_without_a_network(
    hub: FakeHub, tmp_path: Path, name: str, control: str
) -> None:
    """Plan, download, pictures, report, check; and all of it again with the network off."""
    (tmp_path / "models" / "families.yaml").write_text(SMALL.format(name=name), "utf-8")
    study, out = tmp_path / "study.yaml", tmp_path / "run"
    study.write_text(STUDY.format(name=name, control=control), "utf-8")
    planned = call("run", study, "--out", out, "--dry-run")
    assert "Models to download first, " in planned and "openai/clip-vit-base-patch16" in planned
    assert FAMILIES[name].base_ref(FAMILIES[name].default_base).repo in planned
    assert hub.weights_asked == [] and not out.exists()
    said = call("run", study, "--out", out)
    assert "small: downloading (" in said and " MB)" in said and "Done" in said
    asked = list(hub.weights_asked)
    unneeded = ("Annotators", "dreamshaper", "mask2former", "softedge")
    assert asked and not [one for one in asked if any(word in one for word in unneeded)]
    if name == "sd15":  # of the others tests/cli/test_real_families.py does so
        call("report", out)
        assert "made again            1 of 1 identical" in call("verify", out, "--trials", 1)
    hub.server.shutdown()
    again = tmp_path / "again"
    assert "Done" in call("run", study, "--out", again, "--offline")
    assert hub.weights_asked == asked
    first, second = (sorted(folder.rglob("sample.png")) for folder in (out, again))
    assert len(first) == len(second) == 1


def test_the_app_needs_the_models_of_the_choice_and_no_others(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "models" / "families.yaml").write_text(SMALL.format(name="sd15"), "utf-8")
    engine = ModelEngine("small-sd15", device="cpu")
    offer = engine.offer()
    assert set(offer.controls) == set(FAMILIES["sd15"].controls)
    choice = replace(offer.first, control="canny")
    study = engine.study(choice)
    assert engine.missing(study) == ""
    needed = {title.partition("@")[0] for title in engine.to_download(study)}
    assert needed == {
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "lllyasviel/control_v11p_sd15_canny",
        "openai/clip-vit-base-patch16",
    }
    told: list[Any] = []
    engine.make(study, tmp_path / "run", engine.asked(choice), told.append, CancelToken())
    (picture,) = open_run(tmp_path / "run").pictures.values()
    assert picture.shape == (64, 64, 3)
    assert "MB" in {one.unit for one in told}
    assert engine.to_download(study) == ()
    assert {"/".join(one.split("/")[:2]) for one in hub.asked} == needed


CLIP_B32 = FAMILIES["sd15"].judges[CLIP]["vit-b-32"]
HED = FAMILIES["sd15"].networks["edges"]


def sentence(ref: ModelRef) -> str:
    with pytest.raises(LocateError) as caught:
        fetch(ref, locate(ref))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_half_a_download_goes_on_where_it_stopped(
    hub: FakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    """Small files come first, so that weights which are there mean a whole model."""
    weights = "openai/clip-vit-base-patch32/model.safetensors"
    hub.cut = {weights}
    assert "what has arrived is kept" in sentence(CLIP_B32)
    assert "resume" not in caplog.text, "our sentence is enough"
    first = list(hub.asked)
    assert first[-1] == weights and len(set(first)) > 5
    assert locate(CLIP_B32).folder is None
    hub.cut, hub.asked = set(), []
    assert fetch(CLIP_B32, locate(CLIP_B32)).folder is not None
    assert hub.asked == [weights]


def test_a_file_with_a_wrong_hash_is_removed_and_told(hub: FakeHub) -> None:
    hub.damaged = {"openai/clip-vit-base-patch32/model.safetensors"}
    assert "arrived damaged" in sentence(CLIP_B32)
    assert locate(CLIP_B32).folder is None
    hub.damaged = set()
    assert fetch(CLIP_B32, locate(CLIP_B32)).folder is not None


def test_a_disk_that_is_too_small_is_told_before_with_both_numbers(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.published_sizes = True
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_500_000_000))
    with pytest.raises(LocateError, match=r"take 2\.\d GB, and only 1\.5 GB are free.*HF_HOME"):
        require_models(FAMILIES["sd15"], ["v1-5"], ["depth"], [])
    assert "take 0.6 GB" not in str(hub.asked) and hub.weights_asked == []


def test_a_gated_model_is_refused_before_any_file(hub: FakeHub) -> None:
    hub.gated = {"stabilityai/stable-diffusion-3.5-large"}
    with pytest.raises(LocateError, match=r"base model large: .*is gated.*hf auth login") as caught:
        require_models(FAMILIES["sd35"], ["large"], ["canny"], [])
    assert "\n" not in str(caught.value) and hub.asked == []


def test_without_a_hub_all_models_are_named_once(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", nowhere)
    with pytest.raises(LocateError) as caught:
        require_models(FAMILIES["sd15"], ["v1-5"], ["depth"], ["edges"])
    text = str(caught.value)
    assert "the hub cannot be reached" in text and "\n" not in text
    for repo in ("stable-diffusion-v1-5", "control_v11f1p_sd15_depth", "Annotators", "clip-vit"):
        assert repo in text


def without(hub: FakeHub, repo: str, *names: str) -> None:
    """The list of a repository that has lost some files."""
    known = hub.repos[repo]
    files = {name: size for name, size in known.files.items() if name not in names}
    hub.repos[repo] = type(known)(**{**vars(known), "files": files})


def test_a_list_without_what_is_loaded_says_the_way_out(hub: FakeHub) -> None:
    without(hub, CLIP_B32.repo, "model.safetensors")
    assert "no safetensors weights" in (text := sentence(CLIP_B32)) and "weights: bin" in text
    without(hub, CLIP_B32.repo, "pytorch_model.bin")
    assert "has no weights" in sentence(CLIP_B32)
    without(hub, HED.repo, "ControlNetHED.pth")
    assert "lacks ControlNetHED.pth" in sentence(HED)
    base = FAMILIES["sd15"].base["v1-5"]
    folder = "unet/diffusion_pytorch_model"
    without(hub, base.repo, f"{folder}.fp16.safetensors", f"{folder}.safetensors")
    assert "no safetensors weights of its unet" in (text := sentence(base))
    assert "weights: bin" not in text and hub.weights_asked == []


def test_what_watches_a_download_is_told_of_every_byte(hub: FakeHub) -> None:
    told: dict[str, int] = {}

    def watch(name: str, arrived: int) -> None:
        told[name] = told.get(name, 0) + arrived

    plan = Hub().plan(CLIP_B32, CLIP_B32.revision)
    fetch(CLIP_B32, locate(CLIP_B32), watch=watch)
    assert told == {file.name: file.bytes for file in plan.files}


def test_no_code_in_a_bin_is_run(
    hub: FakeHub, content: TinyContent, capsys: pytest.CaptureFixture[str]
) -> None:
    import io

    import torch

    from workbench.families import FamilyError

    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return (print, ("this must never run",))

    ref = FAMILIES["sd15"].judges["segmentation"]["segformer"]
    file = io.BytesIO()
    torch.save({"weight": Harmful()}, file)
    harmful = file.getvalue()
    own = hub._content
    hub._content = lambda repo, name: harmful if name.endswith(".bin") else own(repo, name)
    fetch(ref, locate(ref))
    with pytest.raises(FamilyError, match=r"holds more than weights, and no code in it is run"):
        load_networks(ref, locate, "cpu")
    assert "never run" not in capsys.readouterr().out
