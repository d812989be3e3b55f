import re
import subprocess
import sys
from configparser import ConfigParser

import pytest

from tool_helpers import ROOT, load_tool

check_env = load_tool("misc/check_env.py")


@pytest.fixture
def installed(monkeypatch):
    """A complete upstream environment, which tests modify."""
    versions = {
        name: "2.5.0" if name != "timm" else "1.0.31"
        for name in ("torch", "numpy", "timm", "einops", "scikit-learn", "safetensors")
    }
    versions |= {"torchvision": "0.20.1", "mmengine": "0.10.7", "mmcv-lite": "2.1.0"}
    versions |= {"mmpretrain": "1.2.0", "mmdet": "3.3.0", "mmsegmentation": "1.2.2"}
    versions |= {"ftfy": "6.0", "regex": "2024.1", "filelock": "3.20", "matplotlib": "3.10"}
    versions |= {"pillow": "12.0", "pyyaml": "6.0.3", "rich": "14.0", "scipy": "1.15.0"}
    versions |= {"setuptools": "80.9.0", "jinja2": "3.1.6"}
    monkeypatch.setattr(check_env, "installed_version", versions.get)
    monkeypatch.setattr(check_env, "device_row", lambda: check_env.Row("devices", "CPU", "any"))
    return versions


def rows() -> dict:
    return {row.name: row for row in check_env.report()}


def test_a_complete_environment_is_fine(installed, capsys):
    assert check_env.main([]) == 0
    assert "MISSING" not in capsys.readouterr().out
    assert rows()["tensorboard"].status == check_env.ABSENT


@pytest.mark.parametrize(
    ("package", "version", "name", "status", "remedy"),
    [
        ("torch", "2.3.1", "torch", "WRONG", 'install "torch>=2.4"'),
        ("torch", None, "torch", "MISSING", 'install "torch>=2.4"'),
        ("mmcv-lite", "2.2.0", "mmcv", "WRONG", 'install "mmcv-lite>=2.1.0,<2.2.0"'),
        ("mmcv", "2.1.0", "mmcv", "WRONG", "uninstall -y mmcv-lite mmcv && "),
        ("onedl-mmengine", "0.10.12", "mmengine", "WRONG", "uninstall -y mmengine onedl-mmengine"),
        ("onedl-mmdetection", "3.5.1", "MM packages", "WRONG", "onedl-mmpretrain>="),
        ("mmpretrain", None, "mmpretrain", "MISSING", 'install "mmpretrain>=1.2.0,<1.3"'),
        ("timm", "1.0.25", "timm", "WRONG", 'install "timm>=1.0.26"'),
        ("setuptools", "82.0.1", "setuptools", "WRONG", 'install "setuptools<82"'),
    ],
)
def test_each_mismatch_has_its_command(installed, package, version, name, status, remedy, capsys):
    installed[package] = version
    row = rows()[name]
    assert row.status == status
    assert remedy in row.remedy
    assert check_env.main([]) == 1
    assert row.remedy in capsys.readouterr().out


def test_detection_and_segmentation_are_optional(installed):
    del installed["mmdet"], installed["ftfy"]
    assert check_env.main([]) == 0
    assert "for detection" in rows()["mmdet"].remedy
    assert "for segmentation" in rows()["ftfy"].remedy


def test_the_forks_alone_are_fine(installed):
    for name in ("mmengine", "mmcv-lite", "mmpretrain", "mmdet", "mmsegmentation"):
        del installed[name]
    ranges = check_env.requirements()
    for names in check_env.PROVIDERS.values():
        installed[names[-1]] = ranges[names[-1]].removeprefix(">=")
    assert check_env.main([]) == 0

    installed["setuptools"] = "84.0"
    assert check_env.main([]) == 0


@pytest.mark.parametrize(
    ("owner", "version", "status"),
    [
        ("mmpretrain", "4.51.3", "ok"),
        ("mmpretrain", "4.53.0", "note"),
        ("mmpretrain", "5.1.0", "note"),
        ("onedl-mmpretrain", "4.57.1", "ok"),
        ("onedl-mmpretrain", "5.1.0", "note"),
    ],
)
def test_incompatible_transformers_are_reported(installed, owner, version, status):
    installed.pop("mmpretrain")
    installed[owner], installed["transformers"] = "1.3.6", version
    row = rows()["transformers"]
    assert row.status == status
    assert ("disables its multi-modal models" in row.remedy) == (status == "note")


def test_without_mmcv_its_ops_are_not_fine(installed, monkeypatch):
    find_spec = check_env.find_spec
    monkeypatch.setattr(check_env, "find_spec", lambda name: name != "mmcv" and find_spec(name))
    del installed["mmcv-lite"]
    assert rows()["mmcv ops"].status == check_env.MISSING


def test_an_installed_package_does_not_need_the_test_requirements(installed, monkeypatch):
    """Without a checkout, the requirements come from the installed package with all its extras."""
    declared = [
        *("torch>=2.4", 'mmengine>=0.10.4,<1.0; extra == "mm"', "lmdb; extra == 'optional'"),
        *('pytest; extra == "tests"', "hypothesis ; extra=='tests'"),
    ]
    monkeypatch.setattr(check_env.os.path, "isfile", lambda path: False)
    monkeypatch.setattr(check_env.metadata, "requires", lambda name: declared)
    ranges = check_env.requirements()
    assert ranges == {"torch": ">=2.4", "mmengine": ">=0.10.4,<1.0", "lmdb": ""}


def test_every_requirement_is_checked(installed):
    checked = set(rows()) | {name for names in check_env.PROVIDERS.values() for name in names}
    for file in ("runtime", "mm", "onedl", "optional"):
        text = (ROOT / "requirements" / f"{file}.txt").read_text()
        names = set(re.findall(r"^([\w-]+)", text, flags=re.MULTILINE))
        assert names
        assert names <= checked


def test_python_range_is_that_of_the_classifiers():
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = re.findall(r"Python :: (\d+)\.(\d+)", setup["metadata"]["classifiers"])
    versions = sorted((int(major), int(minor)) for major, minor in listed)
    assert (versions[0], versions[-1]) == check_env.PYTHON_RANGE


def test_version_bounds():
    assert check_env.supports(">=2.1.0,<2.2.0", "2.1")
    assert check_env.supports(">=2.4", "2.14.1+cpu")
    assert not check_env.supports(">=2.4", "2.3.9")
    assert not check_env.supports(">=1.0,<1.3,!=1.2.1", "1.2.1")


def test_works_on_a_bare_python():
    # -S hides all installed packages, including torch and mmengine.
    tool = ROOT / "tools/misc/check_env.py"
    done = subprocess.run(
        [sys.executable, "-I", "-S", tool], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1, done.stderr
    assert 'install "mmengine' in done.stdout
    assert 'install "torch>=2.4"' in done.stdout
