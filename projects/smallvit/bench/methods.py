"""Methods of the bench: networks, and techniques that can be added to them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from smallvit.errors import UserError, about

#: Maximum image size for the mini networks with small patches; larger images use published ones.
SMALL = 64


@dataclass(frozen=True)
class Base:
    """Network of the bench.

    Args:
        title (str): Short description.
        small (str): Config of its mini variant, relative to ``configs/``.
        large (str): Config of its published tiny variant.
        refuses (Mapping[str, str]): Techniques that cannot be added to it, with the reasons.
            Defaults to none.
    """

    title: str
    small: str
    large: str
    refuses: Mapping[str, str] = field(default_factory=dict)


ADDITIONS = {
    "shortcut": "a depth-wise convolution in parallel to every block",
    "guidance": "feature distillation from a small CNN on the same images (its time counts)",
    "guidance-offline": "the same, with precomputed features",
    "mimetic": "attention initialized to resemble pretrained networks (MimeticInit)",
    "structured": "attention initialized as random impulse filters (StructuredInit)",
    "masked": "self-supervised pretraining with masked images (its time counts)",
    "instance": "the same, with instance discrimination",
    "views": "the same, predicting a teacher's output for a larger crop",
    "probe": "linear probe of pretrained weights: only the classifier is trained",
}
GUIDANCES = ("guidance", "guidance-offline")
INITIALIZATIONS = {"mimetic": "smallvit.MimeticInit", "structured": "smallvit.StructuredInit"}
PRETRAININGS = ("masked", "instance", "views")
#: Groups of additions of which a method may have at most one.
ALTERNATIVES = {
    "form of guidance": GUIDANCES,
    "initialization": tuple(INITIALIZATIONS),
    "pretraining": PRETRAININGS,
}
_CASCADE = "it is a cascade of several networks"
_NO_ATTENTION = "it has convolutions instead of attention"
_REFERENCE = "it is the reference network"
_PROBED = (
    "a probe requires pretrained weights, timm:NAME:pretrained+probe or :pretrained=FILE+probe"
)
BASES = {
    "vit": Base("plain ViT", "dw_shortcut/vit-mini_digits.py", "dw_shortcut/vit-t_cifar100.py"),
    "dhvt": Base(
        "DHVT",
        "dhvt/dhvt-mini_digits.py",
        "dhvt/dhvt-t_in1k.py",
        {"structured": "it has no position embedding from which attention could be computed"},
    ),
    "dwnet": Base(
        "DWNet",
        "dwnet/dwnet-mini_digits.py",
        "dwnet/dwnet-t_in1k.py",
        dict.fromkeys(INITIALIZATIONS, _NO_ATTENTION),
    ),
    "dvt": Base(
        "DVT, running all exits",
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
#: Networks for detection and segmentation only.
DENSE_ONLY = ("swin", "cvt")
#: Linear probe, an addition for pretrained weights only.
PROBE = "probe"
ADDITIONS_OF_WEIGHTS = (PROBE, "guidance", "guidance-offline")
TIMM = "timm:"
#: Suffix of a timm model name: weights that timm downloads, or those of a file.
_WEIGHTS = re.compile(r"timm:[^=]+?:pretrained(?:=(?P<file>.+))?")
#: Small CNN that is the teacher, and the size of its input images.
TEACHER, TEACHER_SIZE = "teacher", 32
#: Method with the same network as the teacher, which may replace it.
REFERENCE = "resnet"


@dataclass(frozen=True)
class Method:
    """Method to compare: a network with optional additions.

    Args:
        name (str): Name given by the user, e.g. ``vit+shortcut``.
        base (str): Key of :data:`BASES`, ``timm:NAME`` or the path of a config.
        additions (tuple[str, ...]): Keys of :data:`ADDITIONS`. Defaults to none.
        guidance_weight (str): Weight of the guidance loss, a number or "balanced". Defaults to
            "": selected by trials.
    """

    name: str
    base: str
    additions: tuple[str, ...] = ()
    guidance_weight: str = ""

    @property
    def weights(self) -> str | None:
        """str | None: Source of pretrained weights, "timm" or a file; None if there are none."""
        found = _WEIGHTS.fullmatch(self.base)
        return None if found is None else found["file"] or "timm"

    @property
    def pretrained(self) -> bool:
        """bool: Whether training starts from pretrained weights."""
        return self.weights is not None

    @property
    def probe(self) -> bool:
        """bool: Whether the backbone is frozen (linear probe)."""
        return PROBE in self.additions

    @property
    def guided(self) -> bool:
        """bool: Whether it needs a teacher, which is trained first."""
        return bool(set(GUIDANCES) & set(self.additions))

    @property
    def offline(self) -> bool:
        """bool: Whether the teacher's features are stored before training."""
        return "guidance-offline" in self.additions

    @property
    def slug(self) -> str:
        """str: Name of its folder."""
        return re.sub(r"[^\w.+-]+", "_", self.name)

    @property
    def network(self) -> str:
        """str: Method with the same network, without guidance, initialization and pretraining."""
        passing = {*GUIDANCES, *INITIALIZATIONS, *PRETRAININGS}
        return "+".join([self.base, *(each for each in self.additions if each not in passing)])

    @property
    def pretraining(self) -> str | None:
        """str | None: Pretraining method, one of :data:`PRETRAININGS`."""
        return next((each for each in self.additions if each in PRETRAININGS), None)

    @property
    def initialization(self) -> str | None:
        """str | None: Registered name of the initializer of its attention."""
        return next(
            (INITIALIZATIONS[each] for each in self.additions if each in INITIALIZATIONS), None
        )


