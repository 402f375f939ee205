"""Protects: what is wrong with a model is said in a sentence with the way out, before any work."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_hub import files_in, serving, small_hub
from tiny_families import COMMIT, FAMILIES, snapshot, write_tiny_families

from workbench.families import ControlNetRef, FamilyError, LocateError, ModelRef, NetworkRef
from workbench.families.check import family_states, pin_family, require_models
from workbench.families.hub import fetch, hub_errors, wanted_files
from workbench.families.locate import Place, is_offline, locate, read_pins
from workbench.families.manager import ModelManager

XL, UNION, FLOW = (FAMILIES[name] for name in ("tiny-xl", "tiny-union", "tiny-flow"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_tiny_families(folder)
    return folder


@pytest.fixture
def models(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder of its own for each test, and no network."""
    monkeypatch.setenv("WORKBENCH_OFFLINE", "1")
    return Path(shutil.copytree(written, tmp_path / "models"))


def problems(family: Any, models: Path, *controls: str) -> str:
    with pytest.raises(LocateError) as error:
        require_models(family, family.base, controls, models=models)
    return str(error.value)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_whole_families_have_no_problem(family: Any, models: Path) -> None:
    assert require_models(family, family.base, family.controlnets, models=models) == ()


def test_all_missing_models_are_named_at_once(tmp_path: Path, models: Path) -> None:
    text = problems(XL, tmp_path / "empty", "depth", "canny")
    for name in ("base model one", "ControlNet for depth", "ControlNet for canny", "VAE", "CLIP"):
        assert name in text
    assert len(text.splitlines()) == 5
    assert "--offline" in text


def test_layouts_people_have(models: Path) -> None:
    """owner/name, name alone, a subfolder, a hub cache; plain files and those of a variant."""
    places = {role: state.place for state in family_states(XL, models) if (role := state.role)}
    assert places["base one"].revision == COMMIT
    assert places["base one"].keywords["variant"] == "fp16"
    assert places["ControlNet depth"].folder == models / "some" / "xl-nets" / "nets" / "depth"
    assert "variant" not in places["ControlNet depth"].keywords
    assert places["ControlNet canny"].keywords["variant"] == "fp16"
    assert locate(UNION.controlnet_ref("pose"), models).folder == models / "xl-union"
    plain = ModelRef(repo="some/xl-canny")  # nobody said fp16, but that is what there is
    assert locate(plain, models).keywords["variant"] == "fp16"


def test_a_pinned_revision_is_not_replaced_by_another(models: Path) -> None:
    wanted = ModelRef(repo="some/xl-base", revision=COMMIT)
    assert locate(wanted, models).revision == COMMIT
    with pytest.raises(LocateError, match=r"f{40}"):
        locate(ModelRef(repo="some/xl-base", revision="f" * 40), models)


def test_a_broken_download_does_not_count(models: Path) -> None:
    (weights,) = (snapshot(models, "some/xl-base") / "unet").glob("*.safetensors")
    weights.unlink()
    assert "base model one" in problems(XL, models)


def test_another_architecture_is_told_from_the_folder(models: Path) -> None:
    base = models / "some" / "flow-base"
    shutil.rmtree(base)
    shutil.copytree(snapshot(models, "some/xl-base"), base)
    assert "StableDiffusionXLPipeline" in problems(FLOW, models)
    depth = models / "some" / "flow-depth"
    shutil.rmtree(depth)
    shutil.copytree(models / "some" / "xl-canny", depth)
    text = problems(FLOW, models, "depth")
    assert "ControlNetModel, where SD3ControlNetModel is needed" in text


def test_a_union_model_is_told_by_its_weights_not_its_config(models: Path) -> None:
    """The config of the union model on the hub may name any class."""
    path = models / "xl-union" / "config.json"
    config = json.loads(path.read_text("utf-8")) | {"_class_name": "ControlNetModel"}
    path.write_text(json.dumps(config), "utf-8")
    require_models(UNION, ["one"], ["pose"], models=models)
    assert ModelManager(UNION, models_dir=models).controlnet("pose") is not None
    swapped = {"depth": ControlNetRef(repo="some/xl-canny", union_mode=1)}
    family = UNION.model_copy(update={"controlnets": swapped})
    assert "ControlNetUnionModel is needed" in problems(family, models, "depth")


