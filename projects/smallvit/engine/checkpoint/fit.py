"""Compare a checkpoint with a model: what is loaded, what is not, and the likely prefix."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from smallvit.errors import CheckpointError

#: Entries that a model may resize when they are loaded.
RESIZABLE = ("pos_embed", "relative_position_bias_table", "relative_position_index")
SHOWN = 4


@dataclass
class Fit:
    """Result of comparing a checkpoint with a model.

    Args:
        loaded (list[str]): Names with equal shapes on both sides, or that the model resizes.
        missing (list[str]): Names that the model has and the file lacks.
        unexpected (list[str]): Names that the file has and the model lacks.
        remade (list[str]): Layers of a head for another number of classes, reinitialized.
        misshapen (list[str]): Other names with a different shape, with both shapes.
        share (float): Fraction of the model's parameters, without heads, that is loaded, 0 to 1.
        prefix (str, optional): Prefix to strip from the file's names so that more of them match,
            such as ``"backbone."``. Defaults to None.
        lacks_prefix (str, optional): Prefix that the file's names lack. Defaults
            to None.
        below (list[str]): Names of entries in the file that are dicts, which may contain weights.
    """

    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    remade: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)
    share: float = 0.0
    prefix: str | None = None
    lacks_prefix: str | None = None
    below: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """bool: Whether model and file have the same entries with the same shapes."""
        return not (self.missing or self.unexpected or self.remade or self.misshapen)


def weights_of(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Extract the state dict of a checkpoint, without the prefix of a distributed wrapper.

    Args:
        checkpoint (Mapping): A checkpoint or a state dict.

    Returns:
        dict[str, Any]: Tensors by name.
    """
    state = checkpoint.get("state_dict", checkpoint)
    return {re.sub(r"^module\.", "", str(name)): value for name, value in state.items()}


def measure_fit(model: nn.Module, state: Mapping[str, Any]) -> Fit:
    """Compare a state dict with a model.

    Args:
        model (nn.Module): The model, or a submodule of it.
        state (Mapping[str, Any]): The state dict to be loaded into it.

    Returns:
        Fit: Matching and mismatching entries.
    """
    own = {name: value for name, value in model.state_dict().items() if _counts(name)}
    found = {name: value for name, value in state.items() if _counts(name)}
    fit = Fit(missing=[name for name in own if name not in found])
    fit.unexpected = [name for name in found if name not in own]
    fit.below = [name for name in fit.unexpected if isinstance(found[name], Mapping)]
    for name in own:
        if name in found:
            _compare(fit, name, own[name], found[name])
    fit.share = _share(model, set(fit.loaded))
    if fit.share < 0.5:
        _guess_prefix(fit, own, found)
    return fit


def _counts(name: str) -> bool:
    return name.rpartition(".")[2] != "_extra_state"


def _compare(fit: Fit, name: str, own: Any, found: Any) -> None:
    ours, theirs = (tuple(getattr(value, "shape", ())) for value in (own, found))
    if ours == theirs or (_resizable(name) and _same_width(ours, theirs)):
        fit.loaded.append(name)
    elif _in_head(name) and ours[1:] == theirs[1:]:
        fit.remade.append(name)
    else:
        fit.misshapen.append(f"{name} {theirs} in the file, {ours} in the model")


def _resizable(name: str) -> bool:
    return name.rpartition(".")[2].startswith(RESIZABLE)


def _same_width(ours: tuple[int, ...], theirs: tuple[int, ...]) -> bool:
    """Whether two position embeddings have the same width, and so differ in grid size only."""
    if len(ours) != len(theirs) or len(ours) < 2:
        return len(ours) == len(theirs)
    # Channels are last, or first in an embedding that is a feature map.
    return ours[-1] == theirs[-1] or (len(ours) == 4 and ours[1] == theirs[1])


def _in_head(name: str) -> bool:
    return any("head" in part for part in name.split("."))


def _share(model: nn.Module, loaded: set[str]) -> float:
    """Fraction of the parameters that is loaded; heads count only if there is nothing else."""
    sizes = {name: value.numel() for name, value in model.named_parameters()}
    body = {name: size for name, size in sizes.items() if not name.split(".")[0].endswith("head")}
    sizes = body or sizes
    total = sum(sizes.values())
    return sum(size for name, size in sizes.items() if name in loaded) / total if total else 1.0


