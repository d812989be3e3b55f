"""Package contents: modules, configs, tools and requirements."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
#: Distributions whose import names differ.
PACKAGES = {
    **{"PIL": "pillow", "yaml": "pyyaml", "sklearn": "scikit-learn"},
    **{"mmcv": "mmcv-lite", "mmseg": "mmsegmentation"},
}
#: Modules installed with mmcv, mmdet and torch; OpenCV is provided by one of several distributions.
COME_WITH_OTHERS = ("cv2", "pycocotools", "triton")
#: Scripts that measure the project itself, and the two commands of the README.
OF_CHECKOUTS = {
    f"smallvit/.mim/tools/{name}"
    for name in (
        "analysis_tools/compare_checkouts.py",
        "analysis_tools/gpu_networks.py",
        "analysis_tools/gpu_rows.py",
        "analysis_tools/guard_cost.py",
        "analysis_tools/measure_gpu.py",
        "analysis_tools/official_models.py",
        "analysis_tools/plain_formulations.py",
        "quickstart.sh",
        "run_tests.sh",
        "misc/build_docs.sh",
        "misc/lint.sh",
        "misc/make_env.sh",
        "misc/quickstart_table.py",
    )
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> set[str]:
    out = tmp_path_factory.mktemp("wheel")
    source = _tracked_copy(tmp_path_factory.mktemp("source"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(out), str(source)]
    subprocess.run(command, check=True)
    with zipfile.ZipFile(next(out.glob("*.whl"))) as archive:
        return set(archive.namelist())


def _tracked_copy(target: Path) -> Path:
    # setuptools leaves a build/ folder, whose stale files would be included in the next wheel.
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    files = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, files.split("\0")):
        source, copy = ROOT / name, target / name
        if not source.exists():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            copy.symlink_to(source.readlink())
        else:
            copy.write_bytes(source.read_bytes())
    return target


def _files(folder: str, pattern: str = "*") -> set[Path]:
    found = (ROOT / folder).rglob(pattern)
    return {p for p in found if p.is_file() and "__pycache__" not in p.parts}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "prefix"), [("projects/smallvit", "smallvit"), ("plugins", "smallvit/plugins")]
)
def test_every_module_is_in_the_wheel(wheel, folder, prefix):
    modules = {
        f"{prefix}/{p.relative_to(ROOT / folder).as_posix()}" for p in _files(folder, "*.py")
    }
    assert modules
    assert not modules - wheel


@pytest.mark.slow
def test_type_checkers_read_the_annotations(wheel):
    assert "smallvit/py.typed" in wheel


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["configs", "tools"])
def test_configs_and_tools_are_in_the_wheel(wheel, folder):
    files = {f"smallvit/.mim/{p.relative_to(ROOT).as_posix()}" for p in _files(folder)}
    assert files
    assert files - wheel == {path for path in OF_CHECKOUTS if path in files}
    assert "smallvit/.mim/model-index.yml" in wheel


def test_links_of_the_source_tree_resolve():
    package = ROOT / "projects" / "smallvit"
    links = [p for p in (*package.iterdir(), *(package / ".mim").iterdir()) if p.is_symlink()]
    assert {p.name for p in links} == {"plugins", "configs", "tools", "model-index.yml"}
    for link in links:
        assert link.resolve(strict=True) == ROOT / link.name


def test_no_mm_package_is_a_hard_requirement():
    # mmcv-lite and the onedl forks install into the same folders as other distributions.
    required = (ROOT / "requirements" / "runtime.txt").read_text().lower()
    assert "mmcv" not in required
    assert "onedl" not in required


def _requirements(name: str) -> dict[str, Requirement]:
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    parsed = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {requirement.name: requirement for requirement in parsed}


def test_what_is_imported_is_required():
    known = set(_requirements("runtime.txt")) | set(_requirements("optional.txt"))
    known |= set(_requirements("mm.txt")) | {"smallvit", *sys.stdlib_module_names}
    for extra in ("bands.txt", "export.txt", "hub.txt", "demo.txt", "cluster.txt"):
        known |= set(_requirements(extra))
    known |= set(COME_WITH_OTHERS)
    imported = {}
    for folder in ("projects/smallvit", "plugins", "tools"):
        for path in _files(folder, "*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    modules = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    modules = [node.module]
                else:
                    continue
                imported |= {module.partition(".")[0]: path for module in modules}
    unknown = {
        name: path for name, path in imported.items() if PACKAGES.get(name, name) not in known
    }
    assert unknown == {}


def test_the_tested_versions_are_allowed_by_the_requirements():
    allowed = _requirements("runtime.txt") | _requirements("mm.txt") | _requirements("tests.txt")
    for name, pinned in _requirements("tested.txt").items():
        (pin,) = pinned.specifier
        if pin.operator == "==":
            assert pin.version in allowed[name].specifier, name
        else:
            assert pinned.specifier == allowed[name].specifier, name
