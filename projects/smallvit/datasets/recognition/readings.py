"""Automatic detection of the layout of a data folder; ambiguous layouts raise an error."""

from __future__ import annotations

import os
import os.path as osp
from collections.abc import Callable

from smallvit.datasets.checks import read_json
from smallvit.datasets.class_folders import BANDS_WAY_OUT, SPLITS
from smallvit.datasets.formats import (
    is_labelme,
    is_voc,
    is_yolo,
    read_labelme,
    read_voc,
    read_yolo,
)
from smallvit.datasets.formats.table import is_table
from smallvit.datasets.io.bands import BAND_ENDINGS, Bands
from smallvit.datasets.recognition.coco import coco_files, read_coco, read_labeled
from smallvit.datasets.recognition.folders import count_class_folders, read_class_folders
from smallvit.datasets.recognition.maps import find_maps, read_maps
from smallvit.datasets.recognition.own_data import OwnData
from smallvit.datasets.recognition.splitting import Fold
from smallvit.datasets.recognition.tables import read_label_table
from smallvit.errors import DataError, UserError

#: Display names of the supported layouts.
LAYOUTS = {
    "folders": "class folders",
    "coco": "COCO's files",
    "yolo": "YOLO's text files",
    "voc": "Pascal VOC's XML files",
    "labelme": "LabelMe's JSON files",
    "masks": "images with label maps",
    "table": "a label table",
}
_DETECTORS: dict[str, Callable[[str], object]] = {
    "folders": count_class_folders,
    "coco": coco_files,
    "yolo": is_yolo,
    "voc": is_voc,
    "labelme": is_labelme,
    "masks": find_maps,
}


def recognize(
    path: str,
    out: str,
    layout: str | None = None,
    void: int | None = None,
    fold: Fold | None = None,
    bands: Bands | None = None,
) -> OwnData:
    """Detect the layout of a data folder and read the dataset.

    Args:
        path (str): Data folder, label table (CSV or TSV), COCO annotation file, or YOLO
            ``data.yaml``.
        out (str): Work folder to which converted COCO files and the lists of a generated split
            are written.
        layout (str, optional): Key of :data:`LAYOUTS`, for folders that match several layouts.
            Defaults to None: detected automatically.
        void (int, optional): Pixel value of label maps to ignore. Defaults to None.
        fold (Fold, optional): Cross-validation fold that is held out for validation. Defaults to
            None: the predefined split, or a generated one.
        bands (Bands, optional): Band settings of multi-band images, for class folders and label
            tables. Defaults to None: color or grayscale images.

    Returns:
        OwnData: Recognized dataset, with its classes, splits and dataset configs.

    Raises:
        UserError: If the path does not exist, or matches no layout or several layouts.
        DataError: If the data cannot be used for training.
    """
    path = osp.abspath(osp.expanduser(path))
    if not osp.exists(path):
        raise UserError(f"--data {path}: no such file or folder")
    if osp.isfile(path) and path.lower().endswith((".yaml", ".yml")):
        path = osp.dirname(path)
    if is_table(path) or layout == "table":
        return _of_table(path, out, layout, void, fold)
    if osp.isfile(path) and not coco_files(path):
        raise UserError(
            f"--data {path}: expected a folder, an annotation file of COCO or a label table "
            "(.csv, .tsv)"
        )
    if bands is not None:
        return _of_bands(path, out, layout, void, fold)
    layout = layout or _layout(path)
    if void is not None and layout != "masks":
        held = LAYOUTS[layout]
        raise UserError(f"--void-id {void} requires label maps, but {path} contains {held}")
    return _read(path, out, layout, void, fold)


def _of_bands(
    path: str, out: str, layout: str | None, void: int | None, fold: Fold | None
) -> OwnData:
    if layout is None and not count_class_folders(path, BAND_ENDINGS):
        found = [name for name, detect in _DETECTORS.items() if detect(path)]
        if not found:
            raise UserError(f"--data {path}: {_say_unknown(path, BAND_ENDINGS)}")
        layout = found[0]
    if layout not in (None, "folders") or void is not None:
        held = LAYOUTS[layout or "masks"]
        raise UserError(
            f"--channels supports class folders and label tables, and {path} is detected as "
            f"{held}; a segmentation config of your own can use smallvit.LoadImageBands"
        )
    data = read_class_folders(path, out, fold, BAND_ENDINGS)
    for split in SPLITS:
        data.datasets.setdefault(split, {})["extensions"] = list(BAND_ENDINGS)
    return data


def _of_table(
    path: str, out: str, layout: str | None, void: int | None, fold: Fold | None
) -> OwnData:
    if not is_table(path) or layout not in (None, "table"):
        raise UserError(
            f"--data {path} does not match --data-layout {layout}. A label table is a .csv or .tsv "
            "file with --data-layout table"
        )
    if void is not None:
        raise UserError(f"--void-id {void} requires label maps, but {path} is {LAYOUTS['table']}")
    return read_label_table(path, out, fold)


def _layout(path: str) -> str:
    if osp.isfile(path):
        return "coco"
    read = {name: detect(path) for name, detect in _DETECTORS.items()}
    found = [name for name, what in read.items() if what]
    if len(found) > 1 and read["folders"] == 1:
        found.remove("folders")  # the image folder of an annotation file
    if not found:
        raise UserError(f"--data {path}: {_say_unknown(path)}")
    if len(found) > 1:
        named = " and ".join(LAYOUTS[name] for name in found)
        flags = " or ".join(f"--data-layout {name}" for name in found)
        raise UserError(f"--data {path}: matches {named}. Choose one with {flags}")
    return found[0]


def _say_unknown(path: str, endings: tuple[str, ...] = ()) -> str:
    names = sorted(name for name in os.listdir(path) if not name.startswith("."))
    if not names:
        return "the folder is empty"
    for name in names:
        if name.lower().endswith(".json"):
            read_json(osp.join(path, name))  # raises DataError if the file is corrupt
    inner = [one for one in names if osp.isdir(osp.join(path, one))]
    if len(inner) == 1 and any(is_it(osp.join(path, inner[0])) for is_it in _DETECTORS.values()):
        return f"the data is in a subfolder. Pass --data {osp.join(path, inner[0])}"
    held = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    known = ", ".join(LAYOUTS.values())
    if endings:
        known = f"class folders of {', '.join(endings)}, and a label table (.csv)"
    elif count_class_folders(path, (".npy",)):
        known += f"; {BANDS_WAY_OUT}"
    return f"no known layout, found {held}. Supported are {known}"


def _read(path: str, out: str, layout: str, void: int | None, fold: Fold | None) -> OwnData:
    readers = {"yolo": read_yolo, "voc": read_voc, "labelme": read_labelme}
    if layout in readers:
        return read_labeled(readers[layout](path), out, fold)
    if layout == "coco":
        if not coco_files(path):
            raise DataError(f"{path} contains no annotation file of COCO")
        return read_coco(path, out, fold)
    if layout == "masks":
        if not find_maps(path):
            raise DataError(f"{path} contains no images with label maps of the same names")
        return read_maps(path, out, void, fold)
    return read_class_folders(path, out, fold)
