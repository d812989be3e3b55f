"""What the bench can compare: networks, and the techniques that are added to them."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from smallvit.errors import UserError, about

#: Images up to this size get the mini networks with small patches, larger ones the published.
SMALL = 64


@dataclass(frozen=True)
class Base:
    """A network of the bench.

    Args:
        title (str): What it is, in a few words.
        small (str): Config below ``configs/`` that has its mini form.
        large (str): Config that has its published tiny form.
        additions (tuple[str, ...]): Techniques that can be added to it.
    """

    title: str
    small: str
    large: str
    additions: tuple[str, ...] = ("shortcut", "guidance", "guidance-offline")


BASES = {
    "vit": Base("plain ViT", "dw_shortcut/vit-mini_digits.py", "dw_shortcut/vit-t_cifar100.py"),
    "dhvt": Base("DHVT", "dhvt/dhvt-mini_digits.py", "dhvt/dhvt-t_in1k.py"),
    "dwnet": Base("DWNet", "dwnet/dwnet-mini_digits.py", "dwnet/dwnet-t_in1k.py"),
    "dvt": Base("DVT, all exits run", "dvt/dvt-mini_digits.py", "dvt/dvt-t2t-12_in1k.py"),
    "resnet": Base(
        "ResNet-20 (up to 64x64) or ResNet-18, the reference",
        "locality_guidance/resnet-20_digits.py",
        "locality_guidance/resnet-18_cifar100.py",
        (),
    ),
}
ADDITIONS = {
    "shortcut": "a depth-wise convolution beside every block",
    "guidance": "a small CNN, trained on the same images, teaches the features (its time counts)",
    "guidance-offline": "the same from stored features of the CNN",
}
TIMM = "timm:"
#: The small CNN that teaches; it sees images of this size.
TEACHER, TEACHER_SIZE = "teacher", 32
#: The method that is the teacher's network, and may stand for it.
REFERENCE = "resnet"


@dataclass(frozen=True)
class Method:
    """One thing to compare.

    Args:
        name (str): As the user wrote it, e.g. ``vit+shortcut``.
        base (str): A key of :data:`BASES`, ``timm:NAME`` or the path of a config.
        additions (tuple[str, ...]): Keys of :data:`ADDITIONS`. Defaults to none.
    """

    name: str
    base: str
    additions: tuple[str, ...] = ()

    @property
    def guided(self) -> bool:
        """bool: Whether a teacher is trained first."""
        return bool({"guidance", "guidance-offline"} & set(self.additions))

    @property
    def offline(self) -> bool:
        """bool: Whether the teacher's features are stored before the training."""
        return "guidance-offline" in self.additions

    @property
    def slug(self) -> str:
        """str: A name for its folder."""
        return re.sub(r"[^\w.+-]+", "_", self.name)

    @property
    def network(self) -> str:
        """str: The method whose network is left when the teacher has gone."""
        kept = [each for each in self.additions if not each.startswith("guidance")]
        return "+".join([self.base, *kept])


def parse_method(name: str) -> Method:
    """Read a method as the user writes it: a base and what is added to it.

    Args:
        name (str): E.g. ``vit``, ``dhvt+guidance``, ``timm:resnet18``, ``my/config.py+shortcut``.

    Returns:
        Method: The method.

    Raises:
        UserError: If there is no such base or addition, or they do not go together.
    """
    base, *additions = name.split("+")
    _check_base(name, base)
    for addition in additions:
        if addition not in ADDITIONS:
            raise UserError(
                f"--methods {name}: no addition {addition!r}; there are {', '.join(ADDITIONS)}"
            )
    allowed = BASES[base].additions if base in BASES else tuple(ADDITIONS)
    refused = [each for each in additions if each not in allowed]
    if refused:
        can = ", ".join(allowed) or "nothing"
        raise UserError(f"--methods {name}: {refused[0]} cannot be added to {base}; {can} can")
    if len(set(additions)) < len(additions) or {"guidance", "guidance-offline"} <= set(additions):
        raise UserError(f"--methods {name}: each technique once, and one form of guidance")
    return Method(name, base, tuple(additions))


def _check_base(name: str, base: str) -> None:
    if base in BASES or (base.startswith(TIMM) and len(base) > len(TIMM)):
        return
    if base.endswith(".py"):
        from smallvit.engine.config_files import find_config

        with about(f"--methods {name}"):
            find_config(base)
        return
    near = difflib.get_close_matches(base, BASES, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UserError(
        f"--methods {name}: no method {base!r}{hint} There are {', '.join(BASES)}, "
        "timm:NAME and CONFIG.py, with +ADDITION behind; --list-methods explains them"
    )


def list_methods() -> str:
    """Describe all methods.

    Returns:
        str: A line for each.
    """
    lines = ["networks"]
    lines += [
        f"  {name:20}{base.title}: configs/{base.small}, above {SMALL}x{SMALL} {base.large}"
        for name, base in BASES.items()
    ]
    lines.append(f"  {TIMM + 'NAME':20}any model of timm")
    lines.append(f"  {'CONFIG.py':20}the model of any config for image classification")
    lines.append("additions, as in vit+shortcut+guidance")
    lines += [f"  {'+' + name:20}{title}" for name, title in ADDITIONS.items()]
    return "\n".join(lines)
