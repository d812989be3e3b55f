"""Class weights for losses, counted from the training images or given by class name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from inspect import signature
from numbers import Real
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope

from smallvit.datasets.labels import count_labels, read_labels
from smallvit.datasets.parts import parts_of
from smallvit.errors import UserError
from smallvit.registry import DATASETS, MODELS
from smallvit.utils.text import join_names

COUNTED = ("balanced", "effective")
#: Beta of the effective number of samples; the paper's value for long-tailed data.
BETA = 0.999


def resolve_class_weights(cfg: Config) -> None:
    """Resolve class weights in a classifier's config to numbers.

    ``class_weight`` of a loss may be "balanced", the inverse of the number of images per class;
    "effective", the inverse of their effective number (`Class-Balanced Loss
    <https://arxiv.org/abs/1901.05555>`_, beta 0.999), both scaled so that the mean weight of an
    image is 1; or a dict of weights by class name, with 1 for classes that it does not name.
    ``pos_weight="balanced"`` is the ratio of negative to positive images of each class. A loss
    without ``type`` is the default loss of the head.

    Args:
        cfg (Config): The merged config, changed in place. Its training set is built for counting.

    Raises:
        UserError: If a class or scheme does not exist, or the model is not a classifier.
    """
    _name_loss(cfg)
    found = list(_unresolved(cfg.get("model") or {}, "model"))
    if not found:
        return
    for path, node, key in found:
        _check(path, key, node[key])
    labels, classes = _read(cfg, found[0][0])
    for path, node, key in found:
        counts = count_labels(labels, classes)
        if isinstance(node[key], Mapping):
            node[key] = _named(f"{path}.{key}", node[key], classes)
        elif key == "pos_weight":
            node[key] = [(len(labels) - n) / n if n else 1.0 for n in counts.values()]
        else:
            node[key] = counted_weights(node[key], list(counts.values()))


def counted_weights(way: str, counts: Sequence[int]) -> list[float]:
    """Compute class weights from the number of images per class.

    Args:
        way (str): "balanced" or "effective".
        counts (Sequence[int]): Images per class; the weight of a class without images is 0.

    Returns:
        list[float]: Weights, with a mean of 1 over the images.
    """
    inverse = [0.0] * len(counts)
    for index, count in enumerate(counts):
        if count:
            inverse[index] = 1 / count if way == "balanced" else (1 - BETA) / (1 - BETA**count)
    images = sum(weight * count for weight, count in zip(inverse, counts, strict=True))
    return [weight * sum(counts) / images for weight in inverse]


def _name_loss(cfg: Config) -> None:
    """Complete a loss that consists of weights only by the default loss of the head."""
    head = (cfg.get("model") or {}).get("head")
    loss = head.get("loss") if isinstance(head, dict) else None
    weighted = isinstance(loss, dict) and {"class_weight", "pos_weight"} & set(loss)
    if not weighted or "type" in loss:
        return
    init_default_scope(cfg.get("default_scope", "mmengine"))
    kind = head.get("type")
    if isinstance(kind, str):
        with MODELS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    for owner in getattr(kind, "__mro__", ()):
        parameters = signature(owner.__init__).parameters
        if "loss" in parameters:
            default = parameters["loss"].default
            head.loss = {**default, **loss} if isinstance(default, dict) else loss
            return


def _unresolved(node: Any, path: str) -> Iterator[tuple[str, ConfigDict, str]]:
    """Find class weights in the config that are not numbers yet."""
    children = node.items() if isinstance(node, dict) else ()
    if isinstance(node, (list, tuple)):
        children = ((f"[{index}]", child) for index, child in enumerate(node))
    for key, child in children:
        place = f"{path}{key}" if key.startswith("[") else f"{path}.{key}"
        if key in ("class_weight", "pos_weight"):
            # MMSegmentation also takes the name of a file with weights.
            other = isinstance(child, str) and path.startswith("model.head")
            if other or isinstance(child, Mapping) or child in COUNTED:
                yield path, node, key
        else:
            yield from _unresolved(child, place)


def _check(path: str, key: str, value: Any) -> None:
    if not path.startswith("model.head"):
        raise UserError(
            f"{path}.{key} = {value!r} is supported only for classifiers (model.head). Set a list "
            "of numbers, one per class"
        )
    known = COUNTED if key == "class_weight" else COUNTED[:1]
    if isinstance(value, str) and value not in known:
        raise UserError(
            f"expected {path}.{key} to be {' or '.join(map(repr, known))}, or a list of numbers "
            f"(class_weight may also be a dict by class name), got {value!r}"
        )
    if key == "pos_weight" and isinstance(value, Mapping):
        raise UserError(f"expected {path}.pos_weight to be 'balanced' or a list of numbers")


def _read(cfg: Config, path: str) -> tuple[list[tuple[int, ...]], Sequence[str]]:
    init_default_scope(cfg.get("default_scope", "mmengine"))
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    if hasattr(dataset, "full_init"):
        dataset.full_init()
    found = [read_labels(part) for part in parts_of(dataset)]
    if None in found:
        raise UserError(
            f"{path}: {type(dataset).__name__} does not provide labels to count the classes. Set "
            "the weights as a list"
        )
    labels = [label for part in found for label in part]
    classes = (getattr(dataset, "metainfo", None) or {}).get("classes") or ()
    return labels, classes or tuple(map(str, range(cfg.model.head.num_classes)))


def _named(path: str, given: Mapping[str, Any], classes: Sequence[str]) -> list[float]:
    unknown = [name for name in given if name not in classes]
    if unknown:
        raise UserError(
            f"{path} contains {join_names(unknown)}, but the classes are "
            f"{join_names(list(classes))}"
        )
    for name, weight in given.items():
        if not isinstance(weight, Real) or isinstance(weight, bool) or weight < 0:
            raise UserError(f"expected {path}[{name!r}] to be a number >= 0, got {weight!r}")
    return [float(given.get(name, 1.0)) for name in classes]
