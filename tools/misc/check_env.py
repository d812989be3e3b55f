#!/usr/bin/env python
"""Compare the installed packages with the supported versions, and print a fix for each mismatch.

Requires only Python and works without torch and the MM libraries. The exit status is 1 if a
required package is missing, has an unsupported version or is in conflict with another one.
"""

import argparse
import os
import re
import sys
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec

#: Oldest and newest Python that the tests run on (setup.cfg lists them as classifiers).
PYTHON_RANGE = ((3, 10), (3, 13))

#: Packages by import name; those with the same import name are mutually exclusive.
PROVIDERS = {
    "mmengine": ("mmengine", "onedl-mmengine"),
    "mmcv": ("mmcv-lite", "mmcv", "onedl-mmcv"),
    "mmpretrain": ("mmpretrain", "onedl-mmpretrain"),
    "mmdet": ("mmdet", "onedl-mmdetection"),
    "mmseg": ("mmsegmentation", "onedl-mmsegmentation"),
}
#: Optional packages and the features that require them.
OPTIONAL = {
    "mmdet": "detection",
    "mmseg": "segmentation",
    "ftfy": "segmentation",
    "regex": "segmentation",
    "tensorboard": "the TensorBoard back end",
    "future": "the TensorBoard back end",
    "lmdb": "image stores in LMDB",
    "statsmodels": "the tests of the bench's report",
}
#: Requirements files to check, named after the extras of the package; without that of the tests.
EXTRAS = ("runtime", "mm", "onedl", "optional")
#: Versions that MMPretrain's multi-modal models support; with others, smallvit disables them.
TRANSFORMERS = {"mmpretrain": ">=4.28,<4.52", "onedl-mmpretrain": ">=4.28,<5"}
OK, MISSING, WRONG, ABSENT, NOTE = "ok", "MISSING", "WRONG", "absent", "note"


@dataclass
class Row:
    """One line of the report.

    Args:
        name (str): Name of the package or feature.
        installed (str): Installed version.
        supported (str): Supported versions.
        status (str): One of ok, MISSING, WRONG, absent (optional), note.
        remedy (str): How to fix it, empty if nothing is wrong.
    """

    name: str
    installed: str
    supported: str
    status: str = OK
    remedy: str = ""


def requirements() -> dict[str, str]:
    """Return supported versions by package, from the checkout or the installed package."""
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../requirements")
    lines = []
    for name in EXTRAS:
        path = os.path.join(folder, f"{name}.txt")
        if os.path.isfile(path):
            with open(path) as file:
                lines += file.read().splitlines()
    if not lines:
        try:
            declared = metadata.requires("smallvit") or []
            lines = [line for line in declared if extra_of(line) in EXTRAS]
        except metadata.PackageNotFoundError:
            raise SystemExit(
                "error: found neither a requirements/ folder nor an installed smallvit: "
                "pip install -e ."
            ) from None
    found = (re.match(r"\s*([\w.-]+)\s*\(?([^;#)]*)", line) for line in lines)
    # If a package is in several files, use the one with version bounds.
    ranges: dict[str, str] = {}
    for match in filter(None, found):
        name, bounds = match[1].lower().replace("_", "-"), match[2].replace(" ", "")
        ranges[name] = bounds or ranges.get(name, "")
    return ranges


def extra_of(requirement: str) -> str:
    """Return the extra of a requirement of an installed package, or "runtime"."""
    found = re.search(r"extra\s*==\s*['\"]([\w-]+)", requirement)
    return found[1] if found else "runtime"


