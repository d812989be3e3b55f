"""Who may import whom: the rooms of the house, and arrows between them that run one way.

An import inside a function counts, and so does a string that names a module, by which MMEngine,
a registry or ``importlib`` would import it.
"""

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: The rooms that each may import, without those that these may.
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
#: Files that name rooms which they may not import, because that is what they are for.
EXCEPTIONS = {
    "projects/smallvit/compat/moved.py": "the table that forwards the old paths",
    "projects/smallvit/__init__.py": "registers by name, and imports none of it",
    "projects/smallvit/utils/__init__.py": "MMEngine looks for register_all_modules there",
    "projects/smallvit/__main__.py": "python -m smallvit is the command",
}
#: Arrows that run back today, by file. It may only become shorter.
KNOWN: dict[str, set[str]] = {}

#: A module, or something in it; registered names such as ``smallvit.DWNet`` are not among them.
MODULE = re.compile(r"smallvit\.[a-z]\w*(\.\w+)*(:\w+)?")


def may_import(room: str) -> set[str]:
    """All rooms that one may import, itself among them."""
    return {room}.union(*(may_import(other) for other in ARROWS[room]))


def room_of(module: str) -> str:
    """The room of one of our modules; each plugin is a room of its own."""
    room, *rest = module.split(".")[1:]
    if room == "explain":
        return "errors"  # it stands beside them and prints them
    return f"plugins.{rest[0]}" if room == "plugins" and rest else room


@cache
def modules() -> dict[str, Path]:
    """Every module of the package, by name, where it lives."""
    found = {}
    for folder, package in (("projects/smallvit", "smallvit"), ("plugins", "smallvit.plugins")):
        for path in (ROOT / folder).rglob("*.py"):
            below = path.relative_to(ROOT / folder)
            if below.parts[0] in ("plugins", ".mim") and folder != "plugins":
                continue  # links to folders that are looked at where they are
            name = ".".join([package, *below.with_suffix("").parts])
            found[name.removesuffix(".__init__")] = path
    return found


def tools() -> list[Path]:
    return sorted((ROOT / "tools").rglob("*.py"))


def named_in(path: Path, package: str) -> Iterator[str]:
    """Modules of ours, or things in them, that a file imports or names in a string."""
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
    """Room, path and package of all files that have one, by their paths in the repository."""
    found = {}
    for name, path in modules().items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        room = room_of(name) if "." in name else ""
        found[path.relative_to(ROOT).as_posix()] = (room, path, package)
    for path in tools():
        found[path.relative_to(ROOT).as_posix()] = ("tools", path, "")
    return found


def test_what_counts_as_naming_a_module(tmp_path):
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


def test_every_room_is_in_the_table():
    rooms = {room.partition(".")[0] for room, _, _ in files().values()} - {"", "__main__"}
    assert rooms <= set(ARROWS)


def test_the_arrows_run_one_way():
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


def test_an_exception_is_one():
    for name in EXCEPTIONS:
        room, path, package = files()[name]
        kind = room if room in ARROWS else "utils"
        named = {room_of(module).partition(".")[0] for module in named_in(path, package)}
        assert named - may_import(kind)


def test_strings_name_what_is_there():
    """A class that moves takes the strings along that know it by name."""
    missing = {}
    for name, (_, path, package) in files().items():
        if name == "projects/smallvit/compat/moved.py":
            continue  # its keys are gone
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
    """Full names of classes of other libraries in the strings of ``hosts``."""
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
