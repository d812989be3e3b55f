"""Models of the official code, built from clones of its repositories.

The folder contains the clones under their own names: DHVT (ArieSeirack), tiny-transformers (lkhl),
Efficient_ViT_with_DW (ZTX-100), Dynamic-Vision-Transformer (blackfeather-wang) and
DemystifyLocalViT (Atten4Vis). Their code is imported and executed. Imports from timm versions that
are no longer available are substituted; the clones are not modified.
"""

import importlib
import io
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from unittest import mock

import torch
from mmengine.model import revert_sync_batchnorm
from torch import nn

from smallvit.errors import UserError

#: Clone, module, callable and its arguments, by model name.
MODELS = {
    "DHVT-T/4": ("DHVT", "vision_transformer", "dhvt_tiny_cifar_patch4", dict(num_classes=100)),
    "DHVT-S/4": ("DHVT", "vision_transformer", "dhvt_small_cifar_patch4", dict(num_classes=100)),
    "ViT-T, DW shortcut": (
        "Efficient_ViT_with_DW",
        "models.vit",
        "ViT",
        dict(
            image_size=224,
            patch_size=16,
            num_classes=100,
            dim=192,
            depth=12,
            heads=3,
            mlp_dim=768,
            dim_head=64,
        ),
    ),
    "CaiT-XXS12, DW shortcut": (
        "Efficient_ViT_with_DW",
        "models.cait",
        "CaiT",
        dict(
            image_size=224,
            patch_size=16,
            num_classes=100,
            dim=192,
            depth=12,
            cls_depth=2,
            heads=4,
            mlp_dim=768,
            dim_head=48,
        ),
    ),
    "Swin-T, DW shortcut": (
        "Efficient_ViT_with_DW",
        "models.swin_transformer",
        "SwinTransformer",
        dict(img_size=224, num_classes=100, drop_path_rate=0.2),
    ),
    "DVT-T2T-12, all exits": (
        "Dynamic-Vision-Transformer",
        "models",
        "DVT_T2t_vit_12",
        dict(num_classes=100),
    ),
    "DWNet-T": (
        "DemystifyLocalViT",
        "models.dwnet",
        "DWNet",
        dict(
            img_size=224,
            embed_dim=96,
            depths=[2, 2, 6, 2],
            window_size=7,
            drop_path_rate=0.2,
            num_classes=1000,
            inhomo_heads=[3, 6, 12, 24],
        ),
    ),
}
#: Config files of tiny-transformers, relative to its folder ``configs``.
TINY_TRANSFORMERS = {
    "DeiT-Ti": "deit/deit-ti_c100_base.yaml",
    "T2T-ViT-7": "t2t/t2t-7_c100_base.yaml",
    "PiT-Ti": "pit/pit-ti_c100_base.yaml",
    "PVT-Ti": "pvt/pvt-ti_c100_base.yaml",
    "PVTv2-B0": "pvtv2/pvtv2-b0_c100_base.yaml",
    "ConViT-Ti": "convit/convit-ti_c100_base.yaml",
    "CvT-13": "cvt/cvt-13_c100_base.yaml",
}


def build_official(name: str, folder: str) -> nn.Module | None:
    """Build a model of the official code.

    Args:
        name (str): Name in the table.
        folder (str): Folder of the clones.

    Returns:
        nn.Module | None: The model; None if no clone in the folder provides it.

    Raises:
        UserError: If the folder contains none of the clones, or their code fails.
    """
    clones = {clone for clone, *_ in MODELS.values()} | {"tiny-transformers"}
    if not any((Path(folder) / clone).is_dir() for clone in clones):
        raise UserError(
            f"--official {folder}: contains none of the clones {', '.join(sorted(clones))}; clone "
            "them there under these names"
        )
    try:
        with redirect_stdout(io.StringIO()):  # some models print themselves
            model = _build(name, Path(folder))
        return None if model is None else revert_sync_batchnorm(model)
    except ModuleNotFoundError as error:
        raise UserError(
            f"--official: the code of {name} needs {error.name}: pip install {error.name}"
        ) from error
    except (ImportError, AttributeError, TypeError, KeyError, OSError) as error:
        raise UserError(f"--official: {name} cannot be built: {error!r}") from error


