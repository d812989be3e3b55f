"""Distributed training on CPU: gloo instead of NCCL, and a model wrapper without device IDs.

MMEngine's launchers first select a CUDA device. Here the process group is initialized before, and
the Runner uses it unchanged.
"""

from __future__ import annotations

import datetime
import os
import subprocess

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_distributed
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from torch import nn

from smallvit.errors import UserError
from smallvit.registry import MODEL_WRAPPERS

#: Strategies of MMEngine that require an accelerator.
GPU_STRATEGIES = ("FSDPStrategy", "DeepSpeedStrategy", "ColossalAIStrategy")
#: Environment variables of rank, world size and local rank, by launcher.
LAUNCHER_VARIABLES = {
    "pytorch": ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    "slurm": ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
    "mpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
}
#: Environment variable with the number of local processes, for launchers that use one GPU each.
LOCAL_SIZES = {"pytorch": "LOCAL_WORLD_SIZE", "mpi": "OMPI_COMM_WORLD_LOCAL_SIZE"}


@MODEL_WRAPPERS.register_module()
class CPUDistributedDataParallel(MMDistributedDataParallel):
    """MMEngine's distributed wrapper for processes on CPU.

    SyncBN requires an accelerator and is replaced by BN, so that each process
    normalizes with the statistics of its own part of the batch.

    Args:
        module (nn.Module): The model to wrap.
        device_ids (list[int], optional): Ignored: MMEngine gives every wrapper the
            local rank as its device. Defaults to None.
        **kwargs: Arguments of :class:`mmengine.model.MMDistributedDataParallel`.
    """

    def __init__(self, module: nn.Module, device_ids: list[int] | None = None, **kwargs) -> None:
        super().__init__(module=revert_sync_batchnorm(module), device_ids=None, **kwargs)


def require_accelerator(cfg: Config) -> None:
    """Refuse a strategy that does not run on CPU, before anything is built.

    Args:
        cfg (Config): The config to check.

    Raises:
        ValueError: If it shards the model and torch finds no accelerator.
    """
    kind = str((cfg.get("strategy") or {}).get("type", "")).rpartition(".")[2]
    if kind in GPU_STRATEGIES and get_device() == "cpu":
        raise ValueError(
            f"strategy.type={kind!r} requires an accelerator, but torch finds none. Remove "
            "strategy and runner_type to train on CPU processes"
        )


def require_a_gpu_each(cfg: Config) -> None:
    """Refuse more processes on a machine than it has GPUs, before anything is built.

    Args:
        cfg (Config): The config to check.

    Raises:
        UserError: If the launcher started more processes on this machine than there are GPUs.
    """
    # MMEngine distributes Slurm's processes over the GPUs, and each may see only its own.
    variable = LOCAL_SIZES.get(cfg.get("launcher", "none"))
    if variable is None or get_device() != "cuda":
        return
    processes, gpus = int(os.environ.get(variable, 1)), torch.cuda.device_count()
    if processes > gpus:
        raise UserError(
            f"{processes} processes on this machine, but torch finds {gpus} "
            f"GPU{'s'[: gpus != 1]}. Start {gpus} (bash tools/dist_train.sh CONFIG {gpus}), or "
            "hide the GPUs to train on CPU processes (CUDA_VISIBLE_DEVICES= bash "
            f"tools/dist_train.sh CONFIG {processes})"
        )


def prepare_cpu_processes(cfg: Config) -> bool:
    """Initialize gloo and adapt a config, if a launcher is used and there is no accelerator.

    Args:
        cfg (Config): The config, changed in place: model wrapper, metric collection and
            averaged BN statistics.

    Returns:
        bool: Whether the run is distributed over CPU processes.
    """
    launcher = cfg.get("launcher", "none")
    if launcher == "none" or get_device() != "cpu":
        return False
    if not is_distributed():
        _open_gloo(launcher, cfg.get("env_cfg", {}).get("dist_cfg", {}).get("timeout"))
    cfg.model_wrapper_cfg = _wrapper_config(cfg)
    for evaluator in ("val_evaluator", "test_evaluator"):
        _collect_on_cpu(cfg.get(evaluator))
    _average_statistics(cfg)
    return True


def is_first_process(launcher: str) -> bool:
    """Check whether this process has rank 0, even before the process group is initialized.

    Args:
        launcher (str): The launcher of the run, "none" for a single process.

    Returns:
        bool: Whether its rank is 0.
    """
    variables = LAUNCHER_VARIABLES.get(launcher)
    return variables is None or os.environ.get(variables[0], "0") == "0"


def _wrapper_config(cfg: Config) -> dict:
    """Options of the CPU wrapper: those of the config's wrapper, or MMEngine's defaults.

    ``find_unused_parameters`` is that of the config, by default False as on GPUs, so that a model
    that trains on CPU processes also trains on GPUs.
    """
    options = dict(cfg.get("model_wrapper_cfg") or {})
    kind = options.pop("type", "MMDistributedDataParallel")
    name = kind if isinstance(kind, str) else kind.__name__
    if name.rpartition(".")[2] not in ("MMDistributedDataParallel", "CPUDistributedDataParallel"):
        raise ValueError(
            f"model_wrapper_cfg.type={name!r} requires an accelerator. Remove it to train on CPU "
            "processes"
        )
    options.setdefault("broadcast_buffers", False)
    options.setdefault("find_unused_parameters", cfg.get("find_unused_parameters", False))
    return {"type": "smallvit.CPUDistributedDataParallel", **options}


def _average_statistics(cfg: Config) -> None:
    """Average BN's running statistics over the processes after each epoch.

    Without SyncBN each process has its own statistics, and validation during training would
    differ from testing the checkpoint, which holds those of rank 0.
    """
    hooks = list(cfg.get("custom_hooks") or [])
    if not any(hasattr(hook, "get") and hook.get("type") == "SyncBuffersHook" for hook in hooks):
        cfg.custom_hooks = [*hooks, {"type": "SyncBuffersHook"}]


def _collect_on_cpu(evaluator: dict | list | None) -> None:
    metrics = evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]
    for metric in metrics:
        if hasattr(metric, "get") and metric.get("collect_device") == "gpu":
            metric["collect_device"] = "cpu"
        if hasattr(metric, "get") and metric.get("metrics") is not None:
            _collect_on_cpu(metric["metrics"])


def _open_gloo(launcher: str, timeout: int | None) -> None:
    variables = LAUNCHER_VARIABLES[launcher]
    missing = [name for name in variables if name not in os.environ]
    if missing:
        raise ValueError(
            f"--launcher {launcher} requires the environment variables {', '.join(variables)}, but "
            f"{', '.join(missing)} is not set. Start it with tools/dist_train.sh, "
            "tools/slurm_train.sh or torchrun"
        )
    for name, source in zip(LAUNCHER_VARIABLES["pytorch"], variables, strict=True):
        os.environ[name] = os.environ[source]
    os.environ.setdefault("MASTER_ADDR", _first_host() if launcher == "slurm" else "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29500")
    options = {} if timeout is None else {"timeout": datetime.timedelta(seconds=int(timeout))}
    dist.init_process_group("gloo", **options)
    if dist.get_rank() == 0:
        print(f"No accelerator: running on {dist.get_world_size()} CPU processes with gloo")


def _first_host() -> str:
    nodes = os.environ["SLURM_NODELIST"]
    listed = subprocess.run(
        ["scontrol", "show", "hostname", nodes], capture_output=True, text=True, check=True
    )
    return listed.stdout.split()[0]
