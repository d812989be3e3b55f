"""Division of a pipeline into deterministic and random transforms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmpretrain.datasets.transforms import PackInputs

from smallvit.datasets.batch import BatchForm, Change, NoBatchForm, find_form
from smallvit.datasets.in_memory.decoding import FIXED


class Steps:
    """Pipeline divided into deterministic transforms, random transforms, and packing.

    Args:
        transforms (Sequence[Callable]): Transforms of the pipeline.

    Attributes:
        fixed (list): Deterministic transforms at the start, which are applied once.
        forms (list[BatchForm]): Batch implementations of the remaining transforms.
        reason (str): Reason why the pipeline cannot be applied to batches; "" if it can.
        pack (PackInputs | None): Last transform of the pipeline.
    """

    def __init__(self, transforms: Sequence[Any]) -> None:
        self.fixed: list[Any] = []
        self.forms: list[BatchForm] = []
        self.reason = ""
        self.pack: PackInputs | None = None
        self._single: list[Any] = []
        for step in transforms:
            if isinstance(step, FIXED) and not self._changing:
                self.fixed.append(step)
            else:
                self._add(step)
        if self.pack is None:
            self.reason = self.reason or "the pipeline does not end with PackInputs"

    @property
    def _changing(self) -> bool:
        return bool(self._single)

    def _add(self, step: Any) -> None:
        if self.pack is None and type(step) is PackInputs and step.input_key == "img":
            self.pack = step
            self._single.append(step)
            return
        try:
            form = find_form(step)
        except NoBatchForm as error:
            self.reason = self.reason or str(error)
        else:
            self.forms.append(form)
            if form.only_looks:
                return
        if self.pack is not None:
            self.reason = self.reason or f"{type(step).__name__} comes after PackInputs"
        self._single.append(step)

    def look(self, info: dict[str, Any]) -> dict[str, Any]:
        """Extract the entries of a sample that the transforms require, once.

        Args:
            info (dict): Annotation dict of the sample, including its image.

        Returns:
            dict: Entries that are added to the sample dict in each batch.
        """
        found: dict[str, Any] = {}
        for form in self.forms:
            found |= form.look(info)
        return found

    def draw(
        self, results: list[dict[str, Any]], shape: Sequence[int]
    ) -> tuple[list[Change], tuple[int, int]]:
        """Sample random parameters for the images of a batch.

        Args:
            results (list[dict]): Sample dicts, to which the transforms add their entries.
            shape (Sequence[int]): Shape (B, C, H, W) of the images.

        Returns:
            tuple[list[Change], tuple[int, int]]: Transforms with sampled parameters, and height and
            width of the output images.
        """
        count, channels, *size = shape
        size = tuple(size)
        changes = []
        for form in self.forms:
            change = form.draw(count, (channels, *size))
            form.note(results, change, size)
            if change is not None:
                changes.append(change)
            size = form.size_after(size)
        return changes, size

    def one_by_one(self, results: dict[str, Any]) -> Any:
        """Apply the transforms to a single sample.

        Args:
            results (dict): Sample dict with the key ``img``.

        Returns:
            Any: Output of the last transform.
        """
        for form in self.forms:
            if form.only_looks:
                form.note([results], None, results["img_shape"])
        for step in self._single:
            results = step(results)
            if results is None:
                return None
        return results
