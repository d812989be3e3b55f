"""Non-finite losses and gradients: the error names the batch, and the weights stay unchanged."""

import re

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, OPTIM_WRAPPERS
from torch import nn
from torch.utils.data import Dataset

from run_helpers import Run, train
from smallvit.engine.gradients import GradientGuard, RunningStatistics
from smallvit.errors import NonFiniteError

SIZE = 12


class Sample:
    def __init__(self, img_path):
        self.img_path = img_path


class Vectors(Dataset):
    """Vectors of ones; the faulty ones are zeros or NaN."""

    def __init__(self, spoilt=(), value=0.0):
        self.spoilt, self.value = spoilt, value

    def __len__(self):
        return SIZE

    def __getitem__(self, index):
        inputs = torch.full((2, 3), self.value if index in self.spoilt else 1.0 + index)
        return dict(inputs=inputs, data_samples=Sample(f"pictures/{index}.jpg"))


@MODELS.register_module()
class Roots(BaseModel):
    """The square root has an infinite gradient at 0, while the loss of a zero vector is finite."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2, affine=False)
        self.layer = nn.Linear(3, 1, bias=False)
        nn.init.ones_(self.layer.weight)

    def forward(self, inputs, data_samples=None, mode="tensor"):
        inputs = torch.stack(inputs)
        self.norm(inputs)
        return dict(loss=self.layer(inputs).abs().sqrt().mean())


@OPTIM_WRAPPERS.register_module()
class ScaledOnCPU(OptimWrapper):
    """Reproduces AmpOptimWrapper with a scaler, which does not run on a CPU."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.loss_scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)

    def backward(self, loss, **kwargs):
        self.loss_scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs):
        if self.clip_grad_kwargs:
            self.loss_scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update()


class Weights(Hook):
    """Record the weights after each iteration."""

    priority = "VERY_LOW"

    def __init__(self):
        self.weights, self.means = [], []

    def __deepcopy__(self, memo):
        return self  # Runner copies its config

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        model = getattr(runner.model, "module", runner.model)
        self.weights.append(model.layer.weight.detach().clone())
        self.means.append(model.norm.running_mean.clone())


@pytest.fixture
def config(tmp_path):
    def make(spoilt=(), value=0.0, epochs=1, batch_size=2, hook=None, **wrapper):
        return Config(
            dict(
                default_scope="mmengine",
                model=dict(type="Roots"),
                train_dataloader=dict(
                    batch_size=batch_size,
                    num_workers=0,
                    sampler=dict(type="DefaultSampler", shuffle=False),
                    dataset=Vectors(spoilt, value),
                ),
                train_cfg=dict(by_epoch=True, max_epochs=epochs),
                optim_wrapper=dict(optimizer=dict(type="AdamW", lr=0.1), **wrapper),
                default_hooks=dict(
                    logger=dict(type="LoggerHook", interval=1),
                    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=1),
                    non_finite=dict(type="smallvit.NonFiniteHook", **(hook or {})),
                ),
                work_dir=str(tmp_path / "work"),
                experiment_name=tmp_path.name,
                randomness=dict(seed=0),
            ),
            format_python_code=False,
        )

    return make


CLIP = dict(clip_grad=dict(max_norm=1.0))
WRAPPERS = [
    {},
    CLIP,
    dict(clip_grad=dict(type="value", clip_value=1.0)),
    dict(type="smallvit.AutocastOptimWrapper", emulate=True),
    dict(type="smallvit.AutocastOptimWrapper", emulate=True, **CLIP),
    dict(optimizer=dict(type="SGD", lr=0.1, momentum=0.9), **CLIP),
    dict(optimizer=dict(type="AdamW", lr=0.1, fused=True), **CLIP),
]


def failure(cfg):
    seen = Weights()
    cfg.custom_hooks = [seen]
    with pytest.raises(NonFiniteError) as caught:
        train(cfg)
    return str(caught.value), seen


@pytest.mark.parametrize("wrapper", WRAPPERS, ids=str)
def test_a_gradient_names_its_own_batch(config, wrapper, tmp_path):
    cfg = config(spoilt=(5,))
    cfg.optim_wrapper.update(wrapper)
    message, _ = failure(cfg)
    assert re.search(
        r"iteration 3 \(epoch 1\): the gradient is not finite: loss=\S+, gradient norm=(nan|inf)",
        message,
    )
    assert "samples: pictures/4.jpg, pictures/5.jpg\n" in message
    good = tmp_path / "work" / "iter_2.pth"
    assert f"last good checkpoint: {good}" in message
    stored = torch.load(good, weights_only=True)["state_dict"]
    assert all(value.isfinite().all() for value in stored.values())
    assert not (tmp_path / "work" / "iter_3.pth").exists()


@pytest.mark.parametrize("wrapper", [{}, CLIP], ids=str)
def test_a_loss_names_its_own_batch(config, wrapper):
    message, _ = failure(config(spoilt=(5,), value=float("nan"), **wrapper))
    assert "iteration 3 (epoch 1): the loss is not finite: loss=nan" in message
    assert "samples: pictures/4.jpg, pictures/5.jpg\n" in message


