#!/usr/bin/env bash
# Creates the virtual environment .venv with smallvit and all packages for its tests and quick
# start, unless it is up to date. Prints the path of its Python.
#
#   PYTHON=python3.12 bash tools/misc/make_env.sh     another interpreter
#   VENV=/elsewhere bash tools/misc/make_env.sh       another location
#
# CONSTRAINTS, EXTRAS and PACKAGES (a file with additional packages) select other sets of versions;
# see tools/misc/test_versions.sh.
#
# The settings of pip (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, pip.conf) are respected: on a machine
# without a GPU, PyTorch's index of CPU builds saves several gigabytes.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=${VENV:-$root/.venv}
python=$venv/bin/python
stamp=$venv/.smallvit
constraints=${CONSTRAINTS:-requirements/tested.txt}
extras=${EXTRAS:-mm,tests,optional}

say() { printf '%s\n' "$*" >&2; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' \
            2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    say "smallvit needs Python 3.10 to 3.13, found: $(python3 --version 2>&1)."
    say "Install one of them and run: PYTHON=python3.12 bash $0"
    return 1
}

# OpenCV's wheel requires the system's libGL, which servers and containers often lack.
ensure_opencv() {
    "$python" -c 'import cv2' 2>/dev/null && return
    say "OpenCV cannot load the system's graphics libraries: installing its headless build."
    "$python" -m pip uninstall --quiet --yes opencv-python >&2
    "$python" -m pip install --quiet --force-reinstall --no-deps --constraint "$constraints" \
        opencv-python-headless >&2
}

cd "$root"
# Code edits take effect through `pip install -e`; only changed requirements need a new run.
fingerprint=$(cat setup.cfg pyproject.toml requirements/*.txt tools/misc/make_env.sh | cksum)
if [ -x "$python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$fingerprint $root" ]; then
    say "Environment $venv is up to date."
else
    interpreter=$(find_python)
    say "Creating the environment $venv with $("$interpreter" --version) ..."
    if [ ! -x "$python" ] && ! "$interpreter" -m venv "$venv" >&2; then
        rm -rf "$venv"
        say "$interpreter cannot create virtual environments; on Debian: apt install python3-venv"
        exit 1
    fi
    "$python" -m pip install --quiet --upgrade pip >&2
    "$python" -m pip install --quiet --constraint "$constraints" --editable ".[$extras]" \
        ${PACKAGES:+--requirement "$PACKAGES"} >&2
    ensure_opencv
    printf '%s' "$fingerprint $root" >"$stamp"
    say "Environment ready."
fi
printf '%s\n' "$python"
