"""Visualize the attention of a trained model: Grad-CAM, rollout, head tokens, kernels."""

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
gradcam   regions that increase the score of a class (--label; default: the predicted class), for
          any classifier or segmentor with a supported backbone (smallvit hosts)
rollout   attention of the class token to the patches through all layers of a ViT
heads     attention of each DHVT head token to the patches in the last layer
kernels   kernels that a dynamic or inhomogeneous DWNet predicts for the image, for each layer
Exit status 1: some images could not be read; the others were processed.
"""
METHODS = ("gradcam", "rollout", "heads", "kernels")
#: Number of kernels drawn per layer, and their magnification.
KERNELS, PIXELS = 64, 6


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments of ``smallvit cam``.

    Args:
        argv (Sequence[str], optional): Command-line arguments. Defaults to None, which means
            ``sys.argv``.

    Returns:
        argparse.Namespace: Parsed arguments.
    """
    parser = checkpoint_parser(__doc__, EPILOG)
    parser.add_argument("images", nargs="+", help="image files")
    parser.add_argument("--method", choices=METHODS, default="gradcam", help="default: gradcam")
    parser.add_argument("--out", metavar="FILE", default="cam.png", help="default: cam.png")
    parser.add_argument("--label", help="class for gradcam, by name or index")
    parser.add_argument(
        "--block",
        type=int,
        default=-1,
        help="block whose input gradcam uses; negative counts from the end; default: -1",
    )
    parser.add_argument("--columns", type=positive, default=4, help="images per row; default: 4")
    parser.add_argument(
        "--size", type=positive, default=256, help="shorter side in pixels; default: 256"
    )
    add_overwrite_flag(parser)
    args = parser.parse_args(argv)
    if args.method != "gradcam" and (args.label is not None or args.block != -1):
        parser.error(f"--label and --block require --method gradcam, not {args.method}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``smallvit cam``.

    Args:
        argv (Sequence[str], optional): Command-line arguments. Defaults to None, which means
            ``sys.argv``.

    Returns:
        int: Exit status, 1 if any image could not be read, otherwise 0.
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
    """Find a class by name or index.

    Args:
        text (str): Class name or index; names take precedence.
        classes (Sequence[str]): Class names.

    Returns:
        int: Class index.

    Raises:
        UserError: If there is no such class.
    """
    if text in classes:
        return list(classes).index(text)
    if text.isdecimal() and int(text) < len(classes):
        return int(text)
    raise UserError(f"--label {text}: no such class; available: {', '.join(classes)}")


def draw(
    predictor: Predictor,
    path: str,
    image: np.ndarray,
    label: int | None,
    args: argparse.Namespace,
) -> list[Tile]:
    """Draw the maps of one image.

    Args:
        predictor (Predictor): The model.
        path (str): Path of the image file.
        image (np.ndarray): Image of shape (H, W, C) or (H, W), BGR.
        label (int, optional): Class index for Grad-CAM.
        args (argparse.Namespace): ``method``, ``block`` and ``size``.

    Returns:
        list[Tile]: One tile, or one per head token or layer.
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
    """Preprocess an image into model inputs.

    Args:
        predictor (Predictor): Model with its test pipeline.
        path (str): Path of the image file.
        image (np.ndarray): Image of shape (H, W, C) or (H, W), BGR.

    Returns:
        dict: ``inputs`` and ``data_samples``.
    """
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope(predictor.scope):
        sample = predictor.steps(image, path)
        batch = {key: [value] for key, value in sample.items()}
        return predictor.model.data_preprocessor(batch, False)


def heat_tile(picture: np.ndarray, heat: Tensor, caption: str, size: int) -> Tile:
    """Overlay a heat map on an image.

    Args:
        picture (np.ndarray): RGB image of shape (H, W, 3).
        heat (Tensor): Heat map of shape (h, w), with values from 0 to 1.
        caption (str): Text above the image.
        size (int): Length of the shorter side of the result.

    Returns:
        Tile: The image and its overlay, side by side.
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
    """Draw convolution kernels in a square grid with a diverging color map.

    Args:
        kernels (Tensor): Kernels of shape (channels, k, k); the first 64 are drawn.

    Returns:
        np.ndarray: RGB image.
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