def test_accumulated_batches_are_named_together(config):
    message, _ = failure(config(spoilt=(5,), accumulative_counts=2))
    assert "iteration 4 (epoch 1): the gradient is not finite" in message
    assert "samples: " + ", ".join(f"pictures/{n}.jpg" for n in range(4, 8)) + "\n" in message


def test_switched_off(config):
    cfg = config(spoilt=(5,), hook=dict(enabled=False))
    cfg.default_hooks.checkpoint = dict(type="CheckpointHook", interval=9, save_last=False)
    seen = Weights()
    cfg.custom_hooks = [seen]
    train(cfg)
    assert seen.weights[-1].isnan().all()


@pytest.mark.parametrize("value", [0.0, float("nan")])
@pytest.mark.parametrize("wrapper", WRAPPERS, ids=str)
def test_skipped_steps(config, wrapper, value, tmp_path):
    cfg = config(spoilt=(4, 5, 6), value=value, hook=dict(skip=2))
    cfg.optim_wrapper.update(wrapper)
    seen = Weights()
    cfg.custom_hooks = [seen]
    train(cfg)
    assert len(seen.weights) == 6
    changed = [not torch.equal(a, b) for a, b in zip(seen.weights, seen.weights[1:], strict=False)]
    assert changed == [True, False, False, True, True]
    changed = [not torch.equal(a, b) for a, b in zip(seen.means, seen.means[1:], strict=False)]
    assert changed == [True, False, False, True, True]
    (log,) = (tmp_path / "work").glob("*/*.log")
    text = log.read_text()
    assert "pictures/4.jpg, pictures/5.jpg" in text
    assert re.search(r"step is skipped \(2 in a row, .*2\)", text)
    final = torch.load(tmp_path / "work" / "iter_6.pth", weights_only=True)
    assert all(value.isfinite().all() for value in final["state_dict"].values())


def test_a_finite_step_resets_the_count(config):
    train(config(spoilt=(0, 4, 8), hook=dict(skip=1)))
    message, _ = failure(config(spoilt=(0, 4, 6), hook=dict(skip=1)))
    assert "iteration 4" in message


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_a_skipped_step_of_several_batches(config, value):
    cfg = config(spoilt=(5,), value=value, hook=dict(skip=1), accumulative_counts=2)
    seen = Weights()
    cfg.custom_hooks = [seen]
    train(cfg)
    changed = [not torch.equal(a, b) for a, b in zip(seen.weights, seen.weights[1:], strict=False)]
    assert changed == [True, False, False, False, True]
    assert torch.equal(seen.means[1], seen.means[3])
    assert seen.means[-1].isfinite().all()


def test_the_scaler_may_search_for_its_scale(config):
    cfg = config(type="ScaledOnCPU", **CLIP)
    cfg.train_dataloader.dataset = Vectors(range(SIZE), value=1e35)  # 10 overflows
    cfg.train_cfg.max_epochs = 4
    train(cfg)


def test_the_scaler_may_not_search_forever(config):
    cfg = config(spoilt=range(SIZE), epochs=9, type="ScaledOnCPU", **CLIP)
    message, _ = failure(cfg)
    assert "iteration 30 (epoch 5): the loss scaler skipped 30 steps in a row" in message


@pytest.mark.parametrize(("value", "what"), [(0.0, "gradient"), (float("nan"), "loss")])
def test_two_processes_name_the_batches_of_both(config, value, what):
    cfg = config(spoilt=(5,), value=value, batch_size=1, **CLIP)  # in the second process
    run = Run(cfg, processes=2)
    assert run.wait() == [1, 1]
    text = run.output.read_text()
    assert text.count(f"iteration 3 (epoch 1): the {what} is not finite") >= 1
    assert re.search(r"samples: of process 1 \(loss=\S+\): pictures/5.jpg", text)
    assert re.search(r"samples: of process 0 \(loss=\S+\): pictures/4.jpg", text)


def test_two_processes_skip_together(config, tmp_path):
    run = Run(config(spoilt=(5,), batch_size=1, hook=dict(skip=1), **CLIP), processes=2)
    run.finish()
    final = torch.load(tmp_path / "work" / "iter_6.pth", weights_only=True)
    assert all(value.isfinite().all() for value in final["state_dict"].values())


def test_large_gradients_are_finite():
    layer = nn.Linear(2, 1)
    wrapper = OptimWrapper(torch.optim.SGD(layer.parameters(), lr=0.0))
    guard = GradientGuard(wrapper)
    for value, bad in ((1e18, False), (float("inf"), True), (float("-inf"), True)):
        for parameter in layer.parameters():
            parameter.grad = torch.full_like(parameter, value)
        wrapper.step()
        assert guard.stepped
        assert (guard.finish() is not None) == bad
    guard.remove()
    layer.weight.grad = torch.full_like(layer.weight, float("nan"))
    wrapper.step()
    assert guard.finish() is None


def test_running_statistics_are_restored():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))
    statistics = RunningStatistics(model)
    kept = {key: value.clone() for key, value in model.state_dict().items()}
    model(torch.full((4, 2), float("nan")))
    assert model[0].running_mean.isnan().all()
    statistics.restore()
    for key, value in model.state_dict().items():
        assert torch.equal(value, kept[key]), key
