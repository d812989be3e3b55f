"""Folder of predictions with a resumable journal and result tables."""

from __future__ import annotations

import csv
import io
import json
import os
import os.path as osp
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from smallvit.apis.structures import ClassPrediction, InstancePrediction, Prediction
from smallvit.engine.predictions import (
    CLASSIFICATION,
    DETECTION,
    plain_scores,
    write_classes,
    write_instances,
)
from smallvit.errors import UserError
from smallvit.utils.files import whole_file, write_whole
from smallvit.utils.json_files import read_object

JOURNAL, TABLE, RESULTS, IMAGES = (
    "journal.jsonl",
    "predictions.csv",
    "predictions.json",
    "images.json",
)
MASKS, DRAWN, SETTINGS = "masks", "drawn", "settings.json"


class PredictionFolder:
    """Incremental writer for the predictions of one model, with result tables.

    Args:
        path (str | os.PathLike): Path of the folder, created if it does not exist.
        settings (Mapping): Settings that affect predictions, as JSON values. A folder that was
            started with other settings is refused.

    Raises:
        UserError: If the folder holds other files, or predictions with other settings.
    """

    def __init__(self, path: str | os.PathLike, settings: Mapping[str, Any]) -> None:
        self.path, self.settings = os.fspath(path), dict(settings)
        self._records: dict[str, dict] = {}
        self._stems: set[str] = set()
        os.makedirs(self.path, exist_ok=True)
        if osp.isfile(self._at(SETTINGS)):
            self._go_on()
        elif os.listdir(self.path):
            raise UserError(f"{self.path} contains other files. Choose another folder")
        else:
            write_whole(self._at(SETTINGS), json.dumps(self.settings, indent=1))
        self._journal = open(self._at(JOURNAL), "a", encoding="utf-8")  # noqa: SIM115

    def __enter__(self) -> PredictionFolder:
        return self

    def __exit__(self, *_: Any) -> None:
        self._journal.close()

    def _at(self, *names: str) -> str:
        return osp.join(self.path, *names)

    def _go_on(self) -> None:
        try:
            before = read_object(self._at(SETTINGS))
        except ValueError as error:
            raise UserError(f"{self._at(SETTINGS)} is damaged: {error}") from error
        other = sorted(
            key
            for key in before.keys() | self.settings.keys()
            if before.get(key) != self.settings.get(key)
        )
        if other:
            raise UserError(
                f"{self.path} contains predictions with a different {', '.join(other)}. Choose "
                "another folder, or remove this one"
            )
        if not osp.isfile(self._at(JOURNAL)):
            return
        with open(self._at(JOURNAL), "rb") as file:
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]  # drop a truncated last line
        if len(whole) < len(content):
            write_whole(self._at(JOURNAL), whole)
        for line in whole.splitlines():
            self._note(_record(line, self._at(JOURNAL)))

    def _note(self, record: dict) -> None:
        self._records[record["name"]] = record
        self._stems.add(record.get("stem", ""))

    def has(self, name: str, stamp: tuple[int, ...]) -> bool:
        """Check whether an image is finished.

        Args:
            name (str): Name of the image.
            stamp (tuple[int, ...]): Size and modification time of its file, if it has one.

        Returns:
            bool: Whether the image was predicted, its file is unchanged, and all its output files
            exist.
        """
        record = self._records.get(name)
        if record is None or "error" in record or record["stamp"] != list(stamp):
            return False
        return all(osp.isfile(self._at(file)) for file in record["files"])

    def stem_of(self, name: str) -> str:
        """Return the stem of the output files of an image, unique within the folder.

        Args:
            name (str): Name of the image.

        Returns:
            str: Name without its extension, or with it if another image has the same stem.
        """
        stem = osp.splitext(name)[0]
        before = self._records.get(name, {}).get("stem")
        if before in (stem, name):  # do not trust other stems of a journal from elsewhere
            return before
        return stem if stem not in self._stems else name

    def add(
        self,
        name: str,
        origin: str,
        stamp: tuple[int, ...] | None,
        prediction: Prediction,
        drawn: np.ndarray | None = None,
    ) -> None:
        """Write the prediction of an image.

        Args:
            name (str): Name of the image.
            origin (str): Path or URL of the image.
            stamp (tuple[int, ...] | None): Size and modification time of its file, if it has one.
            prediction (Prediction): Prediction to write.
            drawn (np.ndarray, optional): Image with the prediction drawn, RGB. Defaults to None.
        """
        stem, files = self.stem_of(name), []
        if not isinstance(prediction, (ClassPrediction, InstancePrediction)):
            files.append(self._write_picture(MASKS, stem, _as_mask(prediction.labels)))
        if drawn is not None:
            files.append(self._write_picture(DRAWN, stem, drawn[:, :, ::-1]))
        self._write(
            {
                "name": name,
                "origin": origin,
                "stamp": stamp,
                "stem": stem,
                "shape": [int(side) for side in prediction.shape],
                "files": files,
                "rows": list(prediction.rows()),
                **_result(prediction),
            }
        )

    def add_error(self, name: str, origin: str, reason: str) -> None:
        """Record an image that could not be predicted; the next run tries it again.

        Args:
            name (str): Name of the image.
            origin (str): Path or URL of the image.
            reason (str): Error message.
        """
        self._write({"name": name, "origin": origin, "error": reason})

    def _write(self, record: dict) -> None:
        self._journal.write(json.dumps(record, allow_nan=False, default=_of_numpy) + "\n")
        self._journal.flush()
        self._note(json.loads(json.dumps(record, default=_of_numpy)))

    def _write_picture(self, folder: str, stem: str, image: np.ndarray) -> str:
        import cv2

        path = self._at(folder, f"{stem}.png")
        os.makedirs(osp.dirname(path), exist_ok=True)
        written, content = cv2.imencode(".png", image)
        if not written:
            raise UserError(f"cannot write {path}: {image.dtype} {image.shape}")
        write_whole(path, content.tobytes())
        return f"{folder}/{stem}.png"

    @property
    def errors(self) -> dict[str, str]:
        """dict[str, str]: Error message of each image that could not be predicted, by origin."""
        broken = [record for record in self._records.values() if "error" in record]
        return {record["origin"]: record["error"] for record in broken}

    def __len__(self) -> int:
        return len(self._records)

    def write_tables(self, task: str, columns: tuple[str, ...], classes: tuple[str, ...]) -> None:
        """Write the predictions of all images as CSV and JSON.

        Args:
            task (str): "classification", "detection" or "segmentation".
            columns (tuple[str, ...]): Names of the columns after that of the image.
            classes (tuple[str, ...]): Class names.
        """
        try:
            self._write_tables(task, columns, classes)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise _damaged(self._at(JOURNAL)) from error

    def _write_tables(self, task: str, columns: tuple[str, ...], classes: tuple[str, ...]) -> None:
        records = [self._records[name] for name in sorted(self._records)]
        records = [record for record in records if "error" not in record]
        write_whole(self._at(TABLE), _table(records, columns))
        if task == CLASSIFICATION:
            samples = [_class_sample(record) for record in records]
            write_classes(self._at(RESULTS), samples, classes)
        elif task == DETECTION:
            write_instances(self._at(RESULTS), list(_coco_results(records)))
            write_whole(self._at(IMAGES), json.dumps(_coco_images(records, classes)))
        else:
            with whole_file(self._at(RESULTS)) as path, open(path, "w", encoding="utf-8") as file:
                json.dump({"classes": classes, "images": [_map(each) for each in records]}, file)


