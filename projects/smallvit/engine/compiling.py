"""``torch.compile`` of the networks in a model, in place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
from mmengine.config import Config
from torch import nn

from smallvit.errors import UserError

#: Modes of ``torch.compile``; the first is the default of the flag.
MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
#: Modes that use CUDA graphs, whose outputs the next step overwrites.
GRAPHS = ("reduce-overhead", "max-autotune")
HOOK = "smallvit.CompileHook"
_COMPILERS = ("g++", "clang++", "gcc", "clang")


def compiled_parts(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Find the networks of a model: outermost submodules called ``backbone``.

    Preprocessing, heads and losses handle lists of samples and are not compiled.

    Args:
        model (nn.Module): A classifier, detector or segmentor, wrapped or not.

    Yields:
        tuple[str, nn.Module]: Name and module of each network.
    """
    above = None
    for name, module in model.named_modules():
        if above is not None and name.startswith(above):
            continue
        if name.rpartition(".")[2] == "backbone":
            above = f"{name}."
            yield name, module


def compile_networks(model: nn.Module, mode: str = "default", backend: str = "inductor") -> list:
    """Compile the networks of a model; parameter names and the state dict do not change.

    Args:
        model (nn.Module): The model, on its device.
        mode (str): One of :data:`MODES`. Defaults to "default".
        backend (str): Backend of ``torch.compile``; the modes are inductor's. Defaults to
            "inductor".

    Returns:
        list[str]: Names of the compiled submodules.

    Raises:
        UserError: If the mode does not exist, or a network or compiler is missing.
    """
    if mode not in MODES:
        raise UserError(f"expected --compile to be one of {', '.join(MODES)}, got {mode}")
    parts = dict(compiled_parts(model))
    if not parts:
        raise UserError(
            f"--compile: {type(model).__name__} has no backbone to compile. Remove the flag, or "
            "set compile=True in the config, which compiles whole steps"
        )
    if backend == "inductor":
        check_compiler(next(model.parameters()).is_cuda)
    for part in parts.values():
        use_plain_numbers(part)
        before_compiling = getattr(part, "before_compiling", None)
        if before_compiling is not None:
            before_compiling()
        part.compile(backend=backend, **({"mode": mode} if backend == "inductor" else {}))
    return list(parts)


def check_compiler(is_cuda: bool) -> None:
    """Check that the compilers that ``torch.compile`` needs are installed.

    Args:
        is_cuda (bool): Whether the model is on a GPU.

    Raises:
        UserError: If one is missing.
    """
    if is_cuda and find_spec("triton") is None:
        raise UserError(
            "--compile on a GPU requires Triton, which is not installed: pip install triton, or "
            "remove the flag"
        )
    names = [os.environ[key] for key in ("CXX", "CC") if os.environ.get(key)] or _COMPILERS
    if os.name == "posix" and not any(map(shutil.which, names)):
        raise UserError(
            f"--compile requires a C++ compiler, but none of {', '.join(names)} was found. Install "
            "one (apt install g++), set the variable CXX, or remove the flag"
        )


def use_plain_numbers(model: nn.Module) -> None:
    """Convert numpy scalars in modules to Python numbers, which graphs can branch on.

    MMPretrain computes its stochastic depth rates with numpy.

    Args:
        model (nn.Module): The network to compile, changed in place.
    """
    for module in model.modules():
        for key, value in vars(module).items():
            if isinstance(value, np.generic):
                vars(module)[key] = value.item()


def use_compilation(cfg: Config, mode: str) -> None:
    """Make a config train or test with compiled networks.

    Args:
        cfg (Config): The config, changed in place.
        mode (str): One of :data:`MODES`.

    Raises:
        UserError: If the config also has MMEngine compile whole steps.
    """
    if cfg.get("compile"):
        raise UserError(
            f"--compile (networks) cannot be combined with compile={cfg.compile} of the config "
            "(whole steps). Remove one of them"
        )
    hooks = [each for each in cfg.get("custom_hooks") or [] if each.get("type") != HOOK]
    cfg.custom_hooks = [*hooks, dict(type=HOOK, mode=mode)]
