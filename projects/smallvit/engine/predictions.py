"""File formats of test predictions: JSON for classes and instances, npz for label maps.

=============== ====== ===================================================================
task            file   content
=============== ====== ===================================================================
classification  .json  ``format``, ``version``, ``task``, ``classes`` and ``samples``: of each
                       image ``img_path`` (if it has one), ``gt_label``, ``pred_label`` and
                       ``pred_score``, in the order of the dataset
detection       .json  COCO's results: a list of ``image_id``, ``category_id``, ``bbox`` (x, y,
                       width, height), ``score`` and, with masks, ``segmentation`` (RLE), as
                       pycocotools' ``COCO.loadRes`` reads them
segmentation    .npz   ``header``, the JSON text of all but the maps, as bytes; ``map_0``,
                       ``map_1``, ...: a label of each pixel (H, W)
=============== ====== ===================================================================
"""

from __future__ import annotations

import json
import math
import os
import pickle
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from smallvit.errors import UserError
from smallvit.utils.files import whole_file

FORMAT, VERSION = "smallvit.predictions", 1
CLASSIFICATION, DETECTION, SEGMENTATION = "classification", "detection", "segmentation"
#: File extension for the predictions of each task.
SUFFIXES = {CLASSIFICATION: ".json", DETECTION: ".json", SEGMENTATION: ".npz"}
PICKLES = (".pkl", ".pickle")
_ZIP, _PICKLE = b"PK", b"\x80"
_MAP = "map_{}"


class LabelMaps(Sequence):
    """Predicted label maps in an npz file, read lazily.

    Args:
        path (str): Path of the npz file.
        samples (list[dict]): Fields of each image other than its map.
    """

    def __init__(self, path: str, samples: list[dict]) -> None:
        self.path, self.samples = path, samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < len(self.samples):  # IndexError ends iteration
            raise IndexError(f"{self.path} has {len(self.samples)} label maps, got index {index}")
        with _reading(self.path), np.load(self.path, allow_pickle=False) as arrays:
            labels = arrays[_MAP.format(index)]
            if labels.ndim != 2 or labels.dtype.kind not in "ui":
                raise ValueError(
                    f"expected a label map at {index}, got {labels.dtype} {labels.shape}"
                )
        return {**self.samples[index], "pred_sem_seg": {"data": labels[None]}}


def write_classes(path: str, samples: Sequence[dict], classes: Sequence[str] | None) -> None:
    """Write the predictions of a classifier.

    Args:
        path (str): A .json file.
        samples (Sequence[dict]): One dict of plain values per image.
        classes (Sequence[str], optional): Class names, if known.
    """
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        head = json.dumps(_header(CLASSIFICATION, classes))
        file.write(f'{head[:-1]}, "samples": [')
        _write_lines(file, samples)
        file.write("]}\n")


def write_instances(path: str, results: Sequence[dict]) -> None:
    """Write the predictions of a detector.

    Args:
        path (str): A .json file.
        results (Sequence[dict]): Results in COCO format.
    """
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write("[")
        _write_lines(file, results)
        file.write("]\n")


def write_label_maps(
    path: str, samples: Sequence[tuple[dict, np.ndarray]], classes: Sequence[str] | None
) -> None:
    """Write the predictions of a segmentor.

    Args:
        path (str): A .npz file.
        samples (Sequence[tuple[dict, np.ndarray]]): Plain values and label map of each image.
        classes (Sequence[str], optional): Class names, if known.
    """
    header = {**_header(SEGMENTATION, classes), "samples": [plain for plain, _ in samples]}
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        maps = {_MAP.format(number): labels for number, (_, labels) in enumerate(samples)}
        np.savez_compressed(file, header=text, **maps)


def _header(task: str, classes: Sequence[str] | None) -> dict[str, Any]:
    names = None if classes is None else [str(name) for name in classes]
    return {"format": FORMAT, "version": VERSION, "task": task, "classes": names}


