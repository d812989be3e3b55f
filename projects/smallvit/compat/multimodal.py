"""Import of MMPretrain with an incompatible version of ``transformers``.

If ``transformers`` is installed, MMPretrain imports it for its multi-modal models. Version 1.2
needs names that were removed in 4.52 (the onedl fork: in 5.0), and the failed import would make
all models unavailable, including ours. MMPretrain has a flag for environments without
``transformers``, which is cleared here if and only if the import would fail. MMPretrain then
reports each multi-modal model as unavailable. Remove this once it supports the current version.
"""

import ast
import importlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from smallvit.compat.after_import import patch_after_import

NAME = "mmpretrain.utils.dependency"
#: Packages of MMPretrain that its flag controls, relative to its folder.
MULTIMODAL = ("models/multimodal/**/*.py", "models/utils/*.py")


def install() -> None:
    """Make MMPretrain importable, now or later, with any version of ``transformers``."""
    patch_after_import(NAME, switch_off_if_broken)


def switch_off_if_broken(dependency: ModuleType) -> None:
    """Clear MMPretrain's flag if its multi-modal part cannot be imported, and log it.

    Args:
        dependency (ModuleType): ``mmpretrain.utils.dependency``, before the models are imported.
    """
    if not dependency.WITH_MULTIMODAL:
        return
    error = import_error(Path(dependency.__file__).parents[1])
    if error is None:
        return
    dependency.WITH_MULTIMODAL = False
    warnings.warn(
        f"this version of MMPretrain does not support transformers {_version()} ({error}); its "
        "multi-modal models are disabled, everything else works. MMPretrain 1.2 supports "
        "transformers 4.28 to 4.51, onedl-mmpretrain 1.3 versions below 5.0",
        stacklevel=2,
    )


def import_error(mmpretrain: Path) -> str | None:
    """Try to import every name of ``transformers`` that MMPretrain's multi-modal part imports.

    Args:
        mmpretrain (Path): MMPretrain's folder.

    Returns:
        str | None: Error of the first missing name, None if all exist.
    """
    sources = sorted(path for pattern in MULTIMODAL for path in mmpretrain.glob(pattern))
    wanted = (each for path in sources for each in _imports(path.read_text(encoding="utf-8")))
    for module, name in dict.fromkeys(wanted):
        try:
            _import(module, name)
        except Exception as error:  # transformers fails in various ways with an older torch
            return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return None


def _imports(source: str) -> Iterator[tuple[str, str | None]]:
    """Modules and names of ``transformers`` that a source file imports when it is executed."""
    if "transformers" not in source:
        return
    statements = list(ast.parse(source).body)
    for statement in statements:
        if isinstance(statement, ast.Try):
            # MMPretrain replaces missing names with None, and fails where it subclasses one.
            statements += statement.body
        elif isinstance(statement, ast.Import):
            yield from ((each.name, None) for each in statement.names if _is_theirs(each.name))
        elif isinstance(statement, ast.ImportFrom) and _is_theirs(statement.module or ""):
            yield from ((statement.module, each.name) for each in statement.names)


def _is_theirs(module: str) -> bool:
    return module.partition(".")[0] == "transformers"


def _import(module: str, name: str | None) -> None:
    found = importlib.import_module(module)
    if name is not None and not hasattr(found, name):
        raise ImportError(f"cannot import name {name!r} from {module!r}")


def _version() -> str:
    from importlib import metadata

    return metadata.version("transformers")
