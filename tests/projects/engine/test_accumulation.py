"""Gradient accumulation: EMA and learning rates count optimizer steps."""

import pytest
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.registry import HOOKS

from smallvit.engine.accumulation import average_by_steps, scale_rate_by_steps
from tiny_runs import tiny_runner


@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_rate_is_scaled_by_the_images_of_a_step(tmp_path, accumulate):
    auto = dict(enable=True, base_batch_size=8)
    runner = tiny_runner(tmp_path, epochs=1, lr=0.1, accumulate=accumulate, auto_scale_lr=auto)
    scale_rate_by_steps(runner)
    runner.train()
    rate = runner.optim_wrapper.param_groups[0]["lr"]
    assert rate == pytest.approx(0.1 * 4 * accumulate / 8)
    # A config that is dumped and trained again with the flag is only scaled once.
    assert auto["base_batch_size"] == 8


@pytest.mark.parametrize(
    ("kind", "scope", "wanted"),
    [
        ("EMAHook", "mmengine", "smallvit.StepEMAHook"),
        ("EMAHook", "mmpretrain", "smallvit.ClassifierStepEMAHook"),
        ("mmpretrain.EMAHook", "mmseg", "smallvit.ClassifierStepEMAHook"),
        ("EMAHook", "mmdet", "smallvit.StepEMAHook"),
        ("other.EMAHook", "mmdet", "other.EMAHook"),
    ],
)
def test_averages_count_steps_where_gradients_accumulate(kind, scope, wanted):
    cfg = Config(
        dict(
            default_scope=scope,
            custom_hooks=[dict(type=kind, momentum=0.1)],
            optim_wrapper=dict(accumulative_counts=1),
        )
    )
    average_by_steps(cfg)
    assert cfg.custom_hooks[0].type == kind
    cfg.optim_wrapper.accumulative_counts = 2
    average_by_steps(cfg)
    assert cfg.custom_hooks[0].type == wanted
    if wanted.startswith("smallvit"):
        assert isinstance(HOOKS.build(cfg.custom_hooks[0]), EMAHook)


def test_an_average_is_updated_once_a_step(tmp_path):
    from smallvit.engine.hooks.ema import StepEMAHook

    ema = StepEMAHook(momentum=0.1)
    tiny_runner(tmp_path, epochs=2, accumulate=3, samples=20, hooks=[ema]).train()
    # Ten batches: steps after 3, 6 and 9, and one for the remainder.
    assert int(ema.ema_model.steps) == 4
