#!/usr/bin/env bash
# Checks style (ruff), spelling (codespell) and types (mypy), all configured in pyproject.toml. The
# first run of mypy takes about 20 seconds, later ones less than one.
#
#   bash tools/misc/lint.sh                     in .venv
#   PYTHON=python bash tools/misc/lint.sh       with another Python that has all three
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=${PYTHON:-.venv/bin/python}
"$python" -m ruff check .
"$python" -m ruff format --check .
# The symlinks of the package point to folders that are listed here; codespell does not follow them.
"$python" -m codespell_lib configs docs plugins projects requirements tests tools \
    ./*.md ./*.toml ./*.cfg ./*.yml ./*.cff
"$python" -m mypy
