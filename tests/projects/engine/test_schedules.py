"""Learning rate schedules of timm and mmcv 1.x, and resuming them."""

import math

import pytest
import torch
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import Runner

from smallvit.engine.schedules import WarmupCosineLR, WarmupPolyLR
from smallvit.errors import CheckpointError

COSINE = dict(warmup=5, warmup_start=1e-6, eta_min=1e-5, end=20)


def optimizer(*rates: float) -> torch.optim.SGD:
    groups = [dict(params=[torch.zeros(1)], lr=rate) for rate in rates or (1e-3,)]
    return torch.optim.SGD(groups, lr=1e-3)


def curve(scheduler, steps: int) -> list[float]:
    """Return the learning rate before each step."""
    rates = []
    scheduler.optimizer.step()
    for _ in range(steps):
        rates.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.step()
    return rates


def timm_curve(steps: int, prefix: bool = False, delay: int = 0) -> list[float]:
    """Return the rates of timm's scheduler in a loop that updates it before each step."""
    from timm.scheduler import CosineLRScheduler

    model = optimizer()
    scheduler = CosineLRScheduler(
        model,
        t_initial=20 - (5 if prefix else 0),
        lr_min=1e-5,
        warmup_t=5,
        warmup_lr_init=1e-6,
        warmup_prefix=prefix,
    )
    rates = []
    for step in range(steps):
        scheduler.step(max(step - delay, 0))
        rates.append(model.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize("step", [0, 1, 4, 5, 6, 19, 20, 25])
@pytest.mark.parametrize("begin", [0, 3])
def test_a_jump_equals_that_many_steps(step, begin):
    settings = dict(COSINE, begin=begin, end=23)
    stepped, jumped = (WarmupCosineLR(optimizer(1e-3, 1e-4), **settings) for _ in range(2))
    stepped.optimizer.step()
    for _ in range(step):
        stepped.step()
    jumped.jump(step)
    for _ in range(3):
        assert jumped.state_dict() == stepped.state_dict()
        rates = [[group["lr"] for group in s.optimizer.param_groups] for s in (jumped, stepped)]
        assert rates[0] == pytest.approx(rates[1])
        jumped.optimizer.step()
        jumped.step()
        stepped.step()


@pytest.mark.parametrize("prefix", [False, True])
@pytest.mark.parametrize("delay", [0, 1])
def test_cosine_is_that_of_timm(prefix, delay):
    ours = curve(WarmupCosineLR(optimizer(), warmup_prefix=prefix, delay=delay, **COSINE), 20)
    assert ours == pytest.approx(timm_curve(20, prefix, delay), rel=1e-12)


def test_the_minimum_is_kept_after_the_cosine():
    scheduler = WarmupCosineLR(optimizer(), **dict(COSINE, T_max=15))
    assert curve(scheduler, 25)[15:] == [1e-5] * 10


def test_ratios_follow_each_group():
    model = optimizer(1e-3, 1e-4)
    scheduler = WarmupCosineLR(model, warmup=5, warmup_start_ratio=1e-3, eta_min_ratio=0.01, end=20)
    assert [group["lr"] for group in model.param_groups] == pytest.approx([1e-6, 1e-7])
    curve(scheduler, 25)
    # The rate of the last step is above the minimum, as in timm.
    high, low = (group["lr"] for group in model.param_groups)
    assert high == pytest.approx(10 * low)


def test_poly_is_that_of_mmcv():
    scheduler = WarmupPolyLR(
        optimizer(), power=0.9, eta_min=1e-5, warmup=10, warmup_ratio=1e-2, end=100
    )
    for step, rate in enumerate(curve(scheduler, 100)):
        poly = (1e-3 - 1e-5) * (1 - step / 100) ** 0.9 + 1e-5
        factor = 1 - (1 - min(step / 10, 1)) * (1 - 1e-2)
        assert rate == pytest.approx(poly * factor, rel=1e-12)


def test_epochs_become_iterations():
    settings = dict(COSINE, type="smallvit.WarmupCosineLR", T_max=15, delay=1)
    by_epoch, by_iteration = (
        curve(
            PARAM_SCHEDULERS.build(
                dict(settings, convert_to_iter_based=convert),
                default_args=dict(optimizer=optimizer(), epoch_length=4),
            ),
            20 * length,
        )
        for convert, length in ((False, 1), (True, 4))
    )
    # The delay is one iteration, not one epoch.
    assert by_iteration[:2] == [1e-6, 1e-6]
    assert by_iteration[2] == pytest.approx(1e-6 + (1e-3 - 1e-6) / 20)
    assert by_iteration[4 * 5 + 1] == pytest.approx(by_epoch[6])


@pytest.mark.parametrize("changes", [{}, dict(delay=1), dict(warmup_prefix=True)])
def test_resumed_run_follows_the_same_curve(changes):
    settings = dict(COSINE, **changes)
    whole = curve(WarmupCosineLR(optimizer(), **settings), 20)
    first = WarmupCosineLR(optimizer(), **settings)
    curve(first, 8)
    stored = first.state_dict(), first.optimizer.state_dict()
    model = optimizer()
    second = WarmupCosineLR(model, **settings)
    model.load_state_dict(stored[1])
    second.load_state_dict(stored[0])
    assert curve(second, 12) == whole[8:]


def test_resumed_run_follows_the_curve_of_its_config():
    """MMEngine's own schedulers would restore the length of the first run."""
    first = WarmupCosineLR(optimizer(), **COSINE)
    curve(first, 8)
    longer = dict(COSINE, end=40)
    second = WarmupCosineLR(optimizer(), **longer)
    second.load_state_dict(first.state_dict())
    assert curve(second, 12)[1:] == curve(WarmupCosineLR(optimizer(), **longer), 20)[9:]


def test_steps_counted_in_another_unit_are_refused():
    epochs = WarmupCosineLR(optimizer(), **COSINE)
    iterations = WarmupCosineLR(optimizer(), by_epoch=False, **COSINE)
    with pytest.raises(CheckpointError, match=r"counts iterations, but WarmupCosineLR .* epochs"):
        epochs.load_state_dict(iterations.state_dict())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(eta_min=1e-5, eta_min_ratio=0.1, end=5), "eta_min=1e-05 and eta_min_ratio=0.1"),
        (dict(warmup=5, end=5, warmup_prefix=True), "T_max=0, warmup=5"),
        (dict(delay=-1, end=5), "delay=-1"),
    ],
)
def test_contradictory_settings_are_rejected(settings, message):
    with pytest.raises(ValueError, match=message):
        WarmupCosineLR(optimizer(), **settings)


