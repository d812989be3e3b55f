"""Draw what a trained model looks at, on images."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from smallvit.cli.arguments import (
    add_overwrite_flag,
    checkpoint_parser,
    positive,
    read_as_asked,
    require_free,
)
from smallvit.errors import DataError, ImageError, UserError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from smallvit.analysis.pictures import Tile
    from smallvit.apis import Predictor

EPILOG = """
gradcam   places that raise the score of a class (--label; default: the predicted one), of any
          classifier or segmentor whose blocks plugins can see (smallvit hosts)
rollout   patches that the class token draws from, through all layers of a ViT
heads     patches that each head token of a DHVT draws from in the last layer
kernels   kernels that a dynamic or inhomogeneous DWNet predicts for the image, layer by layer
Exit status 1: an image could not be read; the others are there.
"""
METHODS = ("gradcam", "rollout", "heads", "kernels")
#: Kernels of a layer that are drawn, and their enlargement.
KERNELS, PIXELS = 64, 6


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments of ``smallvit cam``.

    Args:
        argv (Sequence[str], optional): Arguments. Defaults to None, which takes those of the
            command line.

    Returns:
        argparse.Namespace: Them.
    """
    parser = checkpoint_parser(__doc__, EPILOG)
    parser.add_argument("images", nargs="+", help="image files")
    parser.add_argument("--method", choices=METHODS, default="gradcam", help="default: gradcam")
    parser.add_argument("--out", metavar="FILE", default="cam.png", help="default: cam.png")
    parser.add_argument("--label", help="class of gradcam, by name or number")
    parser.add_argument(
        "--block",
        type=int,
        default=-1,
        help="block whose input gradcam reads, negative from the end; default: -1",
    )
    parser.add_argument("--columns", type=positive, default=4, help="pictures in a row; default: 4")
    parser.add_argument("--size", type=positive, default=256, help="shorter side; default: 256")
    add_overwrite_flag(parser)
    args = parser.parse_args(argv)
    if args.method != "gradcam" and (args.label is not None or args.block != -1):
        parser.error(f"--label and --block are of gradcam, not of {args.method}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``smallvit cam``.

    Args:
        argv (Sequence[str], optional): Arguments. Defaults to None, which takes those of the
            command line.

    Returns:
        int: 1 if an image could not be read, else 0.
    """
    args = parse_args(argv)
    require_free(args.out, args.overwrite, sources=[args.checkpoint, *args.images])

    from smallvit.analysis.pictures import save_sheet
    from smallvit.apis import Predictor

    read_as_asked(args)
    predictor = Predictor(args.checkpoint, args.config, device="cpu")
    label = None if args.label is None else label_of(args.label, predictor.classes)
    tiles, broken = [], []
    for path in args.images:
        try:
            image = predictor.read(path)
        except (DataError, ImageError, UserError) as error:
            broken.append(f"not read: {error}")
            continue
        tiles += draw(predictor, path, image, label, args)
    if not tiles:
        raise UserError("\n".join(["no image could be read", *broken]))
    save_sheet(tiles, args.out, columns=min(args.columns, len(tiles)))
    print(f"{args.out}: {len(args.images) - len(broken)} images, {args.method}")
    for line in broken:
        print(line, file=sys.stderr)
    return 1 if broken else 0


def label_of(text: str, classes: Sequence[str]) -> int:
    """Find a class by its name or number.

    Args:
        text (str): Name or number; names go first.
        classes (Sequence[str]): Names of the classes.

    Returns:
        int: Its number.

    Raises:
        UserError: If there is none.
    """
    if text in classes:
        return list(classes).index(text)
    if text.isdecimal() and int(text) < len(classes):
        return int(text)
    raise UserError(f"--label {text}: no class of that name; there are {', '.join(classes)}")


def draw(
    predictor: Predictor,
    path: str,
    image: np.ndarray,
    label: int | None,
    args: argparse.Namespace,
) -> list[Tile]:
    """Draw the maps of an image.

    Args:
        predictor (Predictor): The model.
        path (str): Where it was read.
        image (np.ndarray): It, (H, W, C) or (H, W), BGR.
        label (int, optional): The class of Grad-CAM.
        args (argparse.Namespace): ``method``, ``block`` and ``size``.

    Returns:
        list[Tile]: One, or several of head tokens and kernels.
    """
    from smallvit.analysis import attention_maps as maps
    from smallvit.analysis.drawing import as_rgb
    from smallvit.analysis.pictures import Tile

    inputs = preprocess_image(predictor, path, image)
    picture, name = as_rgb(predictor.steps.shown(image)), os.path.basename(path)
    backbone = predictor.model.backbone
    if args.method == "gradcam":
        heat, labels = maps.grad_cam(predictor.model, inputs, label, args.block)
        return [heat_tile(picture, heat[0], f"{name}\n{predictor.classes[labels[0]]}", args.size)]
    if args.method == "rollout":
        heat = maps.scaled(maps.rollout(backbone, inputs["inputs"]))
        return [heat_tile(picture, heat[0], name, args.size)]
    if args.method == "heads":
        heads = maps.scaled(maps.head_tokens(backbone, inputs["inputs"]))[0]
        return [
            heat_tile(picture, heat, f"{name}\nhead {number}", args.size)
            for number, heat in enumerate(heads)
        ]
    found = maps.predicted_kernels(backbone, inputs["inputs"])
    return [Tile(kernel_sheet(each[0]), f"{name}\n{layer}", set()) for layer, each in found.items()]


def preprocess_image(predictor: Predictor, path: str, image: np.ndarray) -> dict[str, Any]:
    """Make of an image what the model takes.

    Args:
        predictor (Predictor): The model and its pipeline.
        path (str): Where it was read.
        image (np.ndarray): It, (H, W, C) or (H, W), BGR.

    Returns:
        dict: ``inputs`` and ``data_samples``.
    """
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope(predictor.scope):
        sample = predictor.steps(image, path)
        batch = {key: [value] for key, value in sample.items()}
        return predictor.model.data_preprocessor(batch, False)


def heat_tile(picture: np.ndarray, heat: Tensor, caption: str, size: int) -> Tile:
    """Lay a map over an image.

    Args:
        picture (np.ndarray): RGB (H, W, 3).
        heat (Tensor): (h, w), from 0 to 1.
        caption (str): The line above it.
        size (int): Shorter side of the result.

    Returns:
        Tile: The image beside itself under the map.
    """
    import mmcv
    import numpy as np
    from matplotlib import colormaps

    from smallvit.analysis.annotations import Annotations
    from smallvit.analysis.drawing import enlarge
    from smallvit.analysis.pictures import Tile, side_by_side

    large, _ = enlarge(picture, Annotations(), size)
    spread = mmcv.imresize(heat.float().numpy(), large.shape[1::-1], interpolation="bilinear")
    colors = 255 * colormaps["viridis"](np.clip(spread, 0, 1))[..., :3]
    mixed = (0.45 * large + 0.55 * colors).astype(np.uint8)
    return Tile(side_by_side([large, mixed]), caption, set())


def kernel_sheet(kernels: Tensor) -> np.ndarray:
    """Draw kernels in a square, light for positive and dark for negative weights.

    Args:
        kernels (Tensor): (channels, k, k); the first 64 are drawn.

    Returns:
        np.ndarray: RGB.
    """
    import numpy as np
    from matplotlib import colormaps

    shown = kernels[:KERNELS].float()
    shown = shown / shown.abs().amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    side = int(np.ceil(np.sqrt(len(shown))))
    cells = np.pad(shown.numpy(), ((0, side**2 - len(shown)), (0, 1), (0, 1)))
    height, width = cells.shape[1:]
    sheet = cells.reshape(side, side, height, width).transpose(0, 2, 1, 3)
    sheet = sheet.reshape(side * height, side * width).repeat(PIXELS, 0).repeat(PIXELS, 1)
    return (255 * colormaps["RdBu_r"]((sheet + 1) / 2)[..., :3]).astype(np.uint8)
