"""Checks of a backbone with DW shortcuts, as a student, and as an exit of a cascade."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import product
from typing import Any, cast

import torch
from torch import Tensor, nn

from smallvit.hosts import HostError, HostView, Taps, view_host
from smallvit.hosts.probe import channels_for, sizes_for
from smallvit.hosts.trial import tensors_of
from smallvit.plugins.dw_shortcut import attach_dw_shortcuts
from smallvit.plugins.locality_guidance.guidance import LocalityGuidance
from smallvit.plugins.multi_exit.dynamic_vit import DynamicViT

#: Checks of DW shortcuts, in the order in which the table lists them.
CHECKS = ("effect", "zero", "gradient", "corners", "state dict", "checkpointing", "bfloat16")
_CORNERS = ((0, 0), (0, -1), (-1, 0), (-1, -1))


def shape_of(host: nn.Module) -> tuple[int, int, int]:
    """Find an input shape that a backbone accepts, preferably not square.

    Args:
        host (nn.Module): Backbone to run.

    Returns:
        tuple[int, int, int]: Channels, height and width.

    Raises:
        ValueError: If the backbone accepts none of the shapes that are tried.
    """
    error = None
    inner = getattr(host, "timm_model", host)
    host.eval()
    for size, channels in product(sizes_for(inner), channels_for(inner)):
        try:
            with torch.no_grad():
                host(torch.zeros(2, channels, *size))
            return channels, *size
        except Exception as fault:
            error = error or fault
    raise ValueError(f"a forward pass with only a batch of images fails: {short(error)}")


def short(error: BaseException | None) -> str:
    """Format the first line of an error for a table cell, without memory addresses."""
    text = f"{type(error).__name__}: {error}".split("\n")[0]
    return text.partition(" object at 0x")[0][:300].rstrip(": ")


class ShortcutChecks:
    """Attach DW shortcuts to a host and check outputs, gradients and checkpoints.

    Args:
        host (nn.Module): Backbone, modified in place.
        shape (tuple[int, int, int]): Channels, height and width of the images.

    Raises:
        HostError: If the backbone is not supported as a host.
    """

    def __init__(self, host: nn.Module, shape: tuple[int, int, int]) -> None:
        self.host = host
        self.images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(2))
        self.view: HostView = view_host(host)
        self.plain = {key: value.clone() for key, value in host.state_dict().items()}
        # Some backbones do not save what depends on the image size.
        self.missing = set(host.load_state_dict(dict(self.plain), strict=False).missing_keys)
        self.expected = self._outputs()
        self.rounded = self.expected
        with suppress(Exception):  # reported by the bfloat16 check
            self.rounded = self._in_bfloat16()
        attach_dw_shortcuts(host)
        self.convs = [m.conv for m in host.dw_shortcuts.modules() if hasattr(m, "conv")]

    def run(self) -> dict[str, str]:
        """Run all checks.

        Returns:
            dict[str, str]: By check, "" if it passes, "-" if it does not apply, else the reason.
        """
        asked = {name: getattr(self, name.replace(" ", "_")) for name in CHECKS}
        return {name: _result(check) for name, check in asked.items()}

    def _outputs(self) -> list[Tensor]:
        self.host.eval()
        with torch.no_grad():
            return tensors_of(self.host(self.images))

    def effect(self) -> str:
        """Check that the output depends on the weights of the first shortcut."""
        # A constant would vanish in a norm, and some layer scales start at 1e-6.
        plain = self._outputs()
        with _changed(self.convs[0].bias, 10 * _weights(self.convs[0].bias)):
            same = all(map(torch.equal, self._outputs(), plain))
        return "the output does not depend on the weights" if same else ""

    def zero(self) -> str:
        """Check that shortcuts with zero weights do not change the output."""
        values = [(p, p.detach().clone()) for conv in self.convs for p in conv.parameters()]
        with torch.no_grad():
            for parameter, _ in values:
                parameter.zero_()
            outputs = self._outputs()
            for parameter, value in values:
                parameter.copy_(value)
        return "" if _alike(outputs, self.expected) else "the output changes"

    def gradient(self) -> str:
        """Check that every shortcut receives a gradient."""
        gradients = self._gradients()
        found = [each for each in gradients if each is not None]
        missing = len(gradients) - len(found)
        if missing:
            return f"no gradient at {missing} of {len(gradients)} shortcuts"
        return "" if found[0].abs().sum() > 0 else "the gradient of the first shortcut is zero"

    def corners(self) -> str:
        """Check that a change in a corner of the image appears in that corner of the first map."""
        for share in (0.1, 0.25):  # with a patch size of 14, the last 12 of 96 pixels are cut off
            where = self._seen_of_corners(share)
            if bool((where.flatten(1).amax(1) > 0).all()):
                break
        height, width = where.shape[1:]
        for index, (row, column) in enumerate(_CORNERS):
            found = divmod(int(where[index].argmax()), width)
            aim = (row % height, column % width)
            off = [
                abs(a - b) > max(1, side // 8)
                for a, b, side in zip(found, aim, (height, width), strict=True)
            ]
            if any(off):
                return f"corner {aim} appears at {found} of {height} x {width}"
        return ""

    def _seen_of_corners(self, share: float) -> Tensor:
        """Measure how a change in each image corner changes the first block's map, (4, H, W)."""
        self.host.eval()
        images = self.images[:1].repeat(5, 1, 1, 1)
        for index, corner in enumerate(_CORNERS, 1):
            rows, columns = (
                slice(0, int(n * share)) if at == 0 else slice(n - int(n * share), n)
                for at, n in zip(corner, images.shape[2:], strict=True)
            )
            images[index, :, rows, columns] += 3
        with Taps(self.view, [0], where="input") as taps, torch.no_grad():
            self.host(images)
            maps = taps.maps()[0].float()
        return (maps[1:] - maps[:1]).abs().mean(1)

    def state_dict(self) -> str:
        """Check that the host's keys are unchanged and a checkpoint of the plain host loads."""
        own = {key for key in self.host.state_dict() if not key.startswith("dw_shortcuts.")}
        if own != set(self.plain):
            return f"keys differ: {sorted(own ^ set(self.plain))[:2]}"
        missing, unexpected = self.host.load_state_dict(dict(self.plain), strict=False)
        new = set(missing) - self.missing
        wrong = [*unexpected, *(key for key in new if not key.startswith("dw_shortcuts."))]
        return f"a plain checkpoint differs in {wrong[:2]}" if wrong else ""

    def checkpointing(self) -> str:
        """Check that gradient checkpointing does not change the gradients."""
        switch = _checkpointing_of(self.host)
        if switch is None:
            return "-"
        expected = self._gradients()
        with switch:
            actual = self._gradients()
        pairs = zip(actual, expected, strict=True)
        same = all(a is b is None or _close(a, b) for a, b in pairs)
        return "" if same else "the gradients differ"

    def bfloat16(self) -> str:
        """Compare the bfloat16 error of the output with that of the plain host."""
        allowed = max(0.2, 3 * _off(self.rounded, self.expected))
        off = _off(self._in_bfloat16(), self._outputs())
        if off < allowed:
            return ""
        return f"the relative error of the output is {off:.2f}, above the limit of {allowed:.2f}"

    def _in_bfloat16(self) -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            return self._outputs()

    def _gradients(self) -> list[Tensor | None]:
        buffers = [(each, each.clone()) for each in self.host.buffers()]
        self.host.train()
        torch.manual_seed(3)
        try:
            outputs = tensors_of(self.host(self.images))
            total = sum((each.float() * _weights(each)).sum() for each in outputs)
            total.backward()  # reentrant checkpointing does not support torch.autograd.grad
            return [conv.weight.grad for conv in self.convs]
        finally:
            self.host.zero_grad(set_to_none=True)
            self.host.eval()
            for buffer, value in buffers:
                buffer.copy_(value)


