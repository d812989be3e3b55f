"""Report the data of a run before its first step, and refuse unusable data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dist import all_reduce, broadcast_object_list, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from smallvit.datasets.describe import describe
from smallvit.datasets.label_map_checks import check_maps_of
from smallvit.datasets.label_maps import LoadLabelMap
from smallvit.datasets.parts import parts_of
from smallvit.datasets.usage import Usage, empty_classes
from smallvit.engine.image_channels import channel_fault
from smallvit.engine.metric_names import absent_metrics
from smallvit.engine.model_checks import count_fault, count_warning, heads_of, model_faults
from smallvit.engine.single_values import single_value_fault
from smallvit.errors import DataError, SmallvitError
from smallvit.registry import HOOKS
from smallvit.utils.text import join_names


@HOOKS.register_module()
class DataReportHook(Hook):
    """Log a table of the data before the first step, and refuse inconsistent data.

    The table lists the images, objects and classes of each dataset with their counts, skipped
    samples with the reason, the initial weights, and the number of images per optimizer step. No
    image is decoded; ``tools/misc/verify_dataset.py`` reads every file.

    The run is refused if there are no objects to train on, if names, IDs or labels do not match, or
    if the model has too few outputs. Problems that may be intended are logged as warnings.

    Args:
        enabled (bool): Whether the hook is active. Defaults to True.
    """

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled
        if enabled:
            _read_coco_repaired()
        self._maps: list[LoadLabelMap] = []

    def _add_maps(self, split: str, loader: LoadLabelMap | None) -> None:
        if split == "train" and loader is not None and loader.classes:
            self._maps.append(loader)

    def before_run(self, runner: Runner) -> None:
        """Inspect the data, and raise :class:`DataError` if a loop cannot use it."""
        if not self.enabled:
            return
        splits = dict(loader_of(runner))
        ignored = _ignored(runner)
        for split, loader in splits.items():
            _repair_metrics(runner, split)
            for part in parts_of(_bare(loader.dataset)):
                self._add_maps(split, check_maps_of(part, ignored))
        # Rank 0 inspects the data; all processes raise.
        found: list[Any] = [self._inspect(runner, splits) if is_main_process() else None]
        broadcast_object_list(found)
        if found[0] is not None:
            raise found[0]

    def after_train_epoch(self, runner: Runner) -> None:
        """Warn about classes without a pixel in the label maps of the first epoch."""
        for loader in self._maps:
            seen = loader.seen.to(torch.int32)
            all_reduce(seen, op="max")
            names = [name for number, name in enumerate(loader.classes) if not seen[number]]
            if names:
                runner.logger.warning(
                    f"the training label maps loaded so far contain no pixel of {join_names(names)}"
                )
        self._maps = []

    def _inspect(self, runner: Runner, splits: dict[str, Any]) -> SmallvitError | None:
        count = getattr(getattr(_model(runner), "head", None), "num_classes", None)
        count = count if isinstance(count, int) and count > 0 else None
        usages: list[Usage] = []
        try:
            for split, loader in splits.items():
                usages += describe(_bare(loader.dataset), split, count)
                fault = channel_fault(_model(runner), _bare(loader.dataset))
                usages[-1].faults += [] if fault is None else [DataError(f"{split}: {fault}")]
                _compare_evaluator(runner, split, loader, usages[-1])
        except SmallvitError as error:
            return error
        faults = list(_faults(runner, usages))
        for line in _table(runner, usages):
            runner.logger.info(line)
        for usage in usages:
            for warning in _warnings(runner, usage):
                runner.logger.warning(warning)
        return _joined(faults)


def _read_coco_repaired() -> None:
    """Repair COCO files for MMEngine's own runner, which builds datasets after its hooks."""
    scope = DefaultScope.get_current_instance()
    if scope is not None and scope.scope_name == "mmdet":
        from smallvit.datasets import coco

        coco.install()


def loader_of(runner: Runner) -> Iterator[tuple[str, Any]]:
    """Iterate over the data loaders of a run.

    Args:
        runner (Runner): The runner, with its loops built.

    Yields:
        tuple[str, DataLoader]: Name of the split and its data loader.
    """
    for split in ("train", "val", "test"):
        loop = getattr(runner, f"_{split}_loop")
        if hasattr(loop, "dataloader") and hasattr(loop.dataloader, "dataset"):
            yield split, loop.dataloader


def _bare(dataset: Any) -> Any:
    """Return the dataset inside the guard that wraps it."""
    return getattr(dataset, "_inner", dataset)


