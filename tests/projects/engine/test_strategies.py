"""FSDP and DeepSpeed without a GPU: their configs, and the error on a CPU."""

import importlib.util
import inspect

import pytest
from mmengine._strategy import DeepSpeedStrategy, FSDPStrategy
from mmengine.config import Config
from mmengine.registry import FUNCTIONS

from run_helpers import ROOT, Run, classification, losses, preload
from smallvit.engine.distributed import require_accelerator

STRATEGIES = {"fsdp": FSDPStrategy, "deepspeed": DeepSpeedStrategy}


@pytest.mark.parametrize("name", STRATEGIES)
class TestConfigs:
    def read(self, name, tmp_path):
        path = tmp_path / "config.py"
        bases = [ROOT / "configs/dwnet/dwnet-mini_digits.py"]
        bases.append(ROOT / f"configs/_base_/strategies/{name}.py")
        path.write_text(f"_base_ = {[str(base) for base in bases]}")
        return Config.fromfile(path)

    def test_options_exist(self, name, tmp_path):
        cfg = self.read(name, tmp_path)
        assert cfg.runner_type == "FlexibleRunner"
        options = set(cfg.strategy) - {"type"}
        assert options <= set(inspect.signature(STRATEGIES[name].__init__).parameters)

    def test_is_refused_on_cpu(self, name, tmp_path):
        with pytest.raises(ValueError, match=f"{cfg_type(name)}.*requires an accelerator"):
            require_accelerator(self.read(name, tmp_path))


def cfg_type(name):
    return STRATEGIES[name].__name__


def test_fsdp_knows_its_wrap_policy():
    cfg = Config.fromfile(ROOT / "configs/_base_/strategies/fsdp.py")
    assert callable(FUNCTIONS.get(cfg.strategy.model_wrapper.auto_wrap_policy.type))


@pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is not None, reason="DeepSpeed is installed"
)
def test_deepspeed_is_asked_for():
    with pytest.raises(AssertionError, match="DeepSpeed is not installed"):
        DeepSpeedStrategy()


def test_the_guards_work_under_a_strategy(tmp_path):
    """On one device with the strategy available on CPUs: kill the run midway and resume it."""
    preload("mmpretrain")

    def config(name):
        cfg = classification(tmp_path / name)
        cfg.runner_type = "FlexibleRunner"
        cfg.strategy = dict(type="SingleDeviceStrategy")
        cfg.train_cfg.max_epochs = 3
        cfg.custom_hooks = []
        return cfg

    Run(config("whole")).finish()
    run = Run(config("killed"))
    assert run.kill_after(4, 0), run.tail()
    (tmp_path / "killed" / "last_checkpoint").write_text("nowhere.pth")
    resumed = Run(config("killed"), resume=True)
    resumed.finish()
    assert "resuming" in resumed.output.read_text()
    wanted = losses(tmp_path / "whole")
    assert len(wanted) == 15
    assert losses(tmp_path / "killed") == wanted
