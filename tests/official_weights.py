#!/usr/bin/env python
"""Measure the initialization of official codes for configs without stored numbers.

    python tests/official_weights.py CLONES          prints JSON
    OFFICIAL_CLONES=CLONES pytest tests/configs/test_official_weights.py

CLONES is a folder with clones of the official repositories under their own names; missing ones are
skipped. Each is imported in its own process, with empty stubs for modules that are hard to install
and not needed by any constructor. Requires yacs, and iopath and fvcore for tiny-transformers.
"""

import json
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from functools import partial
from pathlib import Path

#: Repository, our config and the arguments for building the official model.
ROWS = [
    ("tiny-transformers", "locality_guidance/convit-ti_cifar100.py", "convit/convit-ti_c100_base"),
    ("tiny-transformers", "locality_guidance/pvtv2-b0_cifar100.py", "pvtv2/pvtv2-b0_c100_base"),
    ("tiny-transformers", "locality_guidance/t2t-vit-14_cifar100.py", "t2t/t2t-14_c100_base"),
    ("DHVT", "dhvt/dhvt-s-p2_cifar100.py", "dhvt_small_cifar_patch2"),
    ("DHVT", "dhvt/dhvt-s_clipart.py", "dhvt_small_domain_patch16"),
    ("DHVT", "dhvt/dhvt-s_in1k.py", "dhvt_small_imagenet_patch16"),
    ("Dynamic-Vision-Transformer", "dvt/dvt-t2t-14_in1k.py", "DVT_T2t_vit_14"),
    (
        "Efficient_ViT_with_DW",
        "dw_shortcut/vit-s_shortcut_cifar100.py",
        "vit/vit_small_16_224_cifar100",
    ),
    (
        "Efficient_ViT_with_DW",
        "dw_shortcut/cait-xxs24_shortcut_cifar10.py",
        "cait/cait_xxs24_16_224_cifar10",
    ),
    (
        "Efficient_ViT_with_DW",
        "dw_shortcut/swin-t_shortcut_tiny-imagenet.py",
        "swin/swin_tiny_patch4_window7_224_tiny_imagenet",
    ),
    ("DemystifyLocalViT", "dwnet/dwnet-b_in1k.py", "dwnet_base_patch4_window7_224"),
    (
        "DemystifyLocalViT",
        "dwnet/dwnet-t_inhomogeneous_in1k.py",
        "i_dynamic_dwnet_tiny_patch4_window7_224",
    ),
]


def measure(clones: Path, repository: str, name: str) -> dict | None:
    """Build an official model in its own process.

    Args:
        clones (Path): Folder of the clones.
        repository (str): Repository name.
        name (str): Model name, as in :data:`ROWS`.

    Returns:
        dict | None: Measurements in the format of ``weights.json``; None without the clone.

    Raises:
        RuntimeError: If the official code fails.
    """
    folder = Path(clones).resolve() / repository
    if not folder.is_dir():
        return None
    command = [sys.executable, __file__, "--build", repository, name]
    environment = {**os.environ, "PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{repository}, {name}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


class _Anything:
    """Has every attribute and can be used as a function, decorator or base class."""

    def __mro_entries__(self, bases: tuple) -> tuple:
        return (object,)

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *args, **kwargs):
        return self


class _Empty(types.ModuleType):
    """A module from which any name can be imported."""

    __path__: tuple = ()
    __all__: tuple = ()

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything()


def _stand_in(*names: str) -> None:
    for name in names:
        try:
            __import__(name)
        except ImportError:
            sys.modules[name] = _Empty(name)


def _build(repository: str, name: str):
    """Build the official model and its parameter groups by the official rule."""
    builder = {
        "tiny-transformers": _tiny,
        "DHVT": _dhvt,
        "Dynamic-Vision-Transformer": _dvt,
        "Efficient_ViT_with_DW": _swin_like,
        "DemystifyLocalViT": _swin_like,
    }[repository]
    return builder(name)


def _tiny(name: str):
    _stand_in("submitit", "simplejson")
    from pycls.core.config import cfg
    from pycls.core.optimizer import reset_lr_weight_decay
    from pycls.models.build import build_model

    cfg.merge_from_file(f"configs/{name}.yaml")
    model = build_model()
    return model, reset_lr_weight_decay(model), cfg.OPTIM.WEIGHT_DECAY


