"""Forwarding of module paths and names that have moved since version 0.1, for one version.

``MOVED`` maps an old module to the modules that contain its names now; ``RENAMED`` maps individual
names. A finder at the end of ``sys.meta_path`` handles removed modules. A module that still exists
but lost some names uses :func:`forward` as its ``__getattr__``.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

#: Modules that are searched for the names of an old module, in order. An entry that ends
#: in .py is a file below tools/.
MOVED: dict[str, tuple[str, ...]] = {
    "smallvit.backbones.plain_vit": ("smallvit.backbones.base.plain_vit",),
    "smallvit.layers.stages": (
        "smallvit.backbones.base.common",
        "smallvit.backbones.base.staged",
    ),
    "smallvit.cli.bench": ("smallvit.bench",),
    "smallvit.cli.bench.findings": ("smallvit.bench.findings",),
    "smallvit.cli.bench.methods": ("smallvit.bench.methods",),
    "smallvit.cli.bench.outputs": ("smallvit.bench.outputs",),
    "smallvit.cli.bench.page": ("smallvit.bench.page",),
    "smallvit.cli.bench.plan": ("smallvit.bench.plan", "smallvit.bench.plan_file"),
    "smallvit.cli.bench.plots": ("smallvit.bench.plots",),
    "smallvit.cli.bench.progress": ("smallvit.bench.progress",),
    "smallvit.cli.bench.recipe": ("smallvit.bench.recipe",),
    "smallvit.cli.bench.report": ("smallvit.bench.report",),
    "smallvit.cli.bench.results": ("smallvit.bench.results",),
    "smallvit.cli.bench.run": ("smallvit.bench.run", "smallvit.bench.asked"),
    "smallvit.cli.bench.scheduler": ("smallvit.bench.scheduler",),
    "smallvit.cli.bench.table": ("smallvit.bench.table",),
    "smallvit.cli.bench.worker": ("smallvit.bench.worker", "smallvit.bench.hooks"),
    "smallvit.cli.coco_checks": ("smallvit.datasets.coco_checks",),
    "smallvit.cli.dataset_checks": (
        "smallvit.datasets.sample_checks",
        "smallvit.datasets.verification",
        "smallvit.datasets.parts",
    ),
    "smallvit.cli.errors": (
        "smallvit.cli.run_tool",
        "smallvit.errors",
        "smallvit.explain",
    ),
    "smallvit.cli.explain": (
        "smallvit.explain",
        "smallvit.utils.configs",
    ),
    "smallvit.cli.folder": ("smallvit.engine.folder",),
    "smallvit.cli.image_lists": (
        "smallvit.datasets.io.image_lists",
        "smallvit.utils.text",
    ),
    "smallvit.cli.lmdb_writer": ("smallvit.datasets.lmdb_writer",),
    "smallvit.cli.logs": ("smallvit.analysis.logs",),
    "smallvit.cli.parallel": (
        "smallvit.datasets.io.parallel",
        "smallvit.cli.arguments",
    ),
    "smallvit.cli.pictures": ("smallvit.analysis.pictures",),
    "smallvit.cli.runs": ("smallvit.engine.pipeline",),
    "smallvit.engine": ("smallvit.errors",),
    "smallvit.engine.archives": (
        "smallvit.engine.checkpoint.formats",
        "smallvit.engine.checkpoint.zip_checks",
        "smallvit.utils.files",
    ),
    "smallvit.engine.atomic": (
        "smallvit.engine.hooks.atomic_checkpoint",
        "smallvit.engine.checkpoint.newest",
    ),
    "smallvit.engine.bad_samples": ("smallvit.engine.hooks.bad_samples",),
    "smallvit.engine.benchmark": ("smallvit.analysis.benchmark",),
    "smallvit.engine.checkpoint": (
        "smallvit.engine.hooks.plain_checkpoint",
        "smallvit.compat.strict_loading",
        "smallvit.engine.checkpoint.plain",
        "smallvit.errors",
    ),
    "smallvit.engine.complexity": ("smallvit.analysis.complexity", "smallvit.engine.models"),
    "smallvit.engine.data_share": ("smallvit.engine.hooks.data_share",),
    "smallvit.engine.errors": ("smallvit.errors",),
    "smallvit.engine.exact_rois": ("smallvit.engine.hooks.float32_rois",),
    "smallvit.engine.fallback": ("smallvit.engine.checkpoint.newest",),
    "smallvit.engine.images": ("smallvit.datasets.io.images",),
    "smallvit.engine.labels": ("smallvit.datasets.labels",),
    "smallvit.engine.lmdb_backend": ("smallvit.datasets.io.lmdb_backend",),
    "smallvit.engine.mmengine_pickles": ("smallvit.engine.checkpoint.mmengine_pickles",),
    "smallvit.engine.non_finite": ("smallvit.engine.hooks.non_finite",),
    "smallvit.engine.published_rois": ("smallvit.analysis.published_rois",),
    "smallvit.engine.resume": ("smallvit.engine.hooks.resume",),
    "smallvit.engine.run_record": (
        "smallvit.engine.hooks.run_record",
        "smallvit.utils.data_fingerprint",
    ),
    "smallvit.engine.tasks": ("smallvit.analysis.fake_data",),
    "smallvit.engine.training_steps": ("smallvit.analysis.training_steps",),
    "smallvit.engine.untrusted": ("smallvit.engine.checkpoint.reading",),
    "smallvit.plugins.locality_guidance.classifier": ("smallvit.plugins.locality_guidance",),
    "smallvit.cli.config": (),
    "smallvit.datasets.checks": (),
    "smallvit.plugins.locality_guidance.precompute": (),
    "smallvit.plugins.locality_guidance.store_writer": (),
    "smallvit.plugins.multi_exit": ("smallvit.hosts.parts",),
    "smallvit.plugins.multi_exit.calibration": (),
    "smallvit.plugins.multi_exit.dynamic_vit": ("smallvit.hosts.plain",),
    "smallvit.plugins.multi_exit.plots": (),
    "smallvit.plugins.multi_exit.sites": ("smallvit.plugins.multi_exit.reuse_modules",),
    "smallvit.plugins.multi_exit.thresholds": (),
    "smallvit.engine.guard_cost": ("analysis_tools/guard_cost.py",),
    "smallvit.engine.plain_formulations": ("analysis_tools/plain_formulations.py",),
}

#: Names that were renamed, or moved to another module than the rest of their old module.
RENAMED: dict[str, str] = {
    "smallvit.cli.dataset_checks.IGNORED": "smallvit.datasets.label_maps.IGNORED",
    "smallvit.cli.dataset_checks.MISLABELLED": "smallvit.datasets.sample_checks.MISLABELED",
    "smallvit.cli.coco_checks.TOLERANCE": "smallvit.datasets.coco_objects.TOLERANCE",
    "smallvit.cli.bench.results.Difference": "smallvit.bench.chance.Difference",
    "smallvit.cli.bench.results.welch": "smallvit.bench.chance.welch",
    # Raises where the old function returned None.
    "smallvit.cli.bench.results.read_json": "smallvit.utils.json_files.read_object",
    "smallvit.cli.pictures.load_predictions": "smallvit.engine.predictions.read_predictions",
    "smallvit.engine.mmengine_pickles.read_mmengine": (
        "smallvit.engine.checkpoint.reading.load_from_local"
    ),
    "smallvit.cli.bench.plan.Settings": "smallvit.bench.settings.BenchSettings",
    "smallvit.cli.bench.recipe.Lesson": "smallvit.bench.recipe.TrainedTeacher",
    "smallvit.cli.config.merge_overrides": "smallvit.cli.config.finalize_config",
    "smallvit.cli.lmdb_writer.StoreWriter": "smallvit.datasets.lmdb_writer.LMDBWriter",
    "smallvit.cli.logs.Curve": "smallvit.analysis.logs.ScalarCurve",
    "smallvit.cli.runs.prepare": "smallvit.engine.pipeline.adapt_config",
    "smallvit.datasets.checks.choose": "smallvit.datasets.checks.check_choice",
    "smallvit.datasets.checks.require": "smallvit.datasets.checks.check_exists",
    "smallvit.engine.benchmark.Settings": "smallvit.analysis.benchmark.BenchmarkSettings",
    "smallvit.plugins.locality_guidance.precompute.Lesson": (
        "smallvit.plugins.locality_guidance.precompute.TeacherDataset"
    ),
    "smallvit.plugins.locality_guidance.store_writer.StoreWriter": (
        "smallvit.plugins.locality_guidance.store_writer.FeatureStoreWriter"
    ),
    "smallvit.plugins.multi_exit.Curve": (
        "smallvit.plugins.multi_exit.calibration.AccuracyCostCurve"
    ),
    "smallvit.plugins.multi_exit.calibration.Curve": (
        "smallvit.plugins.multi_exit.calibration.AccuracyCostCurve"
    ),
    "smallvit.plugins.multi_exit.calibration.judge": (
        "smallvit.plugins.multi_exit.calibration.score_exits"
    ),
    "smallvit.plugins.multi_exit.sites.relate": (
        "smallvit.plugins.multi_exit.reuse_modules.add_relation_bias"
    ),
    "smallvit.plugins.multi_exit.sites.widen": (
        "smallvit.plugins.multi_exit.reuse_modules.widen_feedforward"
    ),
    "smallvit.cli.runs.HOOKS_OF_EVERY_RUN": "smallvit.engine.guards.GUARDS",
    "smallvit.cli.runs.no_leftovers": "smallvit.engine.run_log.log_failures",
    "smallvit.engine.images.name_label_maps": "smallvit.compat.label_maps.install",
    "smallvit.plugins.locality_guidance.classifier.GuidedClassifier": (
        "smallvit.plugins.locality_guidance.build_guided_classifier"
    ),
    "smallvit.plugins.multi_exit.plots.easiest_and_hardest": (
        "smallvit.plugins.multi_exit.plots.surest_right_and_wrong"
    ),
    "smallvit.plugins.multi_exit.plots.plot_easiest_and_hardest": (
        "smallvit.plugins.multi_exit.plots.plot_surest"
    ),
    "smallvit.plugins.multi_exit.ReuseSite": "smallvit.hosts.parts.BlockParts",
    "smallvit.plugins.multi_exit.reuse_site": "smallvit.hosts.parts.block_parts",
    "smallvit.plugins.multi_exit.thresholds.EVERYBODY": (
        "smallvit.plugins.multi_exit.thresholds.ALWAYS_EXIT"
    ),
    "smallvit.plugins.multi_exit.thresholds.NOBODY": (
        "smallvit.plugins.multi_exit.thresholds.NEVER_EXIT"
    ),
    "smallvit.plugins.multi_exit.sites.ReuseSite": "smallvit.hosts.parts.BlockParts",
    "smallvit.plugins.multi_exit.sites.reuse_site": "smallvit.hosts.parts.block_parts",
}


def forward(old: str) -> Callable[[str], Any]:
    """Create ``__getattr__`` for a module whose names have moved.

    Args:
        old (str): Name of the module, a key of ``MOVED``.

    Returns:
        Callable: Looks up a name in its new module, with a ``DeprecationWarning``.
    """

    def look_up(name: str) -> Any:
        for place, new_name in _places(old, name):
            module = _load(place)
            if hasattr(module, new_name):
                new = f"{module.__name__}.{new_name}"
                warnings.warn(
                    f"{old}.{name} was renamed to {new}; the old path will be removed in the next "
                    "version",
                    DeprecationWarning,
                    stacklevel=2,
                )
                return getattr(module, new_name)
        raise AttributeError(f"module {old!r} has no attribute {name!r}")

    return look_up


def _places(old: str, name: str) -> list[tuple[str, str]]:
    """Modules to search, with the name to look up in each."""
    renamed = RENAMED.get(f"{old}.{name}")
    if renamed is not None:
        place, _, new_name = renamed.rpartition(".")
        return [(place, new_name)]
    return [] if name.startswith("__") else [(place, name) for place in MOVED[old]]


def _load(place: str) -> ModuleType:
    if not place.endswith(".py"):
        return importlib.import_module(place)
    name = Path(place).stem
    if name not in sys.modules:
        file = Path(__file__).absolute().parents[1] / ".mim" / "tools" / place
        if not file.is_file():
            raise ModuleNotFoundError(
                f"tools/{place} is not included in the wheel. Use a clone of the repository"
            )
        spec = importlib.util.spec_from_file_location(name, file)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


class MovedFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finder for old module paths, used if every other finder fails."""

    def find_spec(self, fullname, path=None, target=None) -> importlib.machinery.ModuleSpec | None:
        """Spec of a forwarding module if ``fullname`` has moved, else None."""
        if fullname not in MOVED:
            return None
        is_package = any(other.startswith(f"{fullname}.") for other in MOVED)
        return importlib.machinery.ModuleSpec(fullname, self, is_package=is_package)

    def exec_module(self, module: ModuleType) -> None:
        """Set the module's ``__getattr__``."""
        module.__getattr__ = forward(module.__name__)


def install() -> None:
    """Append the finder to ``sys.meta_path`` unless it is there already."""
    if not any(isinstance(finder, MovedFinder) for finder in sys.meta_path):
        sys.meta_path.append(MovedFinder())
