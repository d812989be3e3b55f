"""Import rules: which package may import which.

Imports inside functions count, and so do strings with module names, which MMEngine, a registry or
``importlib`` would import.
"""

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: The packages that each package may import directly; the relation is transitive.
ARROWS = {
    "utils": (),
    "registry": (),
    "errors": ("utils",),
    "ops": ("registry", "errors", "utils"),
    "layers": ("ops",),
    "backbones": ("layers",),
    "hosts": ("backbones",),
    "compat": ("errors", "utils"),
    "datasets": ("registry", "errors", "utils", "compat"),
    "converters": ("backbones",),
    "engine": ("datasets", "hosts", "converters", "compat"),
    "analysis": ("engine",),
    "plugins": ("analysis",),
    "apis": ("plugins",),
    "bench": ("apis",),
    "cli": ("bench",),
    "tools": ("cli",),
}
#: Files that may name packages they must not import, because that is their purpose.
EXCEPTIONS = {
    "projects/smallvit/compat/moved.py": "the table that forwards the old paths",
    "projects/smallvit/__init__.py": "registers by name, and imports none of it",
    "projects/smallvit/utils/__init__.py": "MMEngine looks for register_all_modules there",
    "projects/smallvit/__main__.py": "python -m smallvit is the command",
}
#: Known violations, by file. This list may only become shorter.
KNOWN: dict[str, set[str]] = {}

#: Names of modules or their members; registered names such as ``smallvit.DWNet`` do not match.
MODULE = re.compile(r"smallvit\.[a-z]\w*(\.\w+)*(:\w+)?")


def may_import(room: str) -> set[str]:
    """Return all packages that a package may import, including itself."""
    return {room}.union(*(may_import(other) for other in ARROWS[room]))


def room_of(module: str) -> str:
    """Return the package of one of our modules; each plugin counts as a package of its own."""
    room, *rest = module.split(".")[1:]
    if room == "explain":
        return "errors"  # part of the errors package: it prints errors
    return f"plugins.{rest[0]}" if room == "plugins" and rest else room


@cache
def modules() -> dict[str, Path]:
    """List every module of the package by name, at its actual location."""
    found = {}
    for folder, package in (("projects/smallvit", "smallvit"), ("plugins", "smallvit.plugins")):
        for path in (ROOT / folder).rglob("*.py"):
            below = path.relative_to(ROOT / folder)
            if below.parts[0] in ("plugins", ".mim") and folder != "plugins":
                continue  # symlinks to folders that are listed at their own location
            name = ".".join([package, *below.with_suffix("").parts])
            found[name.removesuffix(".__init__")] = path
    return found


def tools() -> list[Path]:
    return sorted((ROOT / "tools").rglob("*.py"))


def named_in(path: Path, package: str) -> Iterator[str]:
    """List our modules or their members that a file imports or names in a string."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{_origin(node, package)}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value]
        elif isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
            names = [str(node.values[0].value).rstrip(".")]
        else:
            continue
        yield from (name.replace(":", ".") for name in names if MODULE.fullmatch(name))


def _origin(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])])


def files() -> dict[str, tuple[str, Path, str]]:
    """Return the row of the table, path and package of each file, by path in the repository."""
    found = {}
    for name, path in modules().items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        room = room_of(name) if "." in name else ""
        found[path.relative_to(ROOT).as_posix()] = (room, path, package)
    for path in tools():
        found[path.relative_to(ROOT).as_posix()] = ("tools", path, "")
    return found


def test_names_found_in_a_file(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        "def late():\n"
        "    from smallvit.cli import run_tool\n"
        "from ..bench import plan\n"
        "import smallvit.engine.folder, torch\n"
        "LAZY = 'smallvit.engine.guards:add_guards'\n"
        "import_module(f'smallvit.plugins.{name}')\n"
        "TYPE, TEXT = 'smallvit.DWNet', 'see smallvit.cli'\n"
    )
    assert sorted(named_in(path, "smallvit.analysis.recipe")) == [
        "smallvit.analysis.bench.plan",
        "smallvit.cli.run_tool",
        "smallvit.engine.folder",
        "smallvit.engine.guards.add_guards",
        "smallvit.plugins",
    ]


def test_every_package_is_in_the_table():
    rooms = {room.partition(".")[0] for room, _, _ in files().values()} - {"", "__main__"}
    assert rooms <= set(ARROWS)


def test_imports_follow_the_table():
    backwards = {}
    for name, (room, path, package) in files().items():
        if name in EXCEPTIONS:
            continue
        kind, _, plugin = room.partition(".")
        allowed = may_import(kind) if kind else set()
        found = set()
        for module in named_in(path, package):
            other, _, other_plugin = room_of(module).partition(".")
            another_plugin = kind == other == "plugins" and plugin and other_plugin != plugin
            if other in ARROWS and (other not in allowed or another_plugin):
                found.add(module)
        if found:
            backwards[name] = found
    new = {name: found - KNOWN.get(name, set()) for name, found in backwards.items()}
    assert {name: found for name, found in new.items() if found} == {}
    gone = {name: known - backwards.get(name, set()) for name, known in KNOWN.items()}
    assert {name: known for name, known in gone.items() if known} == {}, "remove them from KNOWN"


def test_known_exceptions_still_apply():
    for name in EXCEPTIONS:
        room, path, package = files()[name]
        kind = room if room in ARROWS else "utils"
        named = {room_of(module).partition(".")[0] for module in named_in(path, package)}
        assert named - may_import(kind)


def test_module_names_in_strings_exist():
    """Strings with the name of a class must be updated when the class moves."""
    missing = {}
    for name, (_, path, package) in files().items():
        if name == "projects/smallvit/compat/moved.py":
            continue  # its keys were removed
        strange = [each for each in named_in(path, package) if not _is_there(each)]
        if strange:
            missing[name] = strange
    assert missing == {}


def _is_there(name: str) -> bool:
    if name in modules() or name.rpartition(".")[0] == "smallvit":
        return True
    module, rest = name, []
    while module and module not in modules():
        module, _, last = module.rpartition(".")
        rest.append(last)
    return module != "smallvit" and len(rest) == 1 and rest[0] in _defined(module)


@cache
def _defined(module: str) -> set[str]:
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


def foreign_classes() -> list[str]:
    """List full class names of other libraries in the strings of ``hosts``."""
    found = set()
    for name, path in modules().items():
        if name.startswith("smallvit.hosts"):
            strings = re.findall(r'"((?:mm\w+|timm)(?:\.\w+)+)"', path.read_text(encoding="utf-8"))
            found |= {text for text in strings if text.rpartition(".")[2][0].isupper()}
    return sorted(found)


def test_hosts_name_foreign_classes():
    assert {name.partition(".")[0] for name in foreign_classes()} >= {"mmpretrain", "timm"}


@pytest.mark.parametrize("name", foreign_classes())
def test_foreign_classes_of_hosts_resolve(name):
    pytest.importorskip(name.partition(".")[0])
    module, _, cls = name.rpartition(".")
    assert isinstance(getattr(importlib.import_module(module), cls), type)
