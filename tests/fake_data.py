"""Small datasets of random pixels in the official layouts, below one folder ``data``."""

import hashlib
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

#: Number of images per split, and number of classes for datasets with class folders.
NUM_IMAGES = 4
DOMAINS = ("clipart", "infograph", "painting", "quickdraw", "real", "sketch")
CIFAR_TRAIN = [f"data_batch_{number}" for number in range(1, 6)]
FLOWERS = {"trnid": (1, 2), "valid": (3, 4), "tstid": (5, 6)}


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (64, 96)) -> None:
    """Write an image of random pixels with the given height and width, creating parent folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, size=(*size, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), pixels)


def write_coco(root: Path) -> None:
    """Write ``data/coco``: two boxes, two polygons."""
    boxes = [(8, 8, 40, 36), (30, 20, 50, 40)]
    annotations = [
        dict(
            id=index,
            image_id=index,
            category_id=1,
            bbox=[x, y, w, h],
            area=w * h,
            iscrowd=0,
            segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]],
        )
        for index, (x, y, w, h) in enumerate(boxes)
    ]
    images = [dict(id=i, file_name=f"{i}.jpg", height=64, width=96) for i in range(2)]
    content = dict(images=images, annotations=annotations, categories=[dict(id=1, name="person")])
    (root / "annotations").mkdir(parents=True)
    for split in ("train2017", "val2017"):
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
        for index in range(2):
            write_image(root / split / f"{index}.jpg", index)


def write_ade(root: Path) -> None:
    """Write ``data/ade/ADEChallengeData2016``: label maps with two classes and the ignored 0."""
    for split in ("training", "validation"):
        for index in range(2):
            write_image(root / "images" / split / f"{index}.jpg", index)
            labels = np.full((64, 96), 1 + index, dtype=np.uint8)
            labels[:, 48:] = 150
            labels[:4] = 0
            path = root / "annotations" / split / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), labels)


def write_imagenet(root: Path) -> None:
    """Write ``data/imagenet``, listed in ``meta``."""
    (root / "meta").mkdir(parents=True)
    for split in ("train", "val"):
        names = [f"n0144000{index % 2}/{index}.JPEG" for index in range(NUM_IMAGES)]
        for index, name in enumerate(names):
            write_image(root / split / name, index)
        lines = [f"{name} {index % 2}\n" for index, name in enumerate(names)]
        (root / "meta" / f"{split}.txt").write_text("".join(lines))


def write_tiny_imagenet(root: Path) -> None:
    """Write ``data/tiny-imagenet-200`` with two of its classes."""
    classes = ("n01443537", "n01629819")
    for name in classes:
        for index in range(2):
            write_image(root / "train" / name / "images" / f"{name}_{index}.JPEG", size=(64, 64))
    lines = []
    for index, name in enumerate(classes):
        write_image(root / "val" / "images" / f"val_{index}.JPEG", size=(64, 64))
        lines.append(f"val_{index}.JPEG\t{name}\t0\t0\t63\t63\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    (root / "wnids.txt").write_text("\n".join(reversed(classes)) + "\n")


def write_domainnet(root: Path) -> None:
    """Write ``data/domainnet`` with the official lists of the six domains."""
    for domain in DOMAINS:
        for split in ("train", "test"):
            lines = []
            for label, name in enumerate(("aircraft_carrier", "airplane")):
                for index in range(2):
                    path = f"{domain}/{name}/{domain}_{label:03}_{split}{index}.jpg"
                    write_image(root / path, index)
                    lines.append(f"{path} {label}\n")
            (root / f"{domain}_{split}.txt").write_text("".join(lines))


def write_chaoyang(root: Path) -> None:
    """Write ``data/chaoyang`` with its two lists."""
    for split in ("train", "test"):
        entries = [
            dict(name=f"{split}/{index}.JPG", label=index % 4) for index in range(NUM_IMAGES)
        ]
        for index, entry in enumerate(entries):
            write_image(root / entry["name"], index, size=(64, 64))
        (root / f"{split}.json").write_text(json.dumps(entries))


def write_inaturalist(root: Path, year: int) -> None:
    """Write ``data/inaturalist{year}`` with two species."""
    root.mkdir(parents=True)
    categories = [
        dict(id=number, name=f"species {number}", supercategory="Aves") for number in (0, 1)
    ]
    for split in ("train", "val"):
        images, annotations = [], []
        for index in range(NUM_IMAGES):
            name = f"train_val{year}/Aves/{index % 2}/{split}{index}.jpg"
            write_image(root / name, index)
            images.append(dict(id=index, file_name=name))
            annotations.append(dict(id=index, image_id=index, category_id=index % 2))
        content = dict(images=images, annotations=annotations, categories=categories)
        (root / f"{split}{year}.json").write_text(json.dumps(content))


def write_flowers(root: Path) -> None:
    """Write ``data/Flowers102`` with its two MATLAB files."""
    from scipy.io import savemat

    root.mkdir(parents=True)
    savemat(root / "imagelabels.mat", {"labels": np.array([[1.0, 2, 1, 2, 1, 2]])})
    savemat(root / "setid.mat", {key: np.array([value]) for key, value in FLOWERS.items()})
    for number in range(1, 7):
        write_image(root / "jpg" / f"image_{number:05}.jpg", number)


def write_class_folders(root: Path) -> None:
    """Write ``data/images``: class folders, grouped by split."""
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            for index in range(2):
                write_image(root / split / name / f"{index}.jpg", index)


def write_custom(root: Path) -> None:
    """Write ``data/custom``: a user's dataset, as COCO files and as label maps."""
    for split in ("train", "val"):
        polygon = [8, 8, 48, 8, 48, 44, 8, 44]
        one = dict(category_id=1, bbox=[8, 8, 40, 36], area=1440, iscrowd=0, segmentation=[polygon])
        images = [dict(id=i, file_name=f"{i}.jpg", height=64, width=96) for i in (1, 2)]
        annotations = [dict(one, id=i, image_id=i) for i in (1, 2)]
        categories = [dict(id=1, name="person")]
        content = dict(images=images, annotations=annotations, categories=categories)
        root.mkdir(parents=True, exist_ok=True)
        (root / f"{split}.json").write_text(json.dumps(content))
        for index in (1, 2):
            write_image(root / split / f"{index}.jpg", index)
            write_image(root / "images" / split / f"{index}.jpg", index)
            labels = np.zeros((64, 96), dtype=np.uint8)
            labels[:, 48:], labels[:4] = 1, 255
            path = root / "annotations" / split / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), labels)


