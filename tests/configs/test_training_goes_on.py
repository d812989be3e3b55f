"""Resuming official checkpoints after conversion: learning rates and optimizer states continue.

Official checkpoints are emulated by small models whose weights go through the converter, with
optimizers grouped as given by the official numbers in ``tests/data/recipes``.
"""

import json
import re
import runpy
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from config_helpers import ROOT, read_config
from smallvit.analysis.recipe.names import named_tensors
from smallvit.analysis.recipe.weights import build_network
from smallvit.cli import run_tool
from smallvit.converters import convert, revert

pytestmark = pytest.mark.usefixtures("quick_build")

RECIPES = ROOT / "tests" / "data" / "recipes"
WEIGHTS = json.loads((RECIPES / "weights.json").read_text())
convert_tool = runpy.run_path(str(ROOT / "tools" / "model_converters" / "convert.py"))["main"]

VIT = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
#: Keys of weights, optimizer and average in the official files.
KEYS = dict(
    dhvt=("model", "optimizer", "model_ema"),
    dwnet=("model", "optimizer", None),
    dvt=("state_dict", "optimizer", "state_dict_ema"),
    dw_shortcut=("model", "optimizer", None),
    locality_guidance=("model_state", "optimizer_state", "ema_state"),
)


@dataclass
class Case:
    """A reduced config; ``like`` has the official numbers for learning rate and weight decay."""

    name: str
    backbone: dict
    channels: int
    epoch: int
    like: str | None = None
    model: dict = field(default_factory=dict)

    @property
    def system(self):
        return self.name.split("/")[0]

    @property
    def entry(self):
        return self.like or self.name


CASES = [
    Case("dhvt/dhvt-t-p4_cifar100.py", dict(arch=VIT, num_heads=2), 16, 99),
    Case("dwnet/dwnet-t_in1k.py", dict(arch="mini"), 256, 24),
    Case("dvt/dvt-t2t-12_in1k.py", dict(arch=dict(VIT, embed_dims=32)), 32, 199),
    Case("dw_shortcut/vit-t_shortcut_cifar100.py", dict(arch=VIT), 16, 149),
    Case(
        "dw_shortcut/cait-xxs12_shortcut_cifar10.py",
        dict(arch=dict(VIT, num_cls_layers=1)),
        16,
        4,
    ),
    Case(
        "dw_shortcut/swin-t_shortcut_cifar10.py",
        dict(arch=dict(embed_dims=8, depths=[2, 2, 2, 2], num_heads=[1, 2, 2, 2])),
        64,
        289,
    ),
    Case("locality_guidance/deit-ti_cifar100.py", dict(arch=VIT), 16, 49),
    Case(
        "locality_guidance/deit-ti_guided_cifar100.py",
        dict(arch=VIT),
        16,
        19,
        like="locality_guidance/deit-ti_cifar100.py",
        model=dict(guidance=dict(student_indices=(0, 1, 1))),
    ),
    Case("locality_guidance/resnet-56_cifar100.py", dict(depth=8), 64, 199),
]


def official_rates(name):
    for path in RECIPES.glob("*.json"):
        for entry in json.loads(path.read_text()) if path.name != "weights.json" else []:
            if name in entry["configs"]:
                return entry["lr"]
    raise AssertionError(f"no rates of {name}")


def small_config(case, folder):
    cfg = read_config(case.name)
    cfg.merge_from_dict(dict(model=case.model))
    if "guidance" in cfg.model:
        teacher = build_network(read_config("locality_guidance/resnet-56_cifar100.py"))
        torch.save(dict(state_dict=teacher.state_dict()), folder / "teacher.pth")
        cfg.model.guidance.teacher.checkpoint = str(folder / "teacher.pth")
    backbone = cfg.model.backbone
    for network in backbone.get("exits", [backbone]):
        network.update(case.backbone)
    cfg.model.head.in_channels = case.channels
    return cfg