def test_conversion_needs_epochs():
    with pytest.raises(ValueError, match="by_epoch=False"):
        WarmupCosineLR.build_iter_from_epoch(optimizer(), by_epoch=False, epoch_length=3)


def test_the_half_way_rate_is_half():
    scheduler = WarmupCosineLR(optimizer(), end=20)
    assert math.isclose(curve(scheduler, 20)[10], 5e-4)


class Counted(torch.nn.Module):
    """A model that records the learning rate of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.rates = []

    def train_step(self, data, optim_wrapper):
        self.rates.append(optim_wrapper.param_groups[0]["lr"])
        optim_wrapper.update_params((self.weight * 0).sum())
        return {}


@pytest.mark.parametrize("convert", [False, True])
def test_a_runner_resumes_the_curve(convert, tmp_path):
    schedule = dict(COSINE, type="smallvit.WarmupCosineLR", convert_to_iter_based=convert, end=8)

    def train(epochs: int, folder: str, **others) -> list[float]:
        model = Counted()
        runner = Runner(
            model,
            work_dir=str(tmp_path / folder),
            train_dataloader=dict(
                batch_size=2, sampler=dict(type="DefaultSampler"), dataset=[0] * 6
            ),
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            optim_wrapper=dict(optimizer=dict(type="SGD", lr=1e-3)),
            param_scheduler=dict(schedule),
            default_hooks=dict(
                checkpoint=dict(type="CheckpointHook", interval=1),
                plain_checkpoint=dict(type="smallvit.PlainCheckpointHook"),
                logger=None,
                timer=None,
            ),
            log_level="ERROR",
            experiment_name=f"schedules_{convert}_{folder}_{epochs}",
            **others,
        )
        runner.train()
        return model.rates

    whole = train(8, "whole")
    first = train(3, "parts")
    second = train(8, "parts", resume=True)
    assert [*first, *second] == whole
    assert len(set(whole)) == (24 if convert else 8)
