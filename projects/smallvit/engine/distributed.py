"""Several processes on CPU: gloo instead of NCCL, and a model wrapper without devices.

MMEngine's launchers select a CUDA device before anything else. Here the process group
is opened first, after which the Runner leaves it as it is.
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

#: Strategies of MMEngine that refuse a machine without accelerator.
GPU_STRATEGIES = ("FSDPStrategy", "DeepSpeedStrategy", "ColossalAIStrategy")
#: Where each launcher says rank, world size and local rank.
LAUNCHER_VARIABLES = {
    "pytorch": ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    "slurm": ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
    "mpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
}
#: Where a launcher that gives each process the GPU of its number says how many are here.
LOCAL_SIZES = {"pytorch": "LOCAL_WORLD_SIZE", "mpi": "OMPI_COMM_WORLD_LOCAL_SIZE"}


@MODEL_WRAPPERS.register_module()
class CPUDistributedDataParallel(MMDistributedDataParallel):
    """MMEngine's distributed wrapper for processes on CPU.

    SyncBN exists on accelerators only; it becomes BN here, so that each process
    normalizes with the statistics of its own part of the batch.

    Args:
        module (nn.Module): The model.
        device_ids (list[int], optional): Ignored: MMEngine gives every wrapper the
            local rank as its device. Defaults to None.
        **kwargs: Arguments of :class:`mmengine.model.MMDistributedDataParallel`.
    """

    def __init__(self, module: nn.Module, device_ids: list[int] | None = None, **kwargs) -> None:
        super().__init__(module=revert_sync_batchnorm(module), device_ids=None, **kwargs)


def require_accelerator(cfg: Config) -> None:
    """Refuse a strategy that the CPU cannot carry out, before anything is built.

    Args:
        cfg (Config): The config.

    Raises:
        ValueError: If it shards the model and torch sees no accelerator.
    """
    kind = str((cfg.get("strategy") or {}).get("type", "")).rpartition(".")[2]
    if kind in GPU_STRATEGIES and get_device() == "cpu":
        raise ValueError(
            f"strategy.type is {kind!r}, which needs an accelerator, and torch sees none; without "
            "strategy and runner_type the config trains on CPU processes"
        )


def require_a_gpu_each(cfg: Config) -> None:
    """Refuse more processes on a machine than it has GPUs, before anything is built.

    Args:
        cfg (Config): The config.

    Raises:
        UserError: If the launcher started more processes here than torch sees GPUs.
    """
    # Slurm's processes are spread over the GPUs by MMEngine, each may see its own alone.
    variable = LOCAL_SIZES.get(cfg.get("launcher", "none"))
    if variable is None or get_device() != "cuda":
        return
    processes, gpus = int(os.environ.get(variable, 1)), torch.cuda.device_count()
    if processes > gpus:
        raise UserError(
            f"{processes} processes on this machine, and torch sees {gpus} "
            f"GPU{'s'[: gpus != 1]}: start {gpus} (bash tools/dist_train.sh CONFIG {gpus}), or "
            "hide GPUs to train in processes on the CPU (CUDA_VISIBLE_DEVICES= bash "
            f"tools/dist_train.sh CONFIG {processes})"
        )


def prepare_cpu_processes(cfg: Config) -> bool:
    """Open gloo and adapt a config, where a launcher is in use and no accelerator is.

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
    """Tell whether this process has rank 0, also before the processes know of each other.

    Args:
        launcher (str): The launcher of the run, "none" for a single process.

    Returns:
        bool: Whether it has.
    """
    variables = LAUNCHER_VARIABLES.get(launcher)
    return variables is None or os.environ.get(variables[0], "0") == "0"


def _wrapper_config(cfg: Config) -> dict:
    """The config's own wrapper options, or MMEngine's defaults, for the CPU wrapper.

    ``find_unused_parameters`` stays the config's decision, False unless it says so, as
    on GPU: a model that trains on CPU processes then trains on GPUs too.
    """
    options = dict(cfg.get("model_wrapper_cfg") or {})
    kind = options.pop("type", "MMDistributedDataParallel")
    name = kind if isinstance(kind, str) else kind.__name__
    if name.rpartition(".")[2] not in ("MMDistributedDataParallel", "CPUDistributedDataParallel"):
        raise ValueError(
            f"model_wrapper_cfg.type is {name!r}, which needs an accelerator; on CPU processes "
            "leave it out"
        )
    options.setdefault("broadcast_buffers", False)
    options.setdefault("find_unused_parameters", cfg.get("find_unused_parameters", False))
    return {"type": "smallvit.CPUDistributedDataParallel", **options}


def _average_statistics(cfg: Config) -> None:
    """Average BN's running statistics over the processes after each epoch.

    Without SyncBN each process has its own, and validation during training would differ
    from a test of the checkpoint, which holds those of the first process.
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
            f"--launcher {launcher} needs the environment variables {', '.join(variables)}, and "
            f"{', '.join(missing)} is not set: start it with tools/dist_train.sh, "
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
