"""Every config is built and trained for one step on data in the layout of its dataset.

A config is built at full size, without weights, if its size is published or no step is trained. For
the training step it is reduced: two images of 64 instead of 224 pixels (an eighth of the length and
narrow heads in detection and segmentation), the smallest DWNet, a narrow Swin for classification,
and quickly generated weights; see ``reduce_config.py``. New configs are included automatically.
Variants of a CIFAR-100 config for other datasets, and configs that only differ from another one in
the number, size or position of the same components, train their step with ``-m exhaustive``.
"""

from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner

from config_helpers import CONFIGS, LEAVES, build, read_config, scope_of
from reduce_config import NARROW_TEACHERS, reduce_config
from smallvit.engine import config_keys
from smallvit.plugins.locality_guidance import teacher_config
from smallvit.registry import MODELS
from smallvit.utils import spelling


@pytest.fixture(scope="module", autouse=True)
def remembered():
    """Cache registry lookups, name comparisons and teacher configs for all configs."""
    functions = (
        (config_keys, "_look_up"),
        (spelling, "_count_edits"),
        (teacher_config, "get_config"),
    )
    with pytest.MonkeyPatch.context() as patch:
        for module, name in functions:
            patch.setattr(module, name, cache(getattr(module, name)))
        yield


@cache
def metadata() -> dict[str, dict]:
    """Return the metadata of each config from the metafiles."""
    files = [yaml.safe_load(path.read_text()) for path in CONFIGS.glob("*/metafile.yml")]
    models = [model for file in files for model in file["Models"]]
    return {model["Config"].removeprefix("configs/"): model.get("Metadata", {}) for model in models}


@pytest.mark.parametrize("name", LEAVES)
def test_no_option_looks_misspelled(name):
    assert list(config_keys.misspelled_keys(read_config(name))) == []


def teach(guidance: dict, cfg) -> None:
    """Provide what a guided student needs: weights of a teacher and a feature store."""
    teacher = guidance["teacher"]
    if not isinstance(teacher["model"], str):
        return teach_from_timm(guidance, cfg)
    config = teacher["model"].removeprefix("smallvit::")
    checkpoint = Path(teacher["checkpoint"])
    if not checkpoint.exists():
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        torch.save(dict(state_dict=build(read_config(config)).state_dict()), checkpoint)
    if guidance.get("store") and not Path(guidance["store"]).exists():
        from tool_helpers import load_tool

        load_tool("locality_guidance/precompute.py").main(
            [str(CONFIGS / config), str(checkpoint), "--out", guidance["store"]]
        )


def teach_from_timm(guidance: dict, cfg) -> None:
    """The same for a large pretrained network, with small images and random weights."""
    from smallvit.plugins.locality_guidance.precompute import Precomputing, write_store

    teacher = guidance["teacher"]
    teacher["size"] = 112
    teacher["model"].update(NARROW_TEACHERS[teacher["model"]["model_name"]])
    if "img_size" in teacher["model"]:
        teacher["model"]["img_size"] = 112
    network = MODELS.build({**teacher["model"], "pretrained": False})
    Path("work_dirs").mkdir(exist_ok=True)
    teacher["checkpoint"] = "work_dirs/large.pth"
    torch.save(network.state_dict(), teacher["checkpoint"])
    write_store(cfg, teacher["checkpoint"], guidance["store"], Precomputing(num_workers=0))


def beginning(parameter: torch.Tensor) -> torch.Tensor:
    return parameter.detach().flatten()[:256].clone()


OWN = ("custom-coco", "custom-boxes", "custom-masks", "folder")
TWINS = ("cifar10", "tiny-imagenet", "flowers102", "chaoyang")
SAME_SIZE = ("cifar10", "flowers102", "chaoyang")


# Part of a config name, and its replacement in the name of the config that is trained instead: it
# has the same components in a different number, size or position.
SAME_PARTS = {
    "/dhvt-s": "/dhvt-t",
    "/deit-s": "/deit-t",
    "/vit-s": "/vit-t",
    "/cait-xxs24": "/cait-xxs12",
    "/t2t-vit-14": "/t2t-vit-7",
    "/dvt-t2t-14": "/dvt-t2t-12",
    "/resnet-56": "/resnet-20",
    "/resnet-110": "/resnet-20",
    "-bypass3_": "-bypass2_",
    "-bypass4_": "-bypass2_",
    "-k5_": "-k7_",
    "-k3-5_": "-k3-5-7_",
    "-r20_": "-r110_",
    "-w0.5_": "-w5_",
    "-first_": "-late_",
    "-last_": "-late_",
    "-early_": "-late_",
    "-middle_": "-late_",
    "_infograph": "_clipart",
    "_painting": "_clipart",
    "_quickdraw": "_clipart",
    "_real": "_clipart",
    "_sketch": "_clipart",
}


