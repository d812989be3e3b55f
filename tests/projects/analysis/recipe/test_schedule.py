"""Learning rate curves and loader lengths of a recipe, compared with those of a training run."""

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch.utils.data import Dataset

from smallvit.analysis.recipe.loader import count_iterations, count_processes, describe_loader
from smallvit.analysis.recipe.schedule import describe_curve, learning_rates


def config(*schedulers: dict, train_cfg: dict | None = None, **loader) -> Config:
    loader = dict(
        dict(batch_size=4, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=False)),
        **loader,
    )
    return Config(
        dict(
            param_scheduler=list(schedulers),
            train_cfg=train_cfg or dict(by_epoch=True, max_epochs=4),
            optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
            train_dataloader=loader,
            auto_scale_lr=dict(base_batch_size=4),
        )
    )


class Ten(Dataset):
    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> int:
        return index


class Recorder(torch.nn.Module):
    """A model that records the learning rate of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.rates = []

    def train_step(self, data, optim_wrapper):
        self.rates.append(optim_wrapper.param_groups[0]["lr"])
        optim_wrapper.update_params((self.weight * 0).sum())
        return {}


SCHEDULES = {
    "epochs": [dict(type="CosineAnnealingLR", T_max=4, by_epoch=True)],
    "iterations": [
        dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=5),
        dict(type="MultiStepLR", milestones=[2], by_epoch=True),
    ],
    "ours": [
        dict(
            type="smallvit.WarmupCosineLR",
            warmup=1,
            delay=1,
            by_epoch=True,
            convert_to_iter_based=True,
        )
    ],
}


@pytest.mark.parametrize("schedulers", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("drop_last", [False, True])
def test_rates_are_those_that_a_runner_trains_with(schedulers, drop_last, tmp_path):
    cfg = config(*schedulers, drop_last=drop_last)
    model = Recorder()
    runner = Runner(
        model,
        work_dir=str(tmp_path),
        train_dataloader=dict(cfg.train_dataloader, dataset=Ten()),
        train_cfg=dict(by_epoch=True, max_epochs=4),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        param_scheduler=cfg.param_scheduler,
        default_hooks=dict(checkpoint=None, logger=None, timer=None),
        log_level="ERROR",
        experiment_name=f"recipe_{drop_last}_{schedulers[0]['type']}",
    )
    runner.train()
    length = count_iterations(cfg, 10)
    assert length == (2 if drop_last else 3)
    (curve,) = learning_rates(cfg, length)
    assert model.rates == pytest.approx(list(curve.rates), rel=1e-12)


def test_twenty_points_are_listed():
    cfg = config(SCHEDULES["epochs"][0], train_cfg=dict(by_epoch=True, max_epochs=300))
    (curve,) = learning_rates(cfg, 5)
    found = describe_curve(curve)
    epochs = [key for key in found if key.startswith("epoch ")]
    assert len(epochs) == 20
    assert (epochs[0], epochs[-1]) == ("epoch 0", "epoch 299")
    assert found["sum of epoch means"] == pytest.approx(curve.rates.sum() / 5)


def test_iterations_are_listed_where_no_epochs_are_counted():
    cfg = config(train_cfg=dict(by_epoch=False, max_iters=100))
    (curve,) = learning_rates(cfg, None)
    found = describe_curve(curve)
    assert found["iteration 99"] == 0.1
    assert found["sum over iterations"] == pytest.approx(10)


def test_processes_share_the_images_as_the_sampler_does():
    cfg = config(batch_size=2, drop_last=True)
    assert count_processes(cfg) == 2
    assert count_iterations(cfg, 11) == 3  # six images each
    cfg.train_dataloader.drop_last = False
    assert count_iterations(cfg, 13) == 4
    assert describe_loader(cfg, 13)["last partial batch"] == "kept"
    cfg.train_dataloader.sampler = dict(type="InfiniteSampler")
    assert count_iterations(cfg, 13) is None