def installed_version(package: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def release(version: str) -> tuple[int, ...]:
    """Return the release segment of a version without trailing zeros: (2, 10) for "2.10.0+cpu"."""
    numbers = [int(part) for part in re.match(r"\d+(\.\d+)*", version)[0].split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def supports(bounds: str, version: str) -> bool:
    """Return whether a version satisfies bounds such as ">=2.1.0,<2.2.0"."""
    checks = {
        ">=": lambda have, bound: have >= bound,
        "<=": lambda have, bound: have <= bound,
        "==": lambda have, bound: have == bound,
        "!=": lambda have, bound: have != bound,
        ">": lambda have, bound: have > bound,
        "<": lambda have, bound: have < bound,
    }
    for bound in filter(None, bounds.split(",")):
        operator, number = re.match(r"([<>=!]=|[<>])(.*)", bound).groups()
        if not checks[operator](release(version), release(number)):
            return False
    return True


def pip(command: str) -> str:
    return f"{os.path.basename(sys.executable)} -m pip {command}"


def python_row() -> Row:
    oldest, newest = (".".join(map(str, version)) for version in PYTHON_RANGE)
    row = Row("python", ".".join(map(str, sys.version_info[:3])), f"{oldest} to {newest}")
    if sys.version_info[:2] < PYTHON_RANGE[0]:
        row.status, row.remedy = WRONG, f"use Python {oldest} to {newest}"
    elif sys.version_info[:2] > PYTHON_RANGE[1]:
        row.status, row.remedy = (
            NOTE,
            f"newer than the tested versions; use {newest} in case of problems",
        )
    return row


def package_row(name: str, bounds: str) -> Row:
    """Check a package without alternatives."""
    version = installed_version(name)
    row = Row(name, version or "-", bounds or "any")
    if version is None:
        row.status = ABSENT if name in OPTIONAL else MISSING
        row.remedy = pip(f'install "{name}{bounds}"')
        if name in OPTIONAL:
            row.remedy += f"  (for {OPTIONAL[name]})"
    elif not supports(bounds, version):
        row.status, row.remedy = WRONG, pip(f'install "{name}{bounds}"')
    return row


def provider_row(module: str, ranges: dict[str, str]) -> Row:
    """Check a module provided by several mutually exclusive packages."""
    # mmcv has the same version numbers as mmcv-lite, which is the same code without ops.
    bounds = {name: ranges.get(name, ranges.get("mmcv-lite", "")) for name in PROVIDERS[module]}
    there = {name: installed_version(name) for name in bounds}
    there = {name: version for name, version in there.items() if version is not None}
    default = PROVIDERS[module][0]
    if not there:
        row = Row(module, "-", f"{default}{bounds[default]}", MISSING)
        row.remedy = pip(f'install "{default}{bounds[default]}"')
        if module in OPTIONAL:
            row.status, row.remedy = ABSENT, f"{row.remedy}  (for {OPTIONAL[module]})"
        return row
    listed = ", ".join(f"{name} {version}" for name, version in there.items())
    first, *others = there
    row = Row(module, listed, f"{first}{bounds[first]}")
    if others:
        # They install into the same folder: uninstalling one breaks the other, so reinstall it.
        row.status = WRONG
        row.remedy = (
            pip(f"uninstall -y {' '.join(there)}")
            + " && "
            + pip(f'install "{first}{bounds[first]}"')
            + "  (they install into the same folder)"
        )
    elif not supports(bounds[first], there[first]):
        row.status, row.remedy = WRONG, pip(f'install "{first}{bounds[first]}"')
    return row


def mixture_row(ranges: dict[str, str]) -> list[Row]:
    """The maintained forks depend on each other: upstream and forks do not mix."""
    there = [name for names in PROVIDERS.values() for name in names if installed_version(name)]
    forks = [name for name in there if name.startswith("onedl-")]
    upstream = [name for name in there if not name.startswith("onedl-")]
    if not forks or not upstream:
        return []
    forked = [f"onedl-{name}" for name in ("mmengine", "mmcv", "mmpretrain", "mmdetection")]
    wanted = " ".join(f'"{name}{ranges.get(name, "")}"' for name in forked)
    row = Row("MM packages", "both kinds", "upstream or onedl-*", WRONG)
    row.remedy = pip(f"uninstall -y {' '.join(there)}") + " && " + pip(f"install {wanted}")
    return [row]


def ops_row() -> Row:
    """Check for compiled operators of mmcv without importing it."""
    spec = find_spec("mmcv")
    folder = os.path.dirname(spec.origin) if spec and spec.origin else None
    compiled = folder and any(name.startswith("_ext.") for name in os.listdir(folder))
    there = "compiled" if compiled else "provided by torchvision" if folder else "-"
    # The fix for a missing mmcv is in its own row.
    return Row("mmcv ops", there, "either", OK if folder else MISSING)


def setuptools_row(bounds: str) -> Row:
    """Check setuptools, which MMEngine needs for ``mmX::`` base configs without smallvit."""
    row = package_row("setuptools", bounds)
    if row.status == OK:
        return row
    if installed_version("onedl-mmengine") or not installed_version("mmengine"):
        return Row(row.name, row.installed, "any")
    row.status = WRONG
    row.remedy += (
        "  (without its pkg_resources, the tools of the MM packages cannot read our configs)"
    )
    return row


def transformers_rows() -> list[Row]:
    """Check transformers for MMPretrain's multi-modal models, which smallvit does not need."""
    version = installed_version("transformers")
    owner = next(filter(installed_version, TRANSFORMERS), None)
    if version is None or owner is None:
        return []
    row = Row("transformers", version, f"{TRANSFORMERS[owner]} or none")
    if not supports(TRANSFORMERS[owner], version):
        row.status = NOTE
        row.remedy = (
            f"{owner} {installed_version(owner)} cannot import it: smallvit disables its "
            "multi-modal models and works otherwise; to use them: "
            + pip(f'install "transformers{TRANSFORMERS[owner]}"')
        )
    return [row]


def device_row() -> Row:
    """Check the devices of torch."""
    try:
        import torch
    except ImportError as error:
        if not installed_version("torch"):
            return Row("devices", "-", "CPU or CUDA", NOTE, "install torch first")
        remedy = f"torch cannot be imported ({error}): {pip('install --force-reinstall torch')}"
        return Row("devices", "-", "CPU or CUDA", WRONG, remedy)
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        there = f"CUDA {torch.version.cuda}: " + ", ".join(sorted(set(names)))
        return Row("devices", f"{there} ({len(names)})", "CPU or CUDA")
    built = torch.version.cuda
    row = Row("devices", f"CPU, {os.cpu_count()} cores", "CPU or CUDA")
    if built:
        row.status = NOTE
        row.remedy = f"torch is built for CUDA {built} but sees no GPU: check nvidia-smi"
    return row


def report() -> list[Row]:
    """Run all checks.

    Returns:
        list[Row]: One row per check.
    """
    ranges = requirements()
    provided = {name for names in PROVIDERS.values() for name in names} | {"setuptools"}
    plain = [package_row(name, bounds) for name, bounds in ranges.items() if name not in provided]
    order = {MISSING: 0, WRONG: 0, OK: 0, ABSENT: 1}
    return [
        python_row(),
        *(provider_row(module, ranges) for module in PROVIDERS),
        *mixture_row(ranges),
        ops_row(),
        *sorted(plain, key=lambda row: order[row.status]),
        *transformers_rows(),
        setuptools_row(ranges.get("setuptools", "")),
        device_row(),
    ]


def main(argv=None) -> int:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args(argv)
    rows = [Row("", "installed", "supported", ""), *report()]
    widths = [
        max(len(getattr(row, key)) for row in rows) for key in ("name", "installed", "supported")
    ]
    for row in rows:
        print(
            f"{row.name:{widths[0]}}  {row.installed:{widths[1]}}  {row.supported:{widths[2]}}  "
            f"{row.status}".rstrip()
        )
    mend = [row for row in rows if row.remedy]
    if mend:
        print()
    for row in mend:
        print(f"{row.name}: {row.remedy}")
    return int(any(row.status in (MISSING, WRONG) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