class Official:
    """State of the official training: parameters by name and their optimizer."""

    def __init__(self, case, model):
        named = named_tensors(model, case.system)
        state = revert(case.system, model.state_dict())
        ours = dict(model.named_parameters())
        trained = [key for key in state if key in named and set(named[key].sources) <= set(ours)]
        self.parameters = {key: torch.nn.Parameter(state[key].clone()) for key in trained}
        self.others = {key: value for key, value in state.items() if key not in trained}
        self.order = list(state)
        self.extra = []
        self.optimizer = self._optimizer(case, read_config(case.name).optim_wrapper.optimizer)

    def _optimizer(self, case, settings):
        exempt_kinds = WEIGHTS[case.entry]["exempt"]
        exempt, decayed = [], []
        for name, parameter in self.parameters.items():
            is_exempt = re.sub(r"\d+", "#", name) in exempt_kinds and parameter.dim() < 4
            if name.startswith("mlp_head"):  # one kind contains both the norm and the layer
                is_exempt = parameter.dim() == 1
            (exempt if is_exempt else decayed).append(name)
        if case.system in ("dwnet", "dw_shortcut"):
            groups = [decayed, exempt]
        elif case.system == "locality_guidance":
            groups = self._tiny_groups(exempt, decayed, "guided" in case.name)
        else:
            groups = [exempt, decayed]
        groups = [
            dict(
                params=[self.parameters[n] if isinstance(n, str) else n for n in names],
                weight_decay=settings.weight_decay
                if any(n in decayed for n in names if isinstance(n, str))
                else 0.0,
            )
            for names in groups
        ]
        options = {
            k: v for k, v in settings.items() if k not in ("type", "_scope_", "weight_decay")
        }
        return getattr(torch.optim, settings.type)(groups, **options)

    def _tiny_groups(self, exempt, decayed, guided):
        if not guided:
            head = [[n for n in part if n.startswith("head.")] for part in (exempt, decayed)]
            body = [[n for n in part if not n.startswith("head.")] for part in (exempt, decayed)]
            return [*head, *body]
        # The parameters of the wrapper have a different prefix, and include those of its
        # transforms.
        transforms = torch.nn.Conv2d(16, 16, 1), torch.nn.Conv2d(16, 32, 1)
        self.extra = [p for layer in transforms for p in layer.parameters()]
        vectors = [p for p in self.extra if p.dim() == 1]
        kernels = [p for p in self.extra if p.dim() == 4]
        return [[], [], [*exempt, *vectors], [*decayed, *kernels]]

    def step(self, gradients=None):
        for name, parameter in self.parameters.items():
            known = gradients or {}
            parameter.grad = known.get(name, torch.randn_like(parameter))
        for parameter in self.extra:
            parameter.grad = torch.randn_like(parameter)
        self.optimizer.step()

    def state(self):
        both = {**self.others, **self.parameters}
        return {key: both[key].detach().clone() for key in self.order}

    def checkpoint(self, case):
        weights, optimizer, average = KEYS[case.system]
        content = {weights: self.state(), optimizer: self.optimizer.state_dict()}
        if average is not None:
            content[average] = {key: value + 1 for key, value in self.state().items()}
        return content | dict(epoch=case.epoch, lr_scheduler=dict(base_values=[1.0]))


class FirstStepError(Exception):
    """Raised when the run reaches its first step."""


def resume(case, cfg, file, work_dir, monkeypatch):
    """Resume with a runner until its first step."""

    def stop(loop):
        loop.runner.call_hook("before_train")
        raise FirstStepError

    monkeypatch.setattr(EpochBasedTrainLoop, "run", stop)
    length = official_rates(case.entry).get("iterations_per_epoch", 40)
    hooks = [hook for hook in cfg.get("custom_hooks", []) if hook.type.endswith("EMAHook")]
    runner = Runner(
        model=cfg.model,
        work_dir=str(work_dir),
        train_dataloader=DataLoader(list(range(length))),
        train_cfg=cfg.train_cfg,
        optim_wrapper=cfg.optim_wrapper,
        param_scheduler=cfg.param_scheduler,
        default_hooks=cfg.default_hooks,
        custom_hooks=hooks,
        default_scope=cfg.default_scope,
        load_from=str(file),
        resume=True,
        log_level="ERROR",
        experiment_name=work_dir.name,
    )
    with pytest.raises(FirstStepError):
        runner.train()
    assert (runner.epoch, runner.iter) == (case.epoch + 1, (case.epoch + 1) * length)
    return runner