def test_a_controlnet_of_another_width_is_refused(models: Path) -> None:
    path = models / "some" / "xl-canny" / "config.json"
    config = json.loads(path.read_text("utf-8")) | {"cross_attention_dim": 768}
    path.write_text(json.dumps(config), "utf-8")
    text = problems(XL, models, "canny")
    assert "768" in text and "64" in text and len(text.splitlines()) == 1


def test_pickled_weights_and_strange_folders_are_refused(models: Path) -> None:
    folder = models / "some" / "flow-copy-depth"
    (weights,) = folder.glob("*.safetensors")
    weights.unlink()
    torch.save({}, folder / "diffusion_pytorch_model.bin")
    family = FAMILIES["tiny-flow-copy"]
    assert "pickled" in problems(family, models, "depth")
    (folder / "config.json").unlink()
    assert "no diffusers model" in problems(family, models, "depth")
    (models / "some" / "flow-base" / "model_index.json").unlink()
    assert "model_index.json" in problems(family, models)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("GatedRepoError", "hf auth login"),
        ("RepositoryNotFoundError", "no some/model"),
        ("RevisionNotFoundError", "no revision"),
        ("HfHubHTTPError", "--models PATH"),
        ("OfflineModeIsEnabled", "--models PATH"),
    ],
)
def test_the_hubs_errors_say_the_way_out(kind: str, words: str) -> None:
    from huggingface_hub import errors

    type_ = getattr(errors, kind)
    error = type_.__new__(type_)
    with pytest.raises(LocateError, match=words), hub_errors(ModelRef(repo="some/model")):
        raise error


