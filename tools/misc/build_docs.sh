#!/usr/bin/env bash
# Builds the documentation in docs/_build/html, with the packages of requirements/docs.txt, which it
# installs into .venv if they are missing. A warning, or a link that leads nowhere, is an error.
#
#   bash tools/misc/build_docs.sh                      then open docs/_build/html/index.html
#   PYTHON=python bash tools/misc/build_docs.sh        with another Python, which has smallvit
#   bash tools/misc/build_docs.sh -b linkcheck         arguments of sphinx-build; asks other sites
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=${PYTHON:-$(bash tools/misc/make_env.sh)}
"$python" -c 'import furo, myst_parser, sphinx' 2>/dev/null \
    || "$python" -m pip install --quiet --requirement requirements/docs.txt
"$python" docs/make_pages.py docs/_build
"$python" -m sphinx -c docs -W --keep-going -q docs/_build/pages docs/_build/html "$@"
"$python" docs/check_html.py docs/_build/html
