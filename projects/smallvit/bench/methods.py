"""What the bench can compare: networks, and the techniques that are added to them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

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
        refuses (Mapping[str, str]): Techniques that cannot be added to it, and why.
            Defaults to none.
    """

    title: str
    small: str
    large: str
    refuses: Mapping[str, str] = field(default_factory=dict)


ADDITIONS = {
    "shortcut": "a depth-wise convolution beside every block",
    "guidance": "a small CNN, trained on the same images, teaches the features (its time counts)",
    "guidance-offline": "the same from stored features of the CNN",
    "mimetic": "attention begins as that of pretrained networks looks (MimeticInit)",
    "structured": "attention begins as random impulse filters (StructuredInit)",
    "masked": "pretrained on images without labels, by hidden patches (its time counts)",
    "instance": "the same by telling each image from all others",
    "views": "the same by a teacher's view of a larger crop",
    "probe": "of pretrained weights: the classifier alone is trained, by their features",
}
GUIDANCES = ("guidance", "guidance-offline")
INITIALIZATIONS = {"mimetic": "smallvit.MimeticInit", "structured": "smallvit.StructuredInit"}
PRETRAININGS = ("masked", "instance", "views")
#: Of these a method has one at most.
ALTERNATIVES = {
    "form of guidance": GUIDANCES,
    "initialization": tuple(INITIALIZATIONS),
    "pretraining": PRETRAININGS,
}
_CASCADE = "it is a cascade of several networks, and this is for one"
_NO_ATTENTION = "its convolutions are no attention with queries and keys"
_REFERENCE = "it is the reference"
_PROBED = "a probe needs pretrained weights, timm:NAME:pretrained+probe or :pretrained=FILE+probe"
BASES = {
    "vit": Base("plain ViT", "dw_shortcut/vit-mini_digits.py", "dw_shortcut/vit-t_cifar100.py"),
    "dhvt": Base(
        "DHVT",
        "dhvt/dhvt-mini_digits.py",
        "dhvt/dhvt-t_in1k.py",
        {"structured": "it has no table of positions from which its attention could be computed"},
    ),
    "dwnet": Base(
        "DWNet",
        "dwnet/dwnet-mini_digits.py",
        "dwnet/dwnet-t_in1k.py",
        dict.fromkeys(INITIALIZATIONS, _NO_ATTENTION),
    ),
    "dvt": Base(
        "DVT, all exits run",
        "dvt/dvt-mini_digits.py",
        "dvt/dvt-t2t-12_in1k.py",
        dict.fromkeys((*INITIALIZATIONS, *PRETRAININGS), _CASCADE),
    ),
    "resnet": Base(
        "ResNet-20 (up to 64x64) or ResNet-18, the reference",
        "locality_guidance/resnet-20_digits.py",
        "locality_guidance/resnet-18_cifar100.py",
        {
            **dict.fromkeys(("shortcut", *GUIDANCES), _REFERENCE),
            **dict.fromkeys(INITIALIZATIONS, _NO_ATTENTION),
        },
    ),
}
#: Networks that the bench has for boxes and label maps alone.
DENSE_ONLY = ("swin", "cvt")
#: A linear probe: an addition, of pretrained weights alone.
PROBE = "probe"
ADDITIONS_OF_WEIGHTS = (PROBE, "guidance", "guidance-offline")
TIMM = "timm:"
#: Behind the name of a model of timm: weights that timm fetches, or those of a file.
_WEIGHTS = re.compile(r"timm:[^=]+?:pretrained(?:=(?P<file>.+))?")
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
    def weights(self) -> str | None:
        """str | None: Where a pretrained network's weights are: "timm", or a file."""
        found = _WEIGHTS.fullmatch(self.base)
        return None if found is None else found["file"] or "timm"

    @property
    def pretrained(self) -> bool:
        """bool: Whether it begins with weights from elsewhere."""
        return self.weights is not None

    @property
    def probe(self) -> bool:
        """bool: Whether its backbone stays as it is."""
        return PROBE in self.additions

    @property
    def guided(self) -> bool:
        """bool: Whether a teacher is trained first."""
        return bool(set(GUIDANCES) & set(self.additions))

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
        """str: The method whose network is left when teacher and start are forgotten."""
        passing = {*GUIDANCES, *INITIALIZATIONS, *PRETRAININGS}
        return "+".join([self.base, *(each for each in self.additions if each not in passing)])

    @property
    def pretraining(self) -> str | None:
        """str | None: How it is pretrained, a name of :data:`PRETRAININGS`."""
        return next((each for each in self.additions if each in PRETRAININGS), None)

    @property
    def initialization(self) -> str | None:
        """str | None: Registered name of what initializes its attention."""
        return next(
            (INITIALIZATIONS[each] for each in self.additions if each in INITIALIZATIONS), None
        )


