#!/usr/bin/env bash
# Runs the linters and the test suite in .venv, which is created if necessary.
#
#   bash tools/run_tests.sh                           everything, in parallel processes
#   bash tools/run_tests.sh -m 'not slow' -k dwnet    any pytest arguments
#   bash tools/run_tests.sh -n 0 --pdb                in a single process
#   bash tools/run_tests.sh --coverage                with a coverage table and coverage/index.html
#   bash tools/run_tests.sh --hypothesis-profile=explore    with new random examples
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
arguments=()
for argument; do
    case $argument in
        --coverage) arguments+=(--cov --cov-report=term --cov-report=html:coverage) ;;
        *) arguments+=("$argument") ;;
    esac
done
python=$(bash "$root/tools/misc/make_env.sh")
cd "$root"
PYTHON=$python bash tools/misc/lint.sh
# Keep the tests of a file together, because they share fixtures. tests/conftest.py orders the files.
# One more process than cores, because many tests wait for the processes that they start.
processes=$("$python" -c 'import os; print(min(8, os.cpu_count() + 1))')
exec "$python" -m pytest -n "$processes" --dist loadfile --no-loadscope-reorder \
    ${arguments[@]+"${arguments[@]}"}
