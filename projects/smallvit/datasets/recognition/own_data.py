"""Description of a recognized data folder, and the settings with which a config reads it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from smallvit.datasets.usage import class_text

SPLITS = ("train", "val", "test")
#: Task of each form of data.
TASKS = {
    "folder": "classification",
    "custom-coco": "objects with masks (Mask R-CNN)",
    "custom-boxes": "objects with boxes (Faster R-CNN)",
    "custom-masks": "segmentation by label maps (UperNet)",
}


@dataclass
class OwnData:
    """Description of a data folder.

    Args:
        form (str): Suffix of the configs for this kind of data: ``folder``, ``custom-coco``,
            ``custom-boxes`` or ``custom-masks``.
        layout (str): Human-readable name of the recognized layout.
        root (str): Data folder.
        classes (tuple[str, ...]): Class names.
        images (dict[str, int]): Number of images by split.
        counts (dict[str, Counter]): Number of images, objects or label maps of each class, by
            split.
        sample (list[str]): Paths of training images.
        datasets (dict[str, dict]): Config of the dataset of each split.
        notes (list[str]): Messages for the user, such as skipped files.
        label_map (dict[int, int], optional): Class by value of the label maps, if they differ.
            Defaults to None.
        most_objects (int): Maximum number of objects in an image.
        side (float): Median of the square root of the box area in pixels.
        longest (int): Median of the longer image side in pixels, of data with objects.
        lists (dict[str, str]): Image lists of a generated split.
        table (str): Path of the label table, "" for other layouts.
        several (bool): Whether an image may have any number of labels.
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
        """List the training images, without those that are held out for validation.

        Returns:
            list[str]: Their files.
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
        """Summarize the dataset for the user.

        Returns:
            list[str]: Lines of text.
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