def _result(check: Callable[[], str]) -> str:
    try:
        return check()
    except Exception as error:
        return short(error)


@contextmanager
def _changed(parameter: Tensor, by: Tensor) -> Iterator[None]:
    with torch.no_grad():
        parameter += by
        yield
        parameter -= by


def _off(actual: list[Tensor], expected: list[Tensor]) -> float:
    pairs = zip(actual, expected, strict=True)
    return max(float((a.float() - b).abs().max() / b.abs().max().clamp(1e-6)) for a, b in pairs)


def _weights(x: Tensor) -> Tensor:
    return torch.linspace(-1, 1, x.numel()).reshape(x.shape).sin()


def _alike(actual: list[Tensor], expected: list[Tensor]) -> bool:
    return len(actual) == len(expected) and all(map(_close, actual, expected))


def _close(a: Tensor, b: Tensor) -> bool:
    scale = float(b.abs().max()) if b.numel() else 0.0
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-3, atol=1e-4 * max(scale, 1.0))


def _checkpointing_of(host: nn.Module) -> Any:
    inner = getattr(host, "timm_model", host)
    modules = [m for m in host.modules() if "with_cp" in m.__dict__]
    if modules:
        return _switched(modules)
    if hasattr(inner, "set_grad_checkpointing"):
        try:
            inner.set_grad_checkpointing(True)
            inner.set_grad_checkpointing(False)
        except (AssertionError, TypeError):
            return None
        return _timm_checkpointing(inner)
    return None


