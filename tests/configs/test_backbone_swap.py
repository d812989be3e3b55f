"""DWNet as the backbone of unmodified configs of mmdet and mmseg, and in every default scope."""

import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config

import fresh
from config_helpers import build, scope_of, shrink
from reduce_config import take_few_regions

DETECTOR = "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"
SEGMENTOR = "mmseg::upernet/upernet_r50_4xb4-80k_ade20k-512x512.py"


def swapped_detector() -> Config:
    """The three lines that a user adds to an mmdet config."""
    cfg = get_config(DETECTOR)
    cfg.model.backbone = dict(type="smallvit.DWNet", arch="mini", out_indices=(0, 1, 2, 3))
    cfg.model.neck.in_channels = [32, 64, 128, 256]
    return cfg


def swapped_segmentor() -> Config:
    """The same for mmseg, which has two heads and a checkpoint for its original backbone."""
    cfg = get_config(SEGMENTOR)
    cfg.model.pretrained = None
    cfg.model.backbone = dict(type="smallvit.DWNet", arch="mini", out_indices=(0, 1, 2, 3))
    cfg.model.decode_head.in_channels = [32, 64, 128, 256]
    cfg.model.auxiliary_head.in_channels = 128
    return cfg


@pytest.mark.parametrize("make", [swapped_detector, swapped_segmentor])
def test_swapped_model_trains_and_predicts(make):
    from smallvit.analysis.fake_data import fake_batch

    torch.manual_seed(0)
    cfg = make()
    assert "smallvit" not in str(cfg.get("custom_imports"))
    shrink(cfg.model.data_preprocessor)  # otherwise images are padded to 512x512
    if "roi_head" in cfg.model:
        take_few_regions(cfg.model.train_cfg)
        cfg.model.test_cfg.rpn.max_per_img = 30
    model = build(cfg).train()
    with scope_of(cfg):
        batch = fake_batch(model, (64, 96), batch_size=2)
        data = model.data_preprocessor(batch, training=True)
        loss, _ = model.parse_losses(model(**data, mode="loss"))
        loss.backward()
        weight = model.backbone.patch_embed.projection.weight
        assert torch.isfinite(loss)
        assert weight.grad.abs().sum() > 0
        results = model.eval().test_step(fake_batch(model, (64, 96)))
    assert len(results) == 1


@pytest.mark.parametrize("scope", ["mmpretrain", "mmdet", "mmseg", "mmengine"])
def test_type_resolves_in_every_default_scope(scope):
    from mmengine.registry import MODELS

    with scope_of(scope):
        backbone = MODELS.build(dict(type="smallvit.DWNet", arch="mini", conv="dynamic"))
    (features,) = backbone.eval()(torch.zeros(1, 3, 32, 32))
    assert features.shape == (1, 256)


@pytest.mark.parametrize(
    ("scope", "custom_imports"),
    [
        # tests/tools/test_stock_tools.py trains such a config with mmdet's own tool.
        pytest.param(
            *("mmdet", "custom_imports = dict(imports=['smallvit'])"),
            id="imports",
            marks=pytest.mark.exhaustive,
        ),
        pytest.param("mmpretrain", "", id="no-imports"),
    ],
)
def test_a_foreign_project_needs_one_import_or_none(scope, custom_imports, tmp_path):
    config = tmp_path / "foreign.py"
    config.write_text(
        f"default_scope = {scope!r}\n{custom_imports}\n"
        "model = dict(type='smallvit.DWNet', arch='mini', out_indices=(0, 1, 2, 3))\n"
    )
    code = f"""
        from mmengine.config import Config
        from mmengine.registry import MODELS, init_default_scope
        cfg = Config.fromfile({str(config)!r})
        init_default_scope(cfg.default_scope)
        print(MODELS.build(cfg.model).embed_dims)
    """
    run = fresh.run(code, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "(32, 64, 128, 256)"