def _guess_prefix(fit: Fit, own: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    fit.prefix = _common_prefix(fit.missing, fit.unexpected, own, found)
    if fit.prefix is None:
        fit.lacks_prefix = _common_prefix(fit.unexpected, fit.missing, found, own)


def _common_prefix(short: list[str], long: list[str], ours: Mapping, theirs: Mapping) -> str | None:
    """Most frequent prefix of one side's names relative to the names of the other."""
    by_tail: dict[str, list[str]] = {}
    for name in long:
        by_tail.setdefault(name.rpartition(".")[2], []).append(name)
    found: Counter[str] = Counter()
    for name in short[:100]:
        for other in by_tail.get(name.rpartition(".")[2], ()):
            same = getattr(ours[name], "shape", None) == getattr(theirs[other], "shape", ())
            if same and other.endswith(f".{name}"):
                found[other[: -len(name)]] += 1
    return found.most_common(1)[0][0] if found else None


def require_fit(fit: Fit, source: str, target: str) -> None:
    """Refuse a checkpoint without any matching weights.

    Args:
        fit (Fit): The comparison of checkpoint and model.
        source (str): The file, for the message.
        target (str): Name of the model, for the message.

    Raises:
        CheckpointError: If the file has none of the parameters outside the heads, or its
            position embedding has another width.
    """
    other = [text for text in fit.misshapen if _resizable(text.partition(" ")[0])]
    if fit.share > 0 and other:
        raise CheckpointError(
            f"{source}: the file has another architecture than {target}: {_some(other)}. Use the "
            "model settings (width, heads) of the file"
        )
    if fit.share > 0:
        return
    raise CheckpointError(
        f"{source} contains no weight of {target}, so training would start from random weights"
        f"\n  {_examples(fit)}{_way_out(fit)}"
    )


def _examples(fit: Fit) -> str:
    model = _some(fit.missing) if fit.missing else _some(fit.misshapen)
    return f"the model has {model}; the file has {_some(fit.unexpected) or 'none of these'}"


def _way_out(fit: Fit) -> str:
    if fit.prefix:
        return (
            f"\n  (its names start with {fit.prefix!r}: load it with init_cfg=dict(type="
            f"'Pretrained', checkpoint=..., prefix={fit.prefix!r}) of the corresponding module)"
        )
    if fit.lacks_prefix:
        return (
            f"\n  (its names lack {fit.lacks_prefix!r}: set init_cfg=dict(type='Pretrained', "
            f"checkpoint=...) of that module instead)"
        )
    converting = (
        "convert official files of the five systems with "
        "python tools/model_converters/convert.py SYSTEM SRC DST"
    )
    if fit.below:
        key = fit.below[0]
        return (
            f"\n  (it has no state_dict, but may have weights under {key!r}: if they have the "
            "names of this model, extract them with torch.save(torch.load(FILE, "
            f"weights_only=True)[{key!r}], NEW); {converting})"
        )
    return f"\n  ({converting})"


def describe_fit(fit: Fit, source: str) -> str:
    """Summarize what is loaded from a checkpoint and what is not.

    Args:
        fit (Fit): The comparison of checkpoint and model.
        source (str): The file, for the message.

    Returns:
        str: One line if everything fits, otherwise one more line per kind of difference.
    """
    lines = [
        f"pretrained weights: {len(fit.loaded)} entries of {source}, {100 * fit.share:.1f}% of the "
        "parameters without the heads"
    ]
    if fit.remade:
        lines.append(f"different number of classes, initialized: {_some(fit.remade)}")
    if fit.missing:
        lines.append(f"not in the file, initialized: {_some(fit.missing)}")
    if fit.unexpected:
        lines.append(f"only in the file, ignored: {_some(fit.unexpected)}")
    if fit.misshapen:
        lines.append(f"different shape, initialized: {_some(fit.misshapen)}")
    way_out = _way_out(fit) if fit.share < 0.5 and (fit.prefix or fit.lacks_prefix) else ""
    return "\n  ".join(lines) + way_out


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def snapshot_resizable(model: nn.Module, state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Copy the entries that the model has to resize, to check afterwards that it did.

    Args:
        model (nn.Module): The model before the weights are loaded.
        state (Mapping[str, Any]): The state dict to load.

    Returns:
        dict[str, Tensor]: Copies of the model's entries whose size differs from the file's.
    """
    return {
        name: value.clone()
        for name, value in model.state_dict().items()
        if _resizable(name)
        and not name.endswith("relative_position_index")
        and name in state
        and tuple(state[name].shape) != tuple(value.shape)
    }


def require_resized(model: nn.Module, before: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights whose position embedding of another size was not resized.

    Args:
        model (nn.Module): The model after the weights were loaded.
        before (Mapping[str, Tensor]): Result of :func:`snapshot_resizable`.
        source (str): The file, for the message.

    Raises:
        CheckpointError: If an entry is unchanged.
    """
    state = model.state_dict()
    for name, value in before.items():
        if torch.equal(state[name], value):
            raise CheckpointError(
                f"{source}: {name} belongs to another image size, and {type(model).__name__} does "
                "not resize it. Train at the image size of the file, or remove the entry from the "
                "file to initialize it"
            )
