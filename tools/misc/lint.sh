#!/usr/bin/env bash
# Checks style (ruff), spelling (codespell) and types (mypy), all set up in pyproject.toml; the first
# run of mypy takes about 20 seconds, later ones less than one.
#
#   bash tools/misc/lint.sh                     in .venv
#   PYTHON=python bash tools/misc/lint.sh       with another Python, which has all three
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=${PYTHON:-.venv/bin/python}
"$python" -m ruff check .
"$python" -m ruff format --check .
# Links of the package lead to folders that are read where they are: codespell follows none.
"$python" -m codespell_lib configs docs plugins projects requirements tests tools \
    ./*.md ./*.toml ./*.cfg ./*.yml ./*.cff
"$python" -m mypy
