"""MMPretrain with compatible and incompatible releases of transformers."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

import fresh
from smallvit.compat import multimodal

MODULES = (
    *("", "activations", "modeling_outputs", "modeling_utils", "pytorch_utils", "utils"),
    *("models", "models.auto", "models.auto.auto_factory", "generation", "generation.utils"),
    *("models.bert", "models.bert.configuration_bert"),
    *("models.opt", "models.opt.configuration_opt"),
)
ANY_NAME = """
def __getattr__(name):
    if name.startswith("__") or name in {missing!r}:
        raise AttributeError(name)
    return type(name, (), dict(from_pretrained=None))
"""
#: Names imported by MMPretrain 1.2 that later releases removed.
LACKING = {
    "4.53.0": ["GenerationMixin"],
    "5.1.0": ["GenerationMixin", "apply_chunking_to_forward"],
}


def write_transformers(folder: Path, version: str, source: str) -> None:
    """Write a distribution of that name whose modules all have the same source."""
    info = folder / f"transformers-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: transformers\nVersion: {version}")
    for module in MODULES:
        package = folder / "transformers" / module.replace(".", "/")
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text(source)


@pytest.fixture
def dependency(tmp_path, monkeypatch):
    """MMPretrain's module with its flag in the state before the models are imported."""
    monkeypatch.syspath_prepend(tmp_path)
    installed = [name for name in sys.modules if name.partition(".")[0] == "transformers"]
    for name in installed:
        monkeypatch.delitem(sys.modules, name)
    module = ModuleType(multimodal.NAME)
    mmpretrain = Path(importlib.util.find_spec("mmpretrain").origin).parent
    module.__file__ = str(mmpretrain / "utils/dependency.py")
    module.WITH_MULTIMODAL = True
    yield module
    for name in [name for name in sys.modules if name.partition(".")[0] == "transformers"]:
        del sys.modules[name]


def test_compatible_releases_are_used(dependency, tmp_path, recwarn):
    write_transformers(tmp_path, "4.51.3", ANY_NAME.format(missing=[]))
    multimodal.switch_off_if_broken(dependency)
    assert dependency.WITH_MULTIMODAL
    assert not [entry for entry in recwarn if "transformers" in str(entry.message)]


@pytest.mark.parametrize(("version", "missing"), LACKING.items())
def test_releases_with_missing_names_disable_multimodal_models(
    dependency, tmp_path, version, missing
):
    write_transformers(tmp_path, version, ANY_NAME.format(missing=missing))
    with pytest.warns(UserWarning, match=rf"transformers {version} .*{missing[-1]}.*disabled"):
        multimodal.switch_off_if_broken(dependency)
    assert not dependency.WITH_MULTIMODAL


def test_releases_that_fail_to_import_disable_multimodal_models(dependency, tmp_path):
    write_transformers(tmp_path, "5.0.0", "raise RuntimeError('an older torch\\nand more')")
    with pytest.warns(UserWarning, match=r"RuntimeError: an older torch\); its multi-modal"):
        multimodal.switch_off_if_broken(dependency)
    assert not dependency.WITH_MULTIMODAL


def test_without_transformers_nothing_is_tried(dependency, monkeypatch):
    dependency.WITH_MULTIMODAL = False
    monkeypatch.setattr(multimodal, "import_error", None)
    multimodal.switch_off_if_broken(dependency)


@pytest.mark.exhaustive
def test_classifiers_are_built_with_an_incompatible_release(tmp_path):
    write_transformers(tmp_path, "5.1.0", ANY_NAME.format(missing=LACKING["5.1.0"]))
    code = """
        import sys
        sys.path.insert(0, sys.argv[1])
        import smallvit
        from mmpretrain.registry import MODELS
        from mmpretrain.utils import register_all_modules

        register_all_modules()
        head = dict(type="LinearClsHead", num_classes=2, in_channels=64)
        backbone = dict(type="smallvit.CifarResNet", depth=8)
        MODELS.build(dict(type="ImageClassifier", backbone=backbone, head=head))
    """
    done = fresh.run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("are disabled") == 1