def keep_on_cpu(model: nn.Module) -> None:
    """Make a model that moves tensors to a GPU in its forward pass run on a CPU.

    Args:
        model (nn.Module): Model; during its forward pass, ``Tensor.cuda`` is a no-op.
    """
    forward = model.forward

    def call(*args: object, **kwargs: object) -> object:
        with mock.patch.object(torch.Tensor, "cuda", lambda tensor, *_, **__: tensor):
            return forward(*args, **kwargs)

    model.forward = call


def _build(name: str, folder: Path) -> nn.Module | None:
    if name in TINY_TRANSFORMERS:
        return _tiny_transformer(folder / "tiny-transformers", TINY_TRANSFORMERS[name])
    if name in MODELS:
        clone, module, kind, options = MODELS[name]
        return _model(folder / clone, module, kind, options)
    return None


def _model(clone: Path, module: str, kind: str, options: dict) -> nn.Module | None:
    if not clone.is_dir():
        return None
    with importable(clone):
        return getattr(importlib.import_module(module), kind)(**options)


def _tiny_transformer(clone: Path, config: str) -> nn.Module | None:
    if not clone.is_dir():
        return None
    with importable(clone):
        cfg = importlib.import_module("pycls.core.config").cfg
        importlib.import_module("pycls.models")
        cfg.merge_from_file(str(clone / "configs" / config))
        registry = importlib.import_module("pycls.models.build").MODEL
        return registry.get(cfg.MODEL.TYPE)()


@contextmanager
def importable(clone: Path) -> Iterator[None]:
    """Context manager that makes the modules of a clone importable and unloads them at exit.

    Args:
        clone (Path): Folder of the clone.

    Yields:
        None: Nothing.
    """
    before = dict(sys.modules)
    stand_ins = _old_modules()
    sys.modules.update(stand_ins)
    names = {path.stem for path in clone.iterdir() if path.is_dir() or path.suffix == ".py"}
    for name in list(sys.modules):
        if name.partition(".")[0] in names:
            del sys.modules[name]
    sys.path.insert(0, str(clone))
    try:
        yield
    finally:
        sys.path.remove(str(clone))
        for name in [name for name in sys.modules if name.partition(".")[0] in names]:
            del sys.modules[name]
        for name in stand_ins:
            sys.modules.pop(name, None)
        sys.modules.update(before)


def _old_modules() -> dict[str, types.ModuleType]:
    """Create modules of early timm and torch versions, and stubs for unused imports."""
    import collections.abc

    import timm.layers
    from timm.models._manipulate import named_apply

    dropped = {"default_cfg", "representation_size"}

    def build(kind: type, variant: str, pretrained: bool, **options: object) -> nn.Module:
        return kind(
            **{
                key: value
                for key, value in options.items()
                if key not in dropped and not key.startswith("pretrained")
            }
        )

    def nothing(*args: object, **kwargs: object) -> None:
        return None

    def as_it_is(function):
        return function

    helpers = types.ModuleType("timm.models.helpers")
    helpers.load_pretrained = helpers.adapt_input_conv = nothing
    helpers.build_model_with_cfg, helpers.named_apply = build, named_apply
    registry = types.ModuleType("timm.models.registry")
    registry.register_model = as_it_is
    cupy = types.ModuleType("cupy")
    cupy._util = types.SimpleNamespace(memoize=lambda **kwargs: as_it_is)
    cupy.cuda = types.SimpleNamespace()
    six = types.ModuleType("torch._six")
    six.container_abcs, six.string_classes, six.inf = collections.abc, str, float("inf")
    submitit = types.ModuleType("submitit")
    submitit.helpers = types.SimpleNamespace(Checkpointable=object)
    torchprofile = types.ModuleType("torchprofile")
    torchprofile.profile_macs = nothing
    made = {
        "torch._six": six,
        "torchprofile": torchprofile,
        "submitit": submitit,
        "timm.models.helpers": helpers,
        "timm.models.registry": registry,
        "timm.models.layers": timm.layers,
        "cupy": cupy,
    }
    return {name: module for name, module in made.items() if name not in sys.modules}