def _dhvt(name: str):
    _stand_in("torchprofile")
    import vision_transformer

    classes = 1000 if "imagenet" in name else 345 if "domain" in name else 100
    # The arguments for pretrained weights changed in timm's hub constructors; the class has none.
    build = vision_transformer.VisionTransformer
    vision_transformer._create_vision_transformer = lambda variant, pretrained, **kwargs: build(
        **kwargs
    )
    model = getattr(vision_transformer, name)(num_classes=classes, drop_path_rate=0.1)
    return model, _groups_of_timm(model), 0.05


def _dvt(name: str):
    six = _Empty("torch._six")
    six.container_abcs = __import__("collections.abc").abc
    sys.modules["torch._six"] = six
    import models  # noqa: F401  # registers the models
    from timm.models import create_model

    model = create_model(name, num_classes=1000, drop_path_rate=0.1, img_size=224)
    return model, _groups_of_timm(model), 0.05


def _groups_of_timm(model) -> list[dict]:
    """Reimplement ``add_weight_decay`` of timm 0.4, which was removed from timm."""
    skipped = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()
    exempt, decayed = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_exempt = parameter.dim() == 1 or name.endswith(".bias") or name in skipped
            (exempt if is_exempt else decayed).append(parameter)
    return [dict(params=exempt, weight_decay=0.0), dict(params=decayed)]


def _swin_like(name: str):
    _stand_in("cupy", "apex", "apex.optimizers")
    import config
    from models import build, build_model
    from optimizer import set_weight_decay

    if hasattr(build, "DWNet"):  # required by the constructors of the other variants
        build.DWNet = partial(build.DWNet, inhomo_heads=[1] * 4)

    settings = config._C.clone()
    settings.merge_from_file(f"configs/{name}.yaml")
    model = build_model(settings)
    skipped = (
        getattr(model, method)() if hasattr(model, method) else ()
        for method in ("no_weight_decay", "no_weight_decay_keywords")
    )
    return model, set_weight_decay(model, *skipped), settings.TRAIN.WEIGHT_DECAY


def _describe(model, groups: list[dict], decay: float) -> dict:
    import torch
    from torch import nn

    decays = {
        id(parameter): group.get("weight_decay", decay)
        for group in groups
        for parameter in group["params"]
    }
    kinds: dict[str, list] = {}
    exempt, frozen = set(), []
    for name, parameter in model.named_parameters():
        kind = re.sub(r"\d+", "#", name)
        kinds.setdefault(f"{kind} [{parameter.dim()}d]", []).append(parameter.detach().flatten())
        if id(parameter) not in decays:
            frozen.append(name)
        elif decays[id(parameter)] == 0:
            exempt.add(kind)
    rates = [getattr(m, "drop_prob", 0) for m in model.modules() if "DropPath" in str(type(m))]
    norms = [
        m for m in model.modules() if isinstance(m, (nn.LayerNorm, nn.modules.batchnorm._NormBase))
    ]
    names = [f"{type(norm).__name__} eps={norm.eps:g}" for norm in norms]
    dropout = [m.p for m in model.modules() if isinstance(m, nn.Dropout) and m.p > 0]
    statistics = {}
    for kind, tensors in kinds.items():
        values = torch.cat(tensors).double()
        std, mean = torch.std_mean(values, correction=0)
        statistics[kind] = [
            len(tensors),
            len(values),
            mean.item(),
            std.item(),
            values.abs().max().item(),
        ]
    return dict(
        decay=decay,
        seeds=1,
        init=statistics,
        exempt=sorted(exempt),
        frozen=frozen,
        norms={name: names.count(name) for name in sorted(set(names))},
        dropout={str(p): dropout.count(p) for p in sorted(set(dropout))},
        drop_path=sorted({round(float(rate), 6) for rate in rates if rate}),
    )


def _main(arguments: list[str]) -> Iterator[str]:
    if arguments[:1] == ["--build"]:
        import torch

        torch.manual_seed(0)
        yield json.dumps(_describe(*_build(*arguments[1:])))
    elif len(arguments) == 1:
        clones = Path(arguments[0])
        rows = {config: measure(clones, repository, name) for repository, config, name in ROWS}
        yield json.dumps(rows, indent=1)
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    for line in _main(sys.argv[1:]):
        print(line)