def _write_lines(file: Any, samples: Sequence[dict]) -> None:
    for number, sample in enumerate(samples):
        file.write(("\n " if number == 0 else ",\n ") + json.dumps(sample, allow_nan=False))


def plain_scores(values: Any) -> list[float | None]:
    """Convert scores to JSON numbers; JSON has no NaN.

    Args:
        values (Any): An array or tensor (N, ) of float32.

    Returns:
        list[float | None]: Numbers with the digits that distinguish float32 values; None for
        those that are not finite.
    """
    found = np.asarray(values, dtype=np.float64).ravel().tolist()
    return [float(f"{value:.9g}") if math.isfinite(value) else None for value in found]


def read_predictions(path: str | os.PathLike, trusted: bool = False) -> Sequence[dict]:
    """Read the predictions that ``test.py --out FILE`` wrote.

    Args:
        path (str | os.PathLike): File of predictions.
        trusted (bool): Also read pickles, which can run code. Defaults to False.

    Returns:
        Sequence[dict]: One dict per image; for a detector one dict per instance, in COCO format.

    Raises:
        UserError: If the file is missing, a pickle that is not trusted, or holds no predictions.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise UserError(f"no predictions at {path}. Write them with test.py ... --out {path}")
    with open(path, "rb") as file:
        start = file.read(2)
    if start[:1] == _PICKLE or path.endswith(PICKLES):
        return _read_pickle(path, trusted)
    with _reading(path):
        return _read_npz(path) if start == _ZIP else _read_json(path)


class _reading:  # noqa: N801 used like a function, as a context manager
    """Convert exceptions from damaged files to an error that names the file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, _: Any) -> None:
        wrong = (ValueError, KeyError, TypeError, RecursionError, OSError, EOFError, MemoryError)
        if isinstance(error, (*wrong, zipfile.BadZipFile)):
            reason = f"no {error}" if isinstance(error, KeyError) else error
            raise UserError(
                f"{self.path} does not contain predictions of a test, or is damaged ({reason}). "
                "Write them with test.py ... --out FILE"
            ) from error


def _read_pickle(path: str, trusted: bool) -> list[dict]:
    if not trusted:
        raise UserError(
            f"{path} is a pickle, which can run arbitrary code. Read it with --trust-predictions, "
            "or write predictions as data with test.py ... --out FILE.json (.npz for label maps)"
        )
    with open(path, "rb") as file:
        try:
            found = pickle.load(file)
        except (pickle.UnpicklingError, EOFError, AttributeError, ImportError) as error:
            raise UserError(
                f"{path} is not a pickle of predictions, or damaged: {error}"
            ) from error
    if not isinstance(found, list) or not found or not isinstance(found[0], dict):
        raise UserError(f"{path} does not contain predictions of a test (--out without --out-item)")
    return found


def _read_json(path: str) -> list[dict]:
    with open(path, encoding="utf-8") as file:
        found = json.load(file)
    if isinstance(found, list):
        for number, result in enumerate(found):
            _check_instance(result, number)
        return found
    samples = _samples_of(found, CLASSIFICATION)
    for number, sample in enumerate(samples):
        _check_class(sample, number)
    return samples


def _read_npz(path: str) -> LabelMaps:
    with np.load(path, allow_pickle=False) as arrays:
        header = json.loads(arrays["header"].tobytes())
        samples = _samples_of(header, SEGMENTATION)
        missing = {_MAP.format(number) for number in range(len(samples))} - set(arrays.files)
    if missing:
        raise ValueError(f"no {sorted(missing)[0]}")
    return LabelMaps(path, samples)


def _samples_of(found: Any, task: str) -> list[dict]:
    if not isinstance(found, Mapping) or found.get("format") != FORMAT:
        raise ValueError(f"expected the format {FORMAT!r}")
    if found.get("version") != VERSION:
        raise ValueError(f"expected version {VERSION}, got {found.get('version')!r}")
    samples = found.get("samples")
    if found.get("task") != task or not isinstance(samples, list) or not samples:
        raise ValueError(f"no samples of the task {task}")
    if not all(isinstance(sample, dict) for sample in samples):
        raise ValueError("a sample is not a dict")
    return samples