def drawn(name: str) -> str:
    """Shorten a method for a picture.

    Args:
        name (str): The method, as the user wrote it.

    Returns:
        str: Of the path of a file in it, the end.
    """
    return re.sub(r"(=|^(?!timm:))[^=]*/(?=[^/]+$)", r"\1", name)


def is_pretrained(name: str) -> bool:
    """Tell whether a method begins with weights from elsewhere.

    Args:
        name (str): The method, as the user wrote it.

    Returns:
        bool: Whether it does.
    """
    return _WEIGHTS.fullmatch(name.partition("+")[0]) is not None


def parse_method(name: str) -> Method:
    """Read a method as the user writes it: a base and what is added to it.

    Args:
        name (str): E.g. ``vit``, ``dhvt+guidance``, ``timm:resnet18``, ``my/config.py+shortcut``,
            ``timm:resnet18:pretrained+probe``.

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
    reasons = _refusals(base)
    refused = next((each for each in additions if each in reasons), None)
    if refused:
        can = ", ".join(each for each in ADDITIONS if each not in reasons) or "nothing"
        raise UserError(
            f"--methods {name}: {refused} cannot be added to {base}: {reasons[refused]}; {can} can"
        )
    if len(set(additions)) < len(additions):
        raise UserError(f"--methods {name}: each technique once")
    for kind, several in ALTERNATIVES.items():
        if len(set(additions) & set(several)) > 1:
            raise UserError(f"--methods {name}: one {kind} of {', '.join(several)}")
    if PROBE in additions and len(additions) > 1:
        raise UserError(
            f"--methods {name}: a probe trains the classifier alone, and nothing is added to it"
        )
    return Method(name, base, tuple(additions))


def _refusals(base: str) -> dict[str, str]:
    """Say of each addition that does not go with a network why."""
    if base in BASES:
        return {**BASES[base].refuses, PROBE: _PROBED}
    if base in DENSE_ONLY:
        others = set(ADDITIONS) - {"shortcut"}
        return dict.fromkeys(others, "it is here for boxes and label maps alone")
    if _WEIGHTS.fullmatch(base):
        others = set(ADDITIONS) - set(ADDITIONS_OF_WEIGHTS)
        return dict.fromkeys(others, "it begins with weights from elsewhere")
    return {PROBE: _PROBED}


def _check_base(name: str, base: str) -> None:
    if base in (*BASES, *DENSE_ONLY) or (base.startswith(TIMM) and len(base) > len(TIMM)):
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
    lines.append(
        f"  {TIMM + 'NAME:pretrained':20}  the same with its weights, fine-tuned at the size that "
        "they are for; :pretrained=FILE for a file"
    )
    lines.append(f"  {'CONFIG.py':20}the model of any config for image classification")
    lines.append("networks for boxes and label maps")
    lines.append(
        "  vit, dhvt, dwnet, swin, cvt: their mini forms in Mask R-CNN, Faster R-CNN, UperNet"
    )
    lines.append("additions, as in vit+shortcut+guidance")
    lines += [f"  {'+' + name:20}{title}" for name, title in ADDITIONS.items()]
    return "\n".join(lines)