def drawn(name: str) -> str:
    """Shorten the name of a method for a plot.

    Args:
        name (str): Name of the method.

    Returns:
        str: Name in which file paths are reduced to the file name.
    """
    return re.sub(r"(=|^(?!timm:))[^=]*/(?=[^/]+$)", r"\1", name)


def is_pretrained(name: str) -> bool:
    """Check whether a method starts from pretrained weights.

    Args:
        name (str): Name of the method.

    Returns:
        bool: Whether the network has the suffix ``:pretrained``.
    """
    return _WEIGHTS.fullmatch(name.partition("+")[0]) is not None


def parse_method(name: str) -> Method:
    """Parse the name of a method: a network and its additions.

    Args:
        name (str): Name such as ``vit``, ``dhvt+guidance``, ``timm:resnet18``,
            ``my/config.py+shortcut`` or ``timm:resnet18:pretrained+probe``. ``+guidance=0.25``
            sets the weight of the guidance loss.

    Returns:
        Method: Parsed method.

    Raises:
        UserError: If a network or addition does not exist, or they cannot be combined.
    """
    base, *parts = name.split("+")
    additions = [part.partition("=")[0] for part in parts]
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
        raise UserError(f"--methods {name}: each addition may be used only once")
    for kind, several in ALTERNATIVES.items():
        if len(set(additions) & set(several)) > 1:
            raise UserError(f"--methods {name}: one {kind} of {', '.join(several)}")
    if PROBE in additions and len(additions) > 1:
        raise UserError(
            f"--methods {name}: a probe trains only the classifier and has no additions"
        )
    weight = next((_guidance_weight(name, part) for part in parts if "=" in part), "")
    return Method(name, base, tuple(additions), weight)


def _guidance_weight(name: str, part: str) -> str:
    addition, _, value = part.partition("=")
    number = re.fullmatch(r"\d*\.?\d+", value) and float(value) > 0
    if addition in GUIDANCES and (value == "balanced" or number):
        return value
    raise UserError(
        f"--methods {name}: {part}: only {' and '.join(GUIDANCES)} have a value, the weight of "
        "their loss: a positive number or balanced"
    )


def check_folders(names: Iterable[str]) -> None:
    """Check that no two methods share a folder or differ only in the order of their additions.

    In one folder, the results of one would be taken for the other's.

    Args:
        names (Iterable[str]): Names of the methods.

    Raises:
        UserError: If two do, such as ``a/b.py`` and ``a_b.py``.
    """
    owners: dict[str, str] = {}
    twins: dict[tuple, str] = {}
    for name in names:
        slug = Method(name, name).slug
        if owners.setdefault(slug, name) != name:
            raise UserError(
                f"--methods {name}: has the same folder, runs/{slug}, as {owners[slug]}: rename "
                "the file"
            )
        base, *parts = name.split("+")
        twin = twins.setdefault((base, *sorted(parts)), name)
        if twin != name:
            raise UserError(f"--methods {name}: is the same as {twin}; use one of these names")


def has_own_weight(name: str) -> bool:
    """Check whether the name of a method sets its guidance weight.

    Args:
        name (str): Name of the method, whose config file may no longer exist.

    Returns:
        bool: Whether it does.
    """
    return any(f"+{each}=" in name for each in GUIDANCES)


def _refusals(base: str) -> dict[str, str]:
    """Reasons why additions cannot be combined with a network, by addition."""
    if base in BASES:
        return {**BASES[base].refuses, PROBE: _PROBED}
    if base in DENSE_ONLY:
        others = set(ADDITIONS) - {"shortcut"}
        return dict.fromkeys(others, "it is only available for boxes and label maps")
    if _WEIGHTS.fullmatch(base):
        others = set(ADDITIONS) - set(ADDITIONS_OF_WEIGHTS)
        return dict.fromkeys(others, "it starts from pretrained weights")
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
        "timm:NAME and CONFIG.py, followed by +ADDITION; see --list-methods"
    )


def list_methods() -> str:
    """Describe all methods.

    Returns:
        str: One line per method.
    """
    lines = ["networks"]
    lines += [
        f"  {name:20}{base.title}: configs/{base.small}, above {SMALL}x{SMALL} {base.large}"
        for name, base in BASES.items()
    ]
    lines.append(f"  {TIMM + 'NAME':20}any timm model")
    lines.append(
        f"  {TIMM + 'NAME:pretrained':20}  the same with pretrained weights, fine-tuned at their "
        "input size; :pretrained=FILE for weights from a file"
    )
    lines.append(f"  {'CONFIG.py':20}the model of any classification config")
    lines.append("networks for boxes and label maps")
    lines.append(
        "  vit, dhvt, dwnet, swin, cvt: mini networks in Mask R-CNN, Faster R-CNN, UperNet"
    )
    lines.append("additions, as in vit+shortcut+guidance")
    lines += [f"  {'+' + name:20}{title}" for name, title in ADDITIONS.items()]
    lines.append(f"  {'+guidance=WEIGHT':20}guidance with this loss weight, a number or balanced")
    return "\n".join(lines)
