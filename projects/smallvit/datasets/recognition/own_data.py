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
    """What a data folder holds.

    Args:
        form (str): Ending of the configs that train it: ``folder``, ``custom-coco``,
            ``custom-boxes`` or ``custom-masks``.
        layout (str): What was recognized, in words.
        root (str): Data folder.
        classes (tuple[str, ...]): The classes.
        images (dict[str, int]): Images of each split.
        counts (dict[str, Counter]): Images, objects or label maps of each class, by split.
        sample (list[str]): Paths of some images, spread over the training images.
        datasets (dict[str, dict]): Settings of the data set of each split.
        notes (list[str]): What else was found, and what was not read.
        label_map (dict[int, int], optional): Class of each value of the label maps, where they
            are not the numbers of the classes. Defaults to None.
        most_objects (int): Objects of the image with the most.
        side (float): Median side of the objects in pixels: the root of the area of their boxes.
        longest (int): Longest side of an image whose objects were measured, in the median.
        lists (dict[str, str]): Files that list the images of a split of our own.
        table (str): The table that names images and labels, "" where folders or files do.
        several (bool): Whether an image may have several labels, or none.
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
        """Describe it for the user.

        Returns:
            list[str]: Lines of a table.
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