def test_only_what_is_loaded_is_downloaded() -> None:
    files = [
        "README.md",
        "model_index.json",
        "sd_xl_base_1.0.safetensors",
        "unet/config.json",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
        "vae_1_0/diffusion_pytorch_model.safetensors",
        "tokenizer/merges.txt",
        "safety_checker/model.fp16.safetensors",
        "text_encoder_3/model-00001-of-00002.safetensors",
        "text_encoder_3/model-00002-of-00002.safetensors",
        "text_encoder_3/model.safetensors.index.json",
    ]
    parts = ("unet", "vae", "tokenizer", "safety_checker", "text_encoder_3")
    assert wanted_files(files, ModelRef(repo="a/b", variant="fp16"), parts) == [
        "model_index.json",
        "text_encoder_3/model-00001-of-00002.safetensors",
        "text_encoder_3/model-00002-of-00002.safetensors",
        "text_encoder_3/model.safetensors.index.json",
        "tokenizer/merges.txt",
        "unet/config.json",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    promax = ["config.json", "diffusion_pytorch_model.safetensors", "a_promax.safetensors"]
    assert wanted_files(promax, ModelRef(repo="a/b"), ()) == promax[:2]
    nested = [f"nets/depth/{name}" for name in promax]
    ref = ModelRef(repo="a/b", subfolder="nets/depth")
    assert wanted_files([*promax, *nested], ref, ()) == nested[:2]


def test_a_download_is_loaded_as_a_folder(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = snapshot(models, "some/xl-base")
    hub = small_hub({"some/xl-base": files_in(source)}, COMMIT)
    with serving(hub, tmp_path / "home", monkeypatch):
        place = fetch(XL.base["one"], Place("some/xl-base", {}, None))
    assert place.folder is not None and place.folder.is_relative_to(tmp_path / "home" / "hub")
    assert files_in(place.folder) == files_in(source)
    assert place.revision == COMMIT
    assert place.keywords == {"local_files_only": True, "variant": "fp16"}
    # Later runs load the same commit, and the user is told so.
    assert read_pins(tmp_path / "home" / "models" / "pins.json") == {"some/xl-base": COMMIT}
    (told,) = caplog.messages
    assert f"some/xl-base is pinned at {COMMIT}" in told and "pins.json" in told


HED = {"ControlNetHED.pth": b"weights"}


def test_what_is_pinned_or_on_this_disk_gets_no_other_pin(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins, commit = models / "pins.json", "e" * 40
    with serving(small_hub({"a/b": HED}, commit), tmp_path / "home", monkeypatch):
        fetch(XL.base["one"], locate(XL.base["one"], models), models)
        fixed = NetworkRef(loader="hed", repo="a/b", revision=commit)
        fetch(fixed, Place("a/b", {}, None, fixed.revision), models)
        assert not pins.exists()
        loose = NetworkRef(loader="hed", repo="a/b")
        fetch(loose, Place("a/b", {}, None), models)
        assert read_pins(pins) == {"a/b": commit}
        pins.write_text(json.dumps({"a/b": "d" * 40}), "utf-8")
        with pytest.raises(LocateError, match="no revision"):
            fetch(loose, locate(loose, models), models)
    assert read_pins(pins) == {"a/b": "d" * 40}


def test_pins_that_cannot_be_written_are_told_and_do_no_harm(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (models / "pins.json").write_text("[]", "utf-8")
    with serving(small_hub({"a/b": HED}, COMMIT), tmp_path / "home", monkeypatch):
        fetch(NetworkRef(loader="hed", repo="a/b"), Place("a/b", {}, None), models)
    assert "could not be pinned" in caplog.text


def test_some_of_several_weight_files_are_no_weights(models: Path) -> None:
    folder = models / "some" / "flow-copy-depth"
    (weights,) = folder.glob("*.safetensors")
    weights.rename(folder / "diffusion_pytorch_model-00001-of-00002.safetensors")
    text = problems(FAMILIES["tiny-flow-copy"], models, "depth")
    assert "some of its weight files only" in text and "\n" not in text


def test_pins_are_written_used_and_recorded(models: Path) -> None:
    pins, unknown = pin_family(XL, models)
    assert pins == {"some/xl-base": COMMIT}
    assert set(unknown) == {"some/xl-vae", "some/xl-nets", "some/xl-canny"}
    assert json.loads((models / "pins.json").read_text("utf-8")) == pins
    # Main moves on; the pinned commit is still the one that is taken.
    cache = models / "models--some--xl-base"
    (cache / "refs" / "main").write_text("e" * 40, "utf-8")
    shutil.copytree(cache / "snapshots" / COMMIT, cache / "snapshots" / ("e" * 40))
    assert locate(XL.base["one"], models).revision == COMMIT
    assert pin_family(XL, models)[0] == pins
    manager = ModelManager(XL, models_dir=models)
    manager.pipeline("depth")
    hashes = manager.weight_hashes()
    assert hashes["some/xl-base"] == f"revision {COMMIT}, variant fp16"
    assert len(hashes["some/xl-vae/diffusion_pytorch_model.safetensors"]) == 64
    (models / "pins.json").write_text("[]", "utf-8")
    with pytest.raises(LocateError, match=r"pins\.json"):
        locate(XL.base["one"], models)


def test_methods_choose_controlnets() -> None:
    nets = {
        "lineart": ControlNetRef(repo="a/lineart"),
        "lineart.anime": ControlNetRef(repo="a/anime"),
        "lines.mlsd": ControlNetRef(repo="a/mlsd"),
    }
    family = XL.model_copy(update={"controlnets": nets})
    assert family.controls == ("lineart", "lines")
    assert family.controlnet_name("lineart", '{"method":"anime"}') == "lineart.anime"
    assert family.controlnet_name("lineart", '{"method":"standard"}') == "lineart"
    assert family.controlnet_name("lineart") == "lineart"
    with pytest.raises(FamilyError, match="lines"):
        family.controlnet_name("lines", '{"method":"hough"}')


@pytest.mark.parametrize("value", ["1", "true", "ON"])
@pytest.mark.parametrize("name", ["WORKBENCH_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_is_one_word(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("WORKBENCH_OFFLINE", "")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert not is_offline()
    monkeypatch.setenv(name, value)
    assert is_offline()


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")


def save_net(folder: Path, like: Path, kind: str, **changes: Any) -> None:
    """A ControlNet with another configuration than one that is there, and weights that fit it."""
    import diffusers

    config = json.loads((like / "config.json").read_text("utf-8")) | changes
    shutil.rmtree(folder, ignore_errors=True)
    getattr(diffusers, kind).from_config(config).save_pretrained(folder)


SD = FAMILIES["tiny-sd"]
PLAIN, DEPTH = "ControlNetModel", "tiny/controlnet/depth"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"conditioning_channels": 1}, ["hints of 1 channels", "control maps have 3"]),
        ({"conditioning_channels": 4}, ["hints of 4 channels"]),
        (
            {"block_out_channels": [16, 64]},
            ["row of blocks is 16-16-16-64, that of the base model 16-16-16-32"],
        ),
        ({"layers_per_block": 2}, ["row of blocks is 16-16-16-16-32-32"]),
        ({"in_channels": 8}, ["number of latent channels is 8, that of the base model 4"]),
        (
            {"conditioning_embedding_out_channels": [4, 8, 8]},
            ["4 times smaller", "one latent covers 8 pixels"],
        ),
    ],
)
def test_a_controlnet_that_does_not_fit_is_found_before_any_work(
    models: Path, changes: dict[str, Any], words: list[str]
) -> None:
    """Its weights are in order, and its text has the width of the base model's."""
    save_net(models / DEPTH, models / "tiny/controlnet/canny", PLAIN, **changes)
    text = problems(SD, models, "depth")
    assert all(word in text for word in words), text
    assert "take" in text and len(text.splitlines()) == 1
    states = {state.role: state.problem for state in family_states(SD, models)}
    assert states["ControlNet depth"] in text and states["ControlNet canny"] == ""
    manager = ModelManager(SD, models_dir=models)
    with pytest.raises(LocateError) as error:
        manager.pipeline("depth")
    assert states["ControlNet depth"] in str(error.value), "the app and notebooks hear it too"


def test_a_mode_that_a_union_model_does_not_have_is_found_before_any_work(models: Path) -> None:
    wrong = {"depth": ControlNetRef(repo="some/xl-union", union_mode=17)}
    family = UNION.model_copy(update={"controlnets": wrong})
    text = problems(family, models, "depth")
    assert "union_mode 17 is not one of its 6 control types" in text and "from 0 to 5" in text
    with pytest.raises(LocateError, match="union_mode 17"):
        ModelManager(family, models_dir=models).pipeline("depth")


def test_a_controlnet_of_sd3_for_inpainting_is_found_before_any_work(models: Path) -> None:
    folder = models / "some" / "flow-depth"
    save_net(
        folder, models / "some" / "flow-canny", "SD3ControlNetModel", extra_conditioning_channels=1
    )
    assert "1 channels beside the control map" in problems(FLOW, models, "depth")


def test_weights_that_are_cut_off_lack_some_or_are_others_are_told_apart(models: Path) -> None:
    from safetensors.torch import load_file, save_file

    (weights,) = (models / DEPTH).glob("*.safetensors")
    whole = weights.read_bytes()
    for part in (whole[: len(whole) // 2], whole[:5], b""):
        weights.write_bytes(part)
        text = problems(SD, models, "depth")
        assert "cut off or damaged" in text and "no ControlNet" not in text
    weights.write_bytes(whole)
    tensors = load_file(weights)
    kept = {name: tensor for name, tensor in tensors.items() if "mid_block" not in name}
    save_file(kept, weights)
    assert f"lack {len(tensors) - len(kept)} of the {len(tensors)}" in problems(SD, models, "depth")
    save_file({"a.weight": torch.ones(1), "b.weight": torch.ones(1)}, weights)
    text = problems(SD, models, "depth")
    assert "says ControlNetModel, but its weights are others (a.weight, b.weight" in text
    save_file({"control_model.input_blocks.0.0.weight": torch.ones(1)}, weights)
    assert "from_single_file" in problems(SD, models, "depth")
    weights.write_bytes(whole)
    edit_config(models / DEPTH, block_out_channels=[16, 64])
    assert "does not describe its weights" in problems(SD, models, "depth")
    edit_config(models / DEPTH, block_out_channels="many")
    assert "describes no ControlNetModel" in problems(SD, models, "depth")


def test_a_base_model_whose_file_is_cut_off_is_found_before_any_work(models: Path) -> None:
    for part in ("unet", "vae", "text_encoder"):
        (weights,) = (models / "tiny" / "base" / part).glob("*.safetensors")
        whole = weights.read_bytes()
        weights.write_bytes(whole[:-1])
        text = problems(SD, models)
        assert f"{part}: its weight file {weights.name} is cut off" in text
        weights.write_bytes(whole)


def test_an_inpainting_model_is_no_base_model(models: Path) -> None:
    from diffusers import UNet2DConditionModel

    folder = models / "tiny" / "base" / "unet"
    config = UNet2DConditionModel.load_config(folder)
    UNet2DConditionModel.from_config({**config, "in_channels": 9}).save_pretrained(folder)
    text = problems(SD, models)
    assert "takes 9 channels and its VAE gives 4, so it is an inpainting model" in text
    assert "take the base model that it was made from" in text and len(text.splitlines()) == 1
    states = {state.role: state.problem for state in family_states(SD, models)}
    assert states["base one"] in text
    with pytest.raises(LocateError, match="inpainting"):
        ModelManager(SD, models_dir=models).pipeline()


def test_parts_of_different_models_are_no_base_model(models: Path) -> None:
    edit_config(models / "tiny" / "base" / "text_encoder", hidden_size=64)
    assert "reads text of width 32 and its text encoders give 64" in problems(SD, models)


def test_another_transformer_is_no_stable_diffusion_3(models: Path) -> None:
    path = models / "some" / "flow-base" / "model_index.json"
    index = json.loads(path.read_text("utf-8"))
    index |= {"_class_name": "FluxPipeline"}
    index["transformer"] = ["diffusers", "FluxTransformer2DModel"]
    path.write_text(json.dumps(index), "utf-8")
    text = problems(FLOW, models)
    assert "FluxTransformer2DModel" in text and "saved as a StableDiffusion3Pipeline" in text
    states = {state.role: state.problem for state in family_states(FLOW, models)}
    assert states["base one"] in text
    index["transformer"] = ["diffusers", "SD3Transformer2DModel"]
    index["unet"] = ["diffusers", "UNet2DConditionModel"]
    path.write_text(json.dumps(index), "utf-8")
    states = {state.role: state.problem for state in family_states(FLOW, models)}
    assert "of another architecture (FluxPipeline): it has a unet" in states["base one"]


def test_a_stable_diffusion_3_saved_without_t5_is_loaded_without_it(models: Path) -> None:
    base = models / "some" / "flow-base"
    whole = ModelManager(FLOW, models_dir=models)
    assert not whole.token_count("a girl, " * 12).truncated, "T5 reads 256"
    index = json.loads((base / "model_index.json").read_text("utf-8"))
    shutil.rmtree(base / "text_encoder_3")
    with pytest.raises(LocateError, match=r"text_encoder_3 is missing: .*to do without T5, load"):
        require_models(FLOW, ["one"], ["depth"], models=models)
    index |= {"text_encoder_3": [None, None], "tokenizer_3": [None, None]}
    (base / "model_index.json").write_text(json.dumps(index), "utf-8")
    require_models(FLOW, ["one"], ["depth"], models=models)
    manager = ModelManager(FLOW, models_dir=models)
    assert manager.pipeline("depth").text_encoder_3 is None
    assert manager.token_count("a girl, " * 12).truncated, "CLIP reads 20 here"


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        ("tokenizer/*", "its tokenizer has no tokenizer.json"),
        ("scheduler/*", "its scheduler has no scheduler_config.json"),
        ("unet/config.json", "unet: it has no config.json that can be read"),
        ("vae/config.json", "vae: it has no config.json that can be read"),
        ("text_encoder/config.json", "text_encoder: it has no config.json that can be read"),
    ],
)
def test_a_small_file_that_was_not_copied_is_found_before_any_work(
    models: Path, gone: str, told: str
) -> None:
    for path in (models / "tiny" / "base").glob(gone):
        path.unlink()
    text = problems(SD, models)
    assert told in text and "fetch or save it again" in text and len(text.splitlines()) == 1


def test_half_an_index_is_no_other_architecture(models: Path) -> None:
    index = models / "tiny" / "base" / "model_index.json"
    index.write_text(index.read_text("utf-8")[:40], "utf-8")
    assert "its model_index.json cannot be read" in problems(SD, models)


def test_a_pointer_of_git_lfs_is_told_from_a_damaged_file(models: Path) -> None:
    (weights,) = (models / "tiny" / "base" / "unet").glob("*.safetensors")
    weights.write_text("version https://git-lfs.github.com/spec/v1\nsize 3438167534\n", "utf-8")
    assert f"{weights.name} is only a pointer of Git LFS" in problems(SD, models)


@pytest.mark.parametrize("name", ["my-style.safetensors", "pytorch_lora_weights.safetensors"])
def test_a_folder_with_a_single_file_says_what_to_make_of_it(models: Path, name: str) -> None:
    for folder in ("tiny/base", "tiny/controlnet/depth"):
        shutil.rmtree(models / folder)
        (models / folder).mkdir()
        (models / folder / name).write_bytes(b"anything")
    lines = problems(SD, models, "depth").splitlines()
    assert len(lines) == 2
    for line in lines:
        assert f"its {name} is a single file" in line and "from_single_file" in line


def test_another_model_or_half_a_file_is_no_clip(models: Path) -> None:
    blip = SD.model_copy(update={"clip": ModelRef(path="some/blip")})
    assert "it is no CLIP of pictures and texts, but Blip" in problems(blip, models)
    own = SD.clip.path
    weights = models / own / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "its weight file model.safetensors is cut off" in problems(SD, models)
