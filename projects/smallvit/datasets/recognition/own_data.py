"""Data class for a recognized dataset and the dataset configs that load it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from smallvit.datasets.usage import class_text

SPLITS = ("train", "val", "test")
#: Task by config suffix.
TASKS = {
    "folder": "classification",
    "custom-coco": "objects with masks (Mask R-CNN)",
    "custom-boxes": "objects with boxes (Faster R-CNN)",
    "custom-masks": "segmentation by label maps (UperNet)",
}


@dataclass
class OwnData:
    """Recognized dataset.

    Args:
        form (str): Suffix of the configs for this type of dataset: ``folder``, ``custom-coco``,
            ``custom-boxes`` or ``custom-masks``.
        layout (str): Display name of the layout.
        root (str): Data folder.
        classes (tuple[str, ...]): Class names, in the order of the class indices.
        images (dict[str, int]): Number of images by split.
        counts (dict[str, Counter]): Number of images, objects or label maps per class, by split.
        sample (list[str]): Paths of training images.
        datasets (dict[str, dict]): Dataset config of each split.
        notes (list[str]): Messages for the user, e.g. about skipped files.
        label_map (dict[int, int], optional): Mapping from pixel values of the label maps to class
            indices. Defaults to None: the pixel values are class indices.
        most_objects (int): Maximum number of objects per image. Defaults to 0.
        side (float): Median of the square root of the box areas, in pixels. Defaults to 0.0.
        longest (int): Median of the longer image sides in pixels; only for object detection and
            instance segmentation. Defaults to 0.
        lists (dict[str, str]): Paths of the image lists of a generated split, by split.
        table (str): Path of the label table. Defaults to "": another layout.
        several (bool): Whether the dataset is multi-label. Defaults to False.
    """

    form: str
    layout: str
    root: str
    classes: tuple[str, ...] = ()
    images: dict[str, int] = field(default_factory=dict)
    counts: dict[str, Counter] = field(default_factory=dict)
    sample: list[str] = field(default_factory=list)
    datasets: dict[str, dict] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    label_map: dict[int, int] | None = None
    most_objects: int = 0
    side: float = 0.0
    longest: int = 0
    lists: dict[str, str] = field(default_factory=dict)
    table: str = ""
    several: bool = False

    def training_images(self) -> list[str]:
        """List the training images, excluding those held out for validation.

        Returns:
            list[str]: Paths of the image files.
        """
        from smallvit.datasets.class_folders import ClassFolders
        from smallvit.datasets.label_table import LabelTable

        settings = dict(self.datasets.get("train", {}), split="train")
        kind = settings.pop("type", None)
        if kind is None:
            dataset: Any = ClassFolders(self.root, **settings)
        else:
            dataset = LabelTable(**settings)
        return [dataset.get_data_info(index)["img_path"] for index in range(len(dataset))]

    def lines(self) -> list[str]:
        """Format a summary of the dataset.

        Returns:
            list[str]: Lines of the summary.
        """
        unit = {"folder": "", "custom-masks": "label maps"}.get(self.form, "objects")
        lines = [f"recognized: {self.layout}: {TASKS[self.form]}"]
        for split in SPLITS:
            if split in self.images:
                lines.append(f"  {split:<6}{self.images[split]} images")
                count = self.counts.get(split)
                if count:
                    lines.append(f"        {class_text(dict(count), unit)}")
        return [*lines, *(f"  {note}" for note in self.notes)]