def write_cifar(root: Path, folder: str, files: list[str], labels: str, meta: str) -> None:
    """Write the batches of ``data/cifar10`` or ``data/cifar100``.

    Args:
        root (Path): ``data_root`` of the dataset.
        folder (str): Folder inside the archive.
        files (list[str]): Batches of training and test images.
        labels (str): Key of the labels, ``"labels"`` or ``"fine_labels"``.
        meta (str): File with the class names.
    """
    (root / folder).mkdir(parents=True)
    for seed, name in enumerate(files):
        pixels = np.random.default_rng(seed).integers(0, 256, (NUM_IMAGES, 3072), dtype=np.uint8)
        content = {"data": pixels, labels: [index % 2 for index in range(NUM_IMAGES)]}
        (root / folder / name).write_bytes(pickle.dumps(content))
    key = "label_names" if labels == "labels" else "fine_label_names"
    (root / folder / meta).write_bytes(pickle.dumps({key: ["a", "b"]}))


def checksums(root: Path, cls: type) -> Iterator[tuple[str, object]]:
    """Yield attributes of an MMPretrain CIFAR class with the checksums of the existing files.

    Args:
        root (Path): ``data_root`` of the dataset.
        cls (type): ``CIFAR10`` or ``CIFAR100``.

    Yields:
        tuple[str, object]: Name and value of an attribute.
    """

    def of(name: str) -> str:
        return hashlib.md5((root / cls.base_folder / name).read_bytes()).hexdigest()

    for attribute in ("train_list", "test_list"):
        yield attribute, [[name, of(name)] for name, _ in getattr(cls, attribute)]
    yield "meta", dict(cls.meta, md5=of(cls.meta["filename"]))


#: Writer of each dataset of the configs, by its path below ``data``.
WRITERS: dict[str, Callable[[Path], None]] = {
    "coco": write_coco,
    "ade/ADEChallengeData2016": write_ade,
    "imagenet": write_imagenet,
    "tiny-imagenet-200": write_tiny_imagenet,
    "domainnet": write_domainnet,
    "chaoyang": write_chaoyang,
    "inaturalist2018": lambda root: write_inaturalist(root, 2018),
    "inaturalist2019": lambda root: write_inaturalist(root, 2019),
    "Flowers102": write_flowers,
    "images": write_class_folders,
    "custom": write_custom,
    "cifar10": lambda root: write_cifar(
        root, "cifar-10-batches-py", [*CIFAR_TRAIN, "test_batch"], "labels", "batches.meta"
    ),
    "cifar100": lambda root: write_cifar(
        root, "cifar-100-python", ["train", "test"], "fine_labels", "meta"
    ),
}
