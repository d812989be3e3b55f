import pytest
import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import nn

from smallvit.engine import distributed
from smallvit.engine.distributed import (
    CPUDistributedDataParallel,
    prepare_cpu_processes,
    require_a_gpu_each,
)
from smallvit.engine.pipeline import Request, fit_machine
from smallvit.errors import UserError


@pytest.fixture
def one_process(monkeypatch, tmp_path):
    """Initialize a process group with one process, which needs no second interpreter."""
    monkeypatch.setattr(distributed, "get_device", lambda: "cpu")
    dist.init_process_group(
        "gloo", store=dist.FileStore(str(tmp_path / "s"), 1), rank=0, world_size=1
    )
    yield
    dist.destroy_process_group()


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.SyncBatchNorm(4)

    def forward(self, inputs, mode="tensor"):
        return {"loss": self.norm(self.conv(inputs)).square().mean() + self.conv.weight.sum()}


def test_trains_with_sync_bn_reverted(one_process):
    model = CPUDistributedDataParallel(Model(), device_ids=[0], broadcast_buffers=False)
    assert not isinstance(model.module.norm, nn.SyncBatchNorm)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    before = model.module.conv.weight.detach().clone()
    logged = model.train_step({"inputs": torch.randn(2, 3, 4, 4)}, wrapper)
    assert logged["loss"].isfinite()
    assert not torch.equal(model.module.conv.weight, before)


def test_adapts_a_config(one_process):
    cfg = Config(
        dict(
            launcher="pytorch",
            find_unused_parameters=True,
            val_evaluator=[dict(type="A", collect_device="gpu"), dict(type="B")],
            test_evaluator=dict(type="C", collect_device="gpu"),
        )
    )
    assert prepare_cpu_processes(cfg)
    assert cfg.model_wrapper_cfg.type == "smallvit.CPUDistributedDataParallel"
    assert cfg.model_wrapper_cfg.find_unused_parameters is True
    assert cfg.val_evaluator[0].collect_device == "cpu"
    assert cfg.test_evaluator.collect_device == "cpu"
    assert [hook.type for hook in cfg.custom_hooks] == ["SyncBuffersHook"]
    assert prepare_cpu_processes(cfg)
    assert len(cfg.custom_hooks) == 1


def test_keeps_the_options_of_the_config(one_process):
    wrapper = dict(type="MMDistributedDataParallel", find_unused_parameters=True)
    cfg = Config(dict(launcher="pytorch", model_wrapper_cfg=wrapper))
    assert prepare_cpu_processes(cfg)
    assert cfg.model_wrapper_cfg.type == "smallvit.CPUDistributedDataParallel"
    assert cfg.model_wrapper_cfg.find_unused_parameters is True
    cfg.model_wrapper_cfg = dict(type="MMFullyShardedDataParallel")
    with pytest.raises(ValueError, match="MMFullyShardedDataParallel"):
        prepare_cpu_processes(cfg)


def test_leaves_single_processes_and_gpus_alone(monkeypatch):
    cfg = Config(dict(launcher="none"))
    assert not prepare_cpu_processes(cfg)
    monkeypatch.setattr(distributed, "get_device", lambda: "cuda")
    cfg.launcher = "pytorch"
    assert not prepare_cpu_processes(cfg)
    assert "model_wrapper_cfg" not in cfg


@pytest.mark.parametrize(
    ("processes", "gpus", "said"),
    [
        (2, 1, r"2 processes on this machine, but torch finds 1 GPU\. Start 1 \(bash .*CONFIG 1\)"),
        (8, 2, r"torch finds 2 GPUs\. .*CUDA_VISIBLE_DEVICES= bash tools/dist_train\.sh CONFIG 8"),
    ],
)
def test_more_processes_than_gpus_are_refused(monkeypatch, processes, gpus, said):
    monkeypatch.setattr(distributed, "get_device", lambda: "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    with pytest.raises(UserError, match=said):
        fit_machine(Request(cfg=Config(dict(launcher="pytorch"))))


@pytest.mark.parametrize(("launcher", "device"), [("none", "cuda"), ("pytorch", "cpu")])
def test_processes_without_gpus_are_not_counted(monkeypatch, launcher, device):
    monkeypatch.setattr(distributed, "get_device", lambda: device)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    require_a_gpu_each(Config(dict(launcher=launcher)))


def test_a_launcher_without_its_variables(monkeypatch):
    monkeypatch.setattr(distributed, "get_device", lambda: "cpu")
    for name in distributed.LAUNCHER_VARIABLES["slurm"]:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match=r"SLURM_PROCID.*slurm_train\.sh"):
        prepare_cpu_processes(Config(dict(launcher="slurm")))