#: Pretraining configs that are trained in place of the others: each method and each network.
PRETRAININGS = ("vit-t-p4_masked", "dhvt-t-p4_masked", "dwnet-t_instance", "timm-vit-t-p4_views")


def has_a_double(name: str) -> bool:
    """Whether another config with the same components is trained in place of this one."""
    return any(
        part in name and name.replace(part, other) in LEAVES for part, other in SAME_PARTS.items()
    )


def is_own_twin(name: str, seen: set[str]) -> bool:
    """Whether a config for user data is covered by another config.

    This is the case if its type of annotation (boxes, masks, label maps) was already seen, or if it
    is a config for class folders with the network of an ImageNet config.
    """
    stem, _, data = name.removesuffix(".py").rpartition("_")
    if data == "folder":
        return "_dynamic" in stem or f"{stem}_cifar100.py" in LEAVES
    return data in OWN and data in seen


def builds() -> list:
    """Return all configs; some are marked as exhaustive.

    Those are configs without published size that are also trained, or that have a CIFAR-100 variant
    with the same image size.
    """
    stepping = {param.values[0] for param in steps() if not param.marks}
    params = []
    for name in LEAVES:
        stem, _, data = name.removesuffix(".py").rpartition("_")
        spared = name in stepping or (data in SAME_SIZE and f"{stem}_cifar100.py" in LEAVES)
        marks = [pytest.mark.exhaustive] if data in OWN or (spared and name not in sized()) else []
        params.append(pytest.param(name, marks=marks))
    return params


def sized() -> set[str]:
    """Return the configs whose metafile gives the published model size."""
    return {
        name
        for name, said in metadata().items()
        if "Parameters" in said and "Parameters" not in said.get("Differences", {})
    }


def steps() -> list:
    """Return all configs; some are marked as exhaustive.

    Those only differ from a CIFAR-100 config in their dataset (except for one config of each
    dataset), equal another config when reduced, or are covered by a config with the same
    components.
    """
    params, seen = [], set()
    for name in LEAVES:
        stem, _, data = name.removesuffix(".py").rpartition("_")
        twin = f"{stem}_cifar100.py" in LEAVES and data in TWINS and data in seen
        # A reduced base DWNet equals the tiny one.
        twin = twin or name.startswith("dwnet/dwnet-b_") or has_a_double(name)
        twin = twin or is_own_twin(name, seen)
        twin = twin or (name.startswith("pretrain/") and not stem.endswith(PRETRAININGS))
        marks = [pytest.mark.exhaustive] if twin else []
        params.append(pytest.param(name, marks=marks))
        seen.add(data)
    return params


@pytest.mark.parametrize("name", builds())
def test_builds_with_the_published_parameters(name, without_weights, quick_build):
    model = build(read_config(name))
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count > 0
    if name in sized():
        assert count == pytest.approx(metadata()[name]["Parameters"], rel=0.02)


@pytest.mark.parametrize("name", steps())
def test_trains_a_step(name, in_fake_data, quick_weights, quick_build):
    torch.manual_seed(0)
    cfg = reduce_config(read_config(name))
    if "guidance" in cfg.model:
        teach(cfg.model.guidance, cfg)
    model = build(cfg).train()
    with scope_of(cfg):
        batch = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    trained = {key: value for key, value in model.named_parameters() if value.requires_grad}
    before = {key: beginning(value) for key, value in trained.items()}
    losses = model.train_step(batch, wrapper)
    assert losses["loss"] > 0
    assert all(torch.isfinite(value).all() for value in losses.values())
    # A parameter without gradient would stop distributed training; the optimizer skips it.
    idle = [key for key, value in trained.items() if value not in wrapper.optimizer.state]
    assert not idle or cfg.get("find_unused_parameters")
    moved = [key for key, value in trained.items() if (beginning(value) != before[key]).any()]
    assert len(moved) > 0.8 * len(before)
