"""FLOPs of two-stage detectors, for a fixed number of regions."""

import pytest
import torch

from config_helpers import build, read_config, use_mini
from reduce_config import narrow_heads
from smallvit.analysis.complexity import model_complexity
from smallvit.analysis.published_rois import BOX_ROIS, MASK_ROIS, published_rois

SHAPE = (64, 96)


@pytest.fixture(scope="module")
def cascade():
    torch.manual_seed(0)
    cfg = use_mini(read_config("dwnet/dwnet-t_cascade-3x_coco.py"))
    narrow_heads(cfg.model)
    return build(cfg)


@torch.no_grad()
def test_heads_see_the_published_numbers_of_regions(cascade):
    from smallvit.analysis.fake_data import fake_batch

    counts = {}
    heads = {"box": cascade.roi_head.bbox_head, "mask": cascade.roi_head.mask_head}
    handles = [
        head.register_forward_hook(
            lambda module, inputs, output, name=f"{kind}{stage}": counts.update(
                {name: len(inputs[0])}
            )
        )
        for kind, stages in heads.items()
        for stage, head in enumerate(stages)
    ]
    samples = fake_batch(cascade, SHAPE)["data_samples"]
    with published_rois(cascade):
        cascade(torch.zeros(1, 3, *SHAPE), samples)
    for handle in handles:
        handle.remove()
    expected = {f"box{stage}": BOX_ROIS for stage in range(3)}
    assert counts == {**expected, **{f"mask{stage}": MASK_ROIS for stage in range(3)}}


def test_the_model_is_left_as_it_was(cascade):
    with published_rois(cascade):
        assert "predict" in vars(cascade.rpn_head)
    assert "predict" not in vars(cascade.rpn_head)
    assert "forward" not in vars(cascade.roi_head)


def test_the_region_proposal_network_is_counted(cascade):
    table = model_complexity(cascade, SHAPE)["table"]
    (line,) = (line for line in table.splitlines() if " rpn_head " in line)
    assert line.split("|")[3].strip()


def test_other_models_pass_through():
    with published_rois(torch.nn.Linear(1, 1)) as nothing:
        assert nothing is None