def our_values(case, official, values):
    """Convert values from official names to ours."""
    return convert(case.system, {**official.state(), **values})


def cases() -> list:
    """All cases; the slow one of DVT is also covered by the test of averages."""
    return [
        pytest.param(
            case,
            id=Path(case.name).stem,
            marks=[pytest.mark.exhaustive] if case.system == "dvt" else [],
        )
        for case in CASES
    ]


@pytest.mark.parametrize("case", cases())
def test_training_is_resumed(case, tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    cfg = small_config(case, tmp_path)
    official = Official(case, build_network(cfg))
    for _ in range(2):
        official.step()
    torch.save(official.checkpoint(case), tmp_path / "official.pth")
    args = [case.system, tmp_path / "official.pth", tmp_path / "ours.pth", "--training-state"]
    assert run_tool(convert_tool, [str(arg) for arg in args]) == 0
    assert f"{case.epoch + 1} epochs, optimizer moments" in capsys.readouterr().out

    runner = resume(case, cfg, tmp_path / "ours.pth", tmp_path / "work", monkeypatch)
    model, optimizer = runner.model, runner.optim_wrapper.optimizer
    rate = official_rates(case.entry)["at_epoch_start"][str(case.epoch + 1)]
    peak = cfg.optim_wrapper.optimizer.lr
    for group in optimizer.param_groups:
        assert group["lr"] == pytest.approx(rate, abs=1e-6 * peak)

    # One more step on both sides with the same gradients: weights, moments, rates and weight decay.
    for group in official.optimizer.param_groups:
        group["lr"] = rate
    gradients = {name: torch.randn_like(p) for name, p in official.parameters.items()}
    theirs = our_values(case, official, gradients)
    official.step(gradients)
    for name, parameter in model.named_parameters():
        parameter.grad = theirs.get(name)
    optimizer.step()
    wanted = our_values(case, official, {})
    found = {name: value for name, value in model.named_parameters() if name in wanted}
    assert len(found) >= len(official.parameters) > 10
    for name, value in found.items():
        torch.testing.assert_close(value.detach(), wanted[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("system", ["dvt", "dhvt"])
def test_average_is_carried_to_a_run_that_averages(system, tmp_path, monkeypatch):
    case = next(case for case in CASES if case.system == system)
    cfg = small_config(case, tmp_path)
    if system == "dhvt":  # stores an average that is never evaluated
        cfg.custom_hooks = read_config("_base_/ema.py").custom_hooks
    official = Official(case, build_network(cfg))
    official.step()
    torch.save(official.checkpoint(case), tmp_path / "official.pth")
    args = [case.system, tmp_path / "official.pth", tmp_path / "ours.pth", "--training-state"]
    assert run_tool(convert_tool, [str(arg) for arg in args]) == 0
    runner = resume(case, cfg, tmp_path / "ours.pth", tmp_path / "work", monkeypatch)
    (hook,) = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
    raw, average = runner.model.state_dict(), hook.ema_model.module.state_dict()
    wanted = our_values(case, official, {})
    name = next(key for key in wanted if key.endswith("attn.proj.weight"))
    torch.testing.assert_close(raw[name], wanted[name])
    torch.testing.assert_close(average[name], wanted[name] + 1)
    assert hook.ema_model.steps == runner.iter


@pytest.mark.parametrize("system", ["dhvt", "dvt", "locality_guidance"])
def test_averaged_weights_alone(system, tmp_path):
    case = next(case for case in CASES if case.system == system)
    model = build_network(small_config(case, tmp_path))
    torch.save(Official(case, model).checkpoint(case), tmp_path / "official.pth")
    args = [case.system, tmp_path / "official.pth", tmp_path / "ours.pth", "--ema"]
    assert run_tool(convert_tool, [str(arg) for arg in args]) == 0
    state = torch.load(tmp_path / "ours.pth", weights_only=True)["state_dict"]
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(state[name], parameter.detach() + 1)