def _check_class(sample: dict, number: int) -> None:
    for key in ("pred_label", "gt_label"):
        labels = labels_of(sample[key] if key == "pred_label" else sample.get(key, []))
        if not all(map(_is_label, labels)):
            raise ValueError(f"invalid {key} in sample {number}: {repr(sample[key])[:40]}")
    scores = sample["pred_score"]
    if not isinstance(scores, list) or not scores or not all(map(_is_score, scores)):
        raise ValueError(f"pred_score of sample {number} is not a list of numbers")


def _check_instance(result: Any, number: int) -> None:
    if not isinstance(result, dict):
        raise ValueError(f"result {number} is not a dict")
    box, score = result["bbox"], result["score"]
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_score, [*box, score])):
        raise ValueError(f"bbox or score of result {number} is not numeric")
    if not _is_label(result["category_id"]) or not isinstance(result["image_id"], (int, str)):
        raise ValueError(f"category_id or image_id of result {number} is not a valid id")
    mask = result.get("segmentation")
    if mask is not None and not _is_rle(mask):
        raise ValueError(f"segmentation of result {number} is not RLE")


def _is_rle(mask: Any) -> bool:
    if not isinstance(mask, dict) or not isinstance(mask.get("counts"), str):
        return False
    size = mask.get("size")
    return isinstance(size, list) and len(size) == 2 and all(map(_is_label, size))


def labels_of(value: Any) -> list:
    """Labels of an image, which may have one or several.

    Args:
        value (Any): A number, or a list or tensor of numbers.

    Returns:
        list: Labels as numbers.
    """
    value = value.tolist() if hasattr(value, "tolist") else value
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _is_label(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _is_score(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def detections_by_image(dataset: Any, results: Sequence[dict], path: str) -> list[dict]:
    """Group COCO results by the images of a dataset.

    Args:
        dataset (Dataset): The test dataset.
        results (Sequence[dict]): Results in COCO format.
        path (str): File of the results, for errors.

    Returns:
        list[dict]: ``img_path`` and ``pred_instances`` of each image, as in MMDetection.

    Raises:
        UserError: If a result refers to an image or category that the dataset does not have.
    """
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    found: dict[Any, list[dict]] = {info["img_id"]: [] for info in infos}
    labels = {category: label for label, category in enumerate(category_ids(dataset))}
    for result in results:
        for key, known in (("image_id", found), ("category_id", labels)):
            if result[key] not in known:
                raise UserError(
                    f"{path} has a result for {key} {result[key]!r}, which is not in the dataset "
                    "of test_dataloader. Use predictions for the same dataset"
                )
        found[result["image_id"]].append(result)
    return [
        {"img_path": info["img_path"], "pred_instances": _instances(found[info["img_id"]], labels)}
        for info in infos
    ]


def _instances(results: list[dict], labels: dict[int, int]) -> dict[str, Any]:
    boxes = np.array([result["bbox"] for result in results], dtype=np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    masks = [result.get("segmentation") for result in results]
    return {
        "bboxes": boxes,
        "scores": np.array([result["score"] for result in results], dtype=np.float32),
        "labels": np.array([labels[result["category_id"]] for result in results], dtype=np.int64),
        "masks": masks if masks and None not in masks else None,
    }


def category_ids(dataset: Any) -> list[int]:
    """Category ids of a dataset, in the order of its labels.

    Args:
        dataset (Dataset): A dataset; wrappers are unwrapped.

    Returns:
        list[int]: COCO category ids if there are any, otherwise each label plus 1.
    """
    for part in _inner(dataset):
        if getattr(part, "cat_ids", None):
            return [int(number) for number in part.cat_ids]
    classes = dataset.metainfo.get("classes") or ()
    return list(range(1, len(classes) + 1))


def _inner(dataset: Any) -> Iterator[Any]:
    while dataset is not None:
        yield dataset
        several = getattr(dataset, "datasets", None) or [None]
        dataset = getattr(dataset, "dataset", None) or several[0]
