"""Check that a model's heads match the classes of its data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from smallvit.utils.text import join_names

#: Submodules whose classes are not those of the data.
_OTHER_CLASSES = ("rpn", "semantic_head", "teacher")
_WEIGHTS = ("class_weight", "pos_weight")


def heads_of(model: nn.Module) -> dict[str, nn.Module]:
    """Find the classification heads of a model.

    Args:
        model (nn.Module): A classifier, detector or segmentor.

    Returns:
        dict[str, nn.Module]: Heads by their place in the config, such as
        ``model.roi_head.bbox_head``.
    """
    model = getattr(model, "module", model)
    return {
        f"model.{name}": module
        for name, module in model.named_modules()
        if "head" in name
        and not any(other in name for other in _OTHER_CLASSES)
        and isinstance(getattr(module, "num_classes", None), int)
    }


def count_fault(heads: dict[str, nn.Module], classes: Sequence[str]) -> str | None:
    """Report heads that have too few outputs for the classes of the data.

    Args:
        heads (dict[str, nn.Module]): The heads; see :func:`heads_of`.
        classes (Sequence[str]): The classes of the data.

    Returns:
        str | None: A message; None if all heads have enough outputs.
    """
    wrong = {name: head for name, head in heads.items() if head.num_classes < len(classes)}
    return _counted(wrong, classes) if wrong else None


def count_warning(heads: dict[str, nn.Module], classes: Sequence[str]) -> str | None:
    """Report heads with outputs that no class of the data trains.

    Args:
        heads (dict[str, nn.Module]): The heads; see :func:`heads_of`.
        classes (Sequence[str]): The classes of the data.

    Returns:
        str | None: A message; None if all heads match.
    """
    wrong = {name: head for name, head in heads.items() if head.num_classes > len(classes)}
    return _counted(wrong, classes) if wrong else None


def _counted(heads: dict[str, nn.Module], classes: Sequence[str]) -> str:
    first = next(iter(heads))
    more = f" (and {', '.join(list(heads)[1:])})" if len(heads) > 1 else ""
    return (
        f"{first}.num_classes is {heads[first].num_classes}{more}, but the data have "
        f"{len(classes)} classes ({join_names(classes)}). Set it to {len(classes)}"
    )


def model_faults(model: nn.Module, classes: Sequence[str]) -> Iterator[str]:
    """Find inconsistent settings of a model's heads.

    Args:
        model (nn.Module): A classifier, detector or segmentor.
        classes (Sequence[str]): Classes of the data, for messages.

    Yields:
        str: A message with the setting and a fix.
    """
    for name, head in heads_of(model).items():
        losses = [(f"{name}.{path}", one) for path, one in head.named_modules() if path]
        yield from _single_output(name, head, [loss for _, loss in losses])
        for path, loss in losses:
            for key in _WEIGHTS:
                yield from _weights(path.replace("loss_module", "loss"), key, loss, head, classes)


def _single_output(name: str, head: nn.Module, losses: Sequence[nn.Module]) -> Iterator[str]:
    """Report a softmax over one output, which is always 1 and has a loss of 0."""
    outputs = getattr(head, "out_channels", None) or head.num_classes
    softmax = [one for one in losses if getattr(one, "use_sigmoid", None) is False]
    if hasattr(head, "conv_seg") and outputs == 1 and softmax:
        yield (
            f"{name} has one output, but a softmax requires at least two "
            f"({type(softmax[0]).__name__}, use_sigmoid=False). Set num_classes=2 and "
            "out_channels=2, or out_channels=1 with loss_decode=dict(use_sigmoid=True)"
        )


def _weights(
    path: str, key: str, loss: Any, head: nn.Module, classes: Sequence[str]
) -> Iterator[str]:
    given = getattr(loss, key, None)
    if not isinstance(given, (list, tuple)):
        return
    wanted = getattr(head, "out_channels", None) if hasattr(head, "conv_seg") else None
    wanted = {wanted or head.num_classes}
    background = ""
    if hasattr(head, "fc_cls") and not getattr(loss, "use_sigmoid", False):
        wanted = {head.num_classes + 1}
        background = ", then the background"
    if len(given) not in wanted:
        order = f" in the order {join_names(classes)}{background}" if classes else ""
        yield (
            f"expected {max(wanted)} values in {path}.{key}, one per class{order}, got {len(given)}"
        )
