#!/usr/bin/env bash
# Runs the linter and the test suite in .venv, which is made if need be.
#
#   bash tools/run_tests.sh                           everything
#   bash tools/run_tests.sh -m 'not slow' -k dwnet    any arguments of pytest
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$(bash "$root/tools/misc/make_env.sh")
cd "$root"
"$python" -m ruff check .
"$python" -m ruff format --check .
exec "$python" -m pytest "$@"