@contextmanager
def _switched(modules: list[nn.Module]) -> Iterator[None]:
    before = [module.with_cp for module in modules]
    try:
        for module in modules:
            module.with_cp = True
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.with_cp = value


@contextmanager
def _timm_checkpointing(model: nn.Module) -> Iterator[None]:
    model.set_grad_checkpointing(True)
    try:
        yield
    finally:
        model.set_grad_checkpointing(False)


class _Student(nn.Module):
    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.data_preprocessor = None


def as_student(host: nn.Module, shape: tuple[int, int, int]) -> str:
    """Check that a host can be trained with locality guidance from a small ResNet.

    Args:
        host (nn.Module): Student backbone.
        shape (tuple[int, int, int]): Channels, height and width of the images.

    Returns:
        str: Error message, empty on success.
    """
    teacher: dict[str, Any] = dict(model=dict(type="smallvit.CifarResNet", depth=8))
    try:
        if shape[0] != 3:
            teacher["channels"] = "average"
        guidance = LocalityGuidance(_Student(host), teacher)
        cast(Any, guidance.teacher).loaded = guidance.is_ready = True
        images = torch.randn(2, *shape)
        host.train()
        with guidance.recording():
            host(images)
            loss = guidance.add_losses({}, images, [])["loss_guidance"]
        weights = [p for p in host.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        seen = any(each is not None and each.abs().sum() > 0 for each in gradients)
        return "" if seen and bool(loss.isfinite()) else "the host receives no gradient"
    except Exception as error:
        return short(error)
    finally:
        host.eval()


def as_exit(host: nn.Module, shape: tuple[int, int, int]) -> str:
    """Check that a backbone can be an exit of ``DynamicViT``.

    Args:
        host (nn.Module): Backbone of the only exit.
        shape (tuple[int, int, int]): Channels, height and width of the images.

    Returns:
        str: Error message, empty on success.
    """
    try:
        cascade = DynamicViT([host], feature_reuse=False, relation_reuse=False)
        with torch.no_grad():
            out = cascade.eval()(torch.randn(2, *shape))[-1]
    except Exception as error:
        return short(error)
    if isinstance(out, Tensor) and out.ndim == 2:
        return ""
    return f"returns {_told(out)} instead of a vector (B, C)"


def _told(out: Any) -> str:
    if isinstance(out, Tensor):
        return f"a tensor {tuple(out.shape)}"
    return f"a {type(out).__name__}"


def maps_of(host: nn.Module, shape: tuple[int, int, int]) -> list[Tensor]:
    """Compute the feature maps that a neck or a decode head receives from a backbone.

    Args:
        host (nn.Module): Backbone to run.
        shape (tuple[int, int, int]): Channels, height and width of the images.

    Returns:
        list[Tensor]: Feature maps of shape (B, C, H, W).

    Raises:
        HostError: If the output is not a tuple of feature maps.
    """
    host.eval()
    with torch.no_grad():
        out = host(torch.randn(2, *shape))
    if not isinstance(out, (tuple, list)):
        raise HostError(f"returns {_told(out)} instead of a tuple of feature maps")
    for each in out:
        if not isinstance(each, Tensor) or each.ndim != 4:
            raise HostError(f"returns {_told(each)} in its tuple instead of a map (B, C, H, W)")
    return list(out)


def takes(cls: type, name: str) -> bool:
    """Check whether a constructor accepts an argument, possibly through ``**kwargs`` of a base.

    Args:
        cls (type): Class whose ``__init__`` is inspected.
        name (str): Name of the argument.

    Returns:
        bool: Whether it is accepted.
    """
    for each in cls.__mro__:
        own = (
            inspect.signature(vars(each)["__init__"]).parameters if "__init__" in vars(each) else {}
        )
        if name in own:
            return True
        if own and not any(p.kind is p.VAR_KEYWORD for p in own.values()):
            return False
    return False
