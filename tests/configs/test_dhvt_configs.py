"""DHVT configs: models of all tasks, and converted official checkpoints."""

import re

import pytest
import torch

from config_helpers import CONFIGS, LEAVES, build, read_config
from fake_data import DOMAINS
from goldens import load_golden, reference_state
from smallvit.converters import convert, get_system, identify, revert

DHVT = [name for name in LEAVES if name.startswith("dhvt/")]
DENSE = [name for name in DHVT if re.search(r"coco|ade20k|digits-", name)]


def test_the_recipes_that_were_promised_are_there():
    variants = [f"-p{patch}_cifar{classes}" for patch in (2, 4) for classes in (10, 100)]
    variants += [f"_{domain}" for domain in DOMAINS]
    variants += [f"_finetune_{name}" for name in ("cifar100", "clipart", "painting", "sketch")]
    variants += ["_in1k", "_coco", "_ade20k"]
    assert {f"dhvt/dhvt-{size}{rest}.py" for size in "ts" for rest in variants} <= set(DHVT)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("recipe", ["dhvt-t", "dhvt-s"])
def test_all_loaders_read_the_domain_of_the_name(recipe, domain):
    cfg = read_config(f"dhvt/{recipe}_{domain}.py")
    for part in ("train", "val", "test"):
        assert cfg[f"{part}_dataloader"].dataset.domain == domain
    assert cfg.train_dataloader.dataset.split == "train"
    assert cfg.test_dataloader.dataset.split == "test"


@pytest.mark.parametrize("name", DENSE)
def test_dense_model_sees_a_pyramid(name, uninitialized):
    model = build(read_config(name))
    with torch.no_grad():
        maps = model.extract_feat(torch.zeros(1, 3, 64, 96))
    assert [tuple(m.shape[2:]) for m in maps[:4]] == [(16, 24), (8, 12), (4, 6), (2, 3)]


@pytest.mark.parametrize("official", get_system("dhvt").models)
def test_official_model_loads_into_its_config(official, uninitialized):
    record = get_system("dhvt").models[official]
    cfg = read_config(str(record.config).split("/configs/")[1])
    model = build(cfg)
    state = revert("dhvt", model.state_dict())
    key_map, names = identify("dhvt", {"model": state})
    assert key_map.name == record.architecture
    assert official in names
    assert (CONFIGS / record.config.split("/configs/")[1]).is_file()
    model.load_state_dict(convert("dhvt", {"model": state}))


def test_checkpoint_of_the_reference_fits_the_config():
    state = reference_state(load_golden("dhvt_tiny_cifar_patch4"))
    build(read_config("dhvt/dhvt-t-p4_cifar100.py")).load_state_dict(convert("dhvt", state))
    assert identify("dhvt", state)[1] == ["dhvt_tiny_cifar_patch4"]