def _model(runner: Runner) -> Any:
    return getattr(runner.model, "module", runner.model)


def _ignored(runner: Runner) -> tuple[int, ...]:
    """Labels that the losses of a segmentation model ignore."""
    heads = (getattr(_model(runner), name, None) for name in ("decode_head", "auxiliary_head"))
    values = {getattr(head, "ignore_index", None) for head in heads}
    return tuple(value for value in values if isinstance(value, int))


def _repair_metrics(runner: Runner, split: str) -> None:
    evaluator = getattr(getattr(runner, f"_{split}_loop"), "evaluator", None)
    for metric in getattr(evaluator, "metrics", ()):
        if hasattr(metric, "_coco_api"):
            from smallvit.datasets.coco import repair_metric

            repair_metric(metric)


def _compare_evaluator(runner: Runner, split: str, loader: Any, usage: Usage) -> None:
    evaluator = getattr(getattr(runner, f"_{split}_loop"), "evaluator", None)
    for metric in getattr(evaluator, "metrics", ()):
        if getattr(metric, "_coco_api", None) is None:
            continue
        from smallvit.datasets.coco_evaluators import evaluator_findings

        for fatal, text in evaluator_findings(metric, list(parts_of(_bare(loader.dataset))), split):
            usage.faults += [DataError(text)] if fatal else []
            usage.warnings += [] if fatal else [text]


def _faults(runner: Runner, usages: list[Usage]) -> Iterator[SmallvitError]:
    for usage in usages:
        yield from usage.faults
    heads = heads_of(runner.model)
    for usage in usages:
        few = count_fault(heads, usage.classes) if usage.classes and _fits_heads(usage) else None
        if few is not None:
            yield DataError(f"{usage.name}: {few}")
            break
    if any(usage.training for usage in usages):
        evaluator = getattr(runner._val_loop, "evaluator", None)
        yield from map(DataError, absent_metrics(evaluator, runner.hooks))
        single = single_value_fault(_model(runner), runner._train_loop)
        yield from () if single is None else [DataError(single)]
        classes = next((usage.classes for usage in usages if usage.classes), ())
        yield from map(DataError, model_faults(runner.model, classes))


def _fits_heads(usage: Usage) -> bool:
    return usage.objects is not None


def _joined(faults: list[SmallvitError]) -> SmallvitError | None:
    if len(faults) < 2:
        return faults[0] if faults else None
    return DataError("\n".join(dict.fromkeys(map(str, faults))))


def _warnings(runner: Runner, usage: Usage) -> Iterator[str]:
    yield from usage.warnings
    empty = empty_classes(usage) if usage.training else []
    if empty:
        yield f"{usage.name}: no training examples of {join_names(empty)}, which cannot be learned"
    many = count_warning(heads_of(runner.model), usage.classes) if usage.classes else None
    if many is not None and usage.training:
        yield f"{usage.name}: {many}; no class trains the other outputs"


def _table(runner: Runner, usages: list[Usage]) -> Iterator[str]:
    yield "data of this run (DataReportHook):"
    for usage in usages:
        label = usage.split
        for line in usage.lines():
            yield f"  {label:<8}{line}"
            label = ""
    yield f"  {'weights':<8}{_weights(runner)}"
    if any(usage.training for usage in usages):
        yield f"  {'step':<8}{_step(runner)}"


def _weights(runner: Runner) -> str:
    if runner._resume:
        return f"resumed from {runner._load_from or 'the latest checkpoint of ' + runner.work_dir}"
    return f"from {runner._load_from}" if runner._load_from else "no checkpoint (load_from)"


def _step(runner: Runner) -> str:
    loader, wrapper = runner._train_loop.dataloader, runner.optim_wrapper
    size = loader.batch_size or getattr(loader.batch_sampler, "batch_size", None)
    accumulated = getattr(wrapper, "_accumulative_counts", 1)
    if size is None:
        return "images per step determined by the batch sampler"
    parts = f"batches of {size} x {get_world_size()} processes x {accumulated} accumulated"
    # The initial learning rate, because warm-up has already changed the current one.
    rates = sorted({group.get("initial_lr", group["lr"]) for group in wrapper.param_groups})
    rate = " to ".join(f"{one:.4g}" for one in dict.fromkeys((rates[0], rates[-1])))
    return f"{size * get_world_size() * accumulated} images ({parts}), learning rate {rate}"