def _record(line: bytes, path: str) -> dict:
    try:
        record = json.loads(line)
        good = isinstance(record["name"], str) and isinstance(record["origin"], str)
        whole = "error" in record or _is_whole(record)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path) from error
    if not good or not whole:
        raise _damaged(path)
    return record


def _is_whole(record: dict) -> bool:
    files = record["files"]
    named = isinstance(files, list) and all(isinstance(each, str) for each in files)
    return named and isinstance(record["rows"], list) and "stamp" in record


def _damaged(path: str) -> UserError:
    return UserError(f"{path} is damaged. Remove the folder, or choose another one")


def _of_numpy(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value.tolist()


def _as_mask(labels: np.ndarray) -> np.ndarray:
    return labels.astype(np.uint8 if labels.max(initial=0) < 256 else np.uint16)


def _result(prediction: Prediction) -> dict[str, Any]:
    if isinstance(prediction, ClassPrediction):
        found = {"label": prediction.label, "scores": plain_scores(prediction.scores)}
        exits = {} if prediction.exit_index is None else {"exit_index": int(prediction.exit_index)}
        if prediction.labels is not None:
            found["labels"] = list(prediction.labels)
        return {**found, **exits}
    if isinstance(prediction, InstancePrediction):
        boxes = [[float(f"{value:.6g}") for value in box] for box in prediction.boxes.tolist()]
        found = {"boxes": boxes, "scores": plain_scores(prediction.scores)}
        return {**found, "labels": prediction.labels.tolist(), "masks": prediction.masks}
    return {}


def _table(records: list[dict], columns: tuple[str, ...]) -> str:
    text = io.StringIO()
    exits = any("exit_index" in record for record in records)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", *columns, *(["exit"] if exits else [])])
    for record in records:
        more = [record["exit_index"] + 1] if "exit_index" in record else []
        for row in record["rows"]:
            values = [f"{each:.6g}" if isinstance(each, float) else each for each in row]
            writer.writerow([record["name"], *values, *more])
    return text.getvalue()


def _class_sample(record: dict) -> dict[str, Any]:
    exits = {"exit_index": record["exit_index"]} if "exit_index" in record else {}
    path, scores = record["origin"], record["scores"]
    label = record.get("labels", record["label"])
    return {"img_path": path, "pred_label": label, **exits, "pred_score": scores}


def _coco_results(records: list[dict]) -> Iterator[dict[str, Any]]:
    for number, record in enumerate(records, 1):
        masks = record["masks"] or [None] * len(record["boxes"])
        found = zip(record["boxes"], record["scores"], record["labels"], masks, strict=True)
        for (left, top, right, bottom), score, label, mask in found:
            box = [left, top, right - left, bottom - top]
            result = dict(image_id=number, category_id=label + 1, bbox=box, score=score)
            yield result if mask is None else {**result, "segmentation": mask}


def _coco_images(records: list[dict], classes: tuple[str, ...]) -> dict[str, Any]:
    """Create the COCO image and category lists that the results refer to."""
    images = [
        dict(id=number, file_name=each["name"], height=each["shape"][0], width=each["shape"][1])
        for number, each in enumerate(records, 1)
    ]
    categories = [dict(id=label + 1, name=name) for label, name in enumerate(classes)]
    return {"images": images, "categories": categories, "annotations": []}


def _map(record: dict) -> dict[str, Any]:
    shares = {name: share for name, _, share in record["rows"]}
    return {"image": record["name"], "mask": record["files"][0], "shares": shares}
