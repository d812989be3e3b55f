"""Synthetic scenes of real handwritten digits, for detection and segmentation."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from mmengine.utils import track_iter_progress

from smallvit.datasets.digits import CLASSES, digit_indices, load_digit_images
from smallvit.errors import UserError
from smallvit.utils.json_files import read_object, require_count

SETTINGS_FILE = "digit_scenes.json"

# Folder, annotation file and source split of the digits. The splits
# have no digits in common.
_SPLITS = {"train": ("training", "trainval"), "val": ("validation", "test")}
_INK_THRESHOLD = 0.5
_MIN_VISIBLE = 0.85
_MIN_CONTRAST = 0.25
_PLACEMENT_TRIALS = 20


@dataclass(frozen=True)
class SceneSettings:
    """Settings of the scenes. Equal settings produce bitwise identical files.

    Args:
        num_train (int): Number of training scenes. Defaults to 1200.
        num_val (int): Number of validation scenes. Defaults to 120.
        size (int): Height and width of a scene. Defaults to 96.
        digits_per_scene (tuple[int, int]): Minimum and maximum number of digits in a scene. A
            scene may have fewer digits if there is not enough space. Defaults to ``(2, 5)``.
        digit_size (tuple[int, int]): Minimum and maximum height of a digit cell, in pixels.
            Defaults to ``(20, 44)``.
        seed (int): Random seed. Defaults to 0.

    Raises:
        UserError: If a setting is out of range.
    """

    num_train: int = 1200
    num_val: int = 120
    size: int = 96
    digits_per_scene: tuple[int, int] = (2, 5)
    digit_size: tuple[int, int] = (20, 44)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_train", "num_val"):
            if getattr(self, name) < 1:
                raise UserError(f"expected {name} >= 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise UserError(f"expected seed >= 0, got {self.seed}")
        fewest, most = self.digits_per_scene
        if not 1 <= fewest <= most:
            raise UserError(
                f"expected digits_per_scene with 1 <= min <= max, got {self.digits_per_scene}"
            )
        smallest, largest = self.digit_size
        if not 8 <= smallest <= largest <= self.size:
            raise UserError(
                f"expected digit_size with 8 <= min <= max <= size={self.size}, got "
                f"{self.digit_size}"
            )


@dataclass(frozen=True)
class Scene:
    """Rendered scene of handwritten digits.

    Args:
        image (np.ndarray): RGB image, uint8, of shape (H, W, 3).
        masks (np.ndarray): Masks of the visible ink of each digit, bool, of shape (N, H, W).
            Masks do not overlap.
        labels (np.ndarray): Class of each digit, of shape (N, ).
        sources (np.ndarray): Index of each digit in ``sklearn.datasets.load_digits``.
    """

    image: np.ndarray
    masks: np.ndarray
    labels: np.ndarray
    sources: np.ndarray

    @property
    def label_map(self) -> np.ndarray:
        """Create the label map, uint8, of shape (H, W): 0 for background, d + 1 for digit d."""
        return (self.masks * (self.labels + 1)[:, None, None]).sum(0).astype(np.uint8)


def iter_scenes(settings: SceneSettings, split: str) -> Iterator[Scene]:
    """Render the scenes of a split.

    Digits vary in size, color and position. They may partially overlap: later digits occlude
    earlier ones, but at least 85% of the ink of each digit remains visible. Training scenes use
    the ``trainval`` split of :class:`smallvit.datasets.Digits`, validation scenes the ``test``
    split.

    Args:
        settings (SceneSettings): Number, size and seed of the scenes.
        split (str): ``train`` or ``val``.

    Yields:
        Scene: Rendered scene.
    """
    images, labels = load_digit_images()
    pool = digit_indices(labels, _SPLITS[split][1])
    count = settings.num_train if split == "train" else settings.num_val
    for number in range(count):
        # One random stream per scene, so that the number of scenes does not affect earlier ones.
        rng = np.random.RandomState([settings.seed, list(_SPLITS).index(split), number])
        yield _draw_scene(rng, images, labels, pool, settings)


def _draw_scene(rng, images, labels, pool, settings: SceneSettings) -> Scene:
    canvas = _draw_background(rng, settings.size)
    fewest, most = settings.digits_per_scene
    wanted = rng.randint(fewest, most + 1)
    masks, full_areas, sources = [], [], []
    for source in rng.choice(pool, wanted, replace=wanted > len(pool)):
        placed = _place(rng, images[source], masks, full_areas, settings)
        if placed is None:
            continue
        ink, mask = placed
        canvas = _paint(rng, canvas, ink)
        masks = [*(earlier & ~mask for earlier in masks), mask]
        full_areas.append(mask.sum())
        sources.append(source)
    sources = np.array(sources)
    image = np.rint(canvas * 255).astype(np.uint8)
    return Scene(image, np.stack(masks), labels[sources], sources)


def _draw_background(rng, size: int) -> np.ndarray:
    """Draw noisy, unevenly lit colored paper, in [0, 1], of shape (size, size, 3)."""
    coarse = rng.uniform(0.45, 0.85, 3) + rng.uniform(-0.15, 0.15, (4, 4, 3))
    smooth = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, 0.03, (size, size, 1)), 0, 1)


def _place(rng, image, masks, full_areas, settings: SceneSettings):
    """Find a position that leaves earlier digits sufficiently visible, or None if impossible."""
    for _ in range(_PLACEMENT_TRIALS):
        ink = _stretch(rng, image, settings)
        mask = ink > _INK_THRESHOLD
        visible = (
            (earlier & ~mask).sum() >= _MIN_VISIBLE * area
            for earlier, area in zip(masks, full_areas, strict=True)
        )
        if all(visible):
            return ink, mask
    return None


def _stretch(rng, image, settings: SceneSettings) -> np.ndarray:
    """Resize and place an 8x8 digit. Returns ink in [0, 1], of shape (size, size)."""
    height = rng.randint(settings.digit_size[0], settings.digit_size[1] + 1)
    width = min(round(height * rng.uniform(0.8, 1.1)), settings.size)
    ink = cv2.resize(image / 255, (width, height), interpolation=cv2.INTER_CUBIC)
    top, left = (rng.randint(0, settings.size - length + 1) for length in (height, width))
    canvas = np.zeros((settings.size, settings.size))
    canvas[top : top + height, left : left + width] = np.clip(ink, 0, 1)
    return canvas


def _paint(rng, canvas, ink) -> np.ndarray:
    """Draw a digit on the canvas, with ink darker than the surrounding paper."""
    color = rng.uniform(0, 1, 3)
    lightest = np.median(canvas.mean(-1)) - _MIN_CONTRAST
    color *= rng.uniform(0.2, 1) * lightest / color.mean()
    # Soft edge around the contour of the mask, so that ink fills the mask.
    alpha = np.clip((ink - _INK_THRESHOLD) * 3 + 0.5, 0, 1)[..., None]
    return canvas * (1 - alpha) + color.clip(0, 1) * alpha


def write_digit_scenes(
    out: str | Path, settings: SceneSettings | None = None, overwrite: bool = False
) -> None:
    """Write digit scenes with annotations in COCO and ADE20K format.

    The output folder is created atomically, so an interrupted call leaves no partial output. It
    contains::

        images/{training,validation}/000001.png ...
        annotations/{training,validation}/000001.png ...   label maps
        annotations/instances_{train,val}.json             boxes and masks
        digit_scenes.json                                  the settings

    In label maps, 0 is background, as in ADE20K, and d + 1 is digit d. The same values are used as
    COCO category ids.

    Args:
        out (str | Path): Output folder.
        settings (SceneSettings, optional): Number, size and seed of the scenes. Defaults to None,
            which uses ``SceneSettings()``.
        overwrite (bool): Whether to replace existing digit scenes. Defaults to False.

    Raises:
        UserError: If ``out`` exists and cannot be replaced. A folder with files other than digit
            scenes is never replaced, and files added to it during the call are kept.
    """
    out = Path(out).absolute()
    settings = settings or SceneSettings()
    _check_destination(out, overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        fresh = staging / "fresh"
        for split in _SPLITS:
            _write_split(fresh, settings, split)
        _write_json(fresh / SETTINGS_FILE, asdict(settings))
        _take_place(fresh, out)
    finally:
        shutil.rmtree(staging)


def _take_place(fresh: Path, out: Path) -> None:
    """Move new scenes to the final path, and then remove the old scenes."""
    if not out.exists():
        fresh.rename(out)
        return
    number, old = 1, out.with_name(f"{out.name}.replaced")
    while os.path.lexists(old):
        number, old = number + 1, out.with_name(f"{out.name}.replaced_{number + 1}")
    out.rename(old)
    try:
        fresh.rename(out)
    except OSError:
        old.rename(out)
        raise
    for path in _files_of(old):
        (old / path).unlink(missing_ok=True)
    for folder, _, _ in os.walk(old, topdown=False):
        with suppress(OSError):  # contains other files
            os.rmdir(folder)
    if old.exists():
        print(f"{old} is kept because it contains files other than digit scenes")


def _files_of(folder: Path) -> list[str]:
    """List the files of digit scenes according to their saved settings."""
    try:
        found = read_object(folder / SETTINGS_FILE)
        counts = {
            split: require_count(found[f"num_{split}"], f"num_{split}", 1, 10**8)
            for split in _SPLITS
        }
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{folder / SETTINGS_FILE}, which lists the digit scenes, is damaged ({error}). Choose "
            "another folder"
        ) from error
    pictures = [
        f"{kind}/{_SPLITS[split][0]}/{number:06d}.png"
        for kind in ("images", "annotations")
        for split, count in counts.items()
        for number in range(1, count + 1)
    ]
    return [*pictures, *(f"annotations/instances_{split}.json" for split in counts), SETTINGS_FILE]


def _check_destination(out: Path, overwrite: bool) -> None:
    if out.is_symlink():
        raise UserError(f"{out} is a symbolic link to {out.resolve()}. Pass the folder itself")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / SETTINGS_FILE).is_file():
        raise UserError(f"{out} exists and contains no digit scenes. Choose another folder")
    if not overwrite:
        raise UserError(
            f"{out} already contains digit scenes. Pass overwrite (--overwrite) to replace them"
        )
    known = set(_files_of(out))
    for path in out.rglob("*"):
        name = path.relative_to(out).as_posix()
        if name not in known and (path.is_symlink() or not path.is_dir()):
            raise UserError(
                f"{out} contains {name} in addition to digit scenes and is not replaced. Move that "
                "file, or choose another folder"
            )


def _write_split(root: Path, settings: SceneSettings, split: str) -> None:
    folder = _SPLITS[split][0]
    for kind in ("images", "annotations"):
        (root / kind / folder).mkdir(parents=True)
    images, annotations = [], []
    count = settings.num_train if split == "train" else settings.num_val
    scenes = track_iter_progress((iter_scenes(settings, split), count), file=sys.stderr)
    for image_id, scene in enumerate(scenes, 1):
        name = f"{image_id:06d}.png"
        _write_png(root / "images" / folder / name, scene.image[..., ::-1])
        _write_png(root / "annotations" / folder / name, scene.label_map)
        images.append(
            {"id": image_id, "file_name": name, "height": settings.size, "width": settings.size}
        )
        for instance in _instances(scene):
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **instance})
    coco = {
        "info": {"description": "Scenes of scikit-learn's handwritten digits", "split": split},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": index + 1, "name": name} for index, name in enumerate(CLASSES)],
    }
    _write_json(root / "annotations" / f"instances_{split}.json", coco)


def _instances(scene: Scene) -> Iterator[dict]:
    """Yield the COCO annotation of each digit. Category ids match label map values."""
    # Imported lazily because pycocotools is only required with MMDetection.
    from pycocotools import mask as coco_mask

    for mask, label, source in zip(scene.masks, scene.labels, scene.sources, strict=True):
        rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
        yield {
            "category_id": int(label) + 1,
            "bbox": coco_mask.toBbox(rle).tolist(),
            "area": int(mask.sum()),
            "iscrowd": 0,
            "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
            "digit": int(source),
        }


def _write_png(path: Path, image: np.ndarray) -> None:
    if not cv2.imwrite(str(path), image):
        raise OSError(f"cannot write {path}")


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
