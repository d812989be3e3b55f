#!/usr/bin/env bash
# Builds the documentation in docs/_build/html. Installs the packages of requirements/docs.txt into
# .venv if they are missing. Warnings and broken links are errors.
#
#   bash tools/misc/build_docs.sh                      then open docs/_build/html/index.html
#   PYTHON=python bash tools/misc/build_docs.sh        with another Python that has smallvit
#   bash tools/misc/build_docs.sh -b linkcheck         sphinx-build arguments; checks external links
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=${PYTHON:-$(bash tools/misc/make_env.sh)}
"$python" -c 'import furo, myst_parser, sphinx' 2>/dev/null \
    || "$python" -m pip install --quiet --requirement requirements/docs.txt
"$python" docs/make_pages.py docs/_build
"$python" -m sphinx -c docs -W --keep-going -q docs/_build/pages docs/_build/html "$@"
"$python" docs/check_html.py docs/_build/html
