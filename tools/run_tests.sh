#!/usr/bin/env bash
# Runs the linters and the test suite in .venv, which is made if need be.
#
#   bash tools/run_tests.sh                           everything, in as many processes as cores
#   bash tools/run_tests.sh -m 'not slow' -k dwnet    any arguments of pytest
#   bash tools/run_tests.sh -n 0 --pdb                in one process
#   bash tools/run_tests.sh --coverage                which lines ran: a table, and coverage/index.html
#   bash tools/run_tests.sh --hypothesis-profile=explore    examples drawn anew
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
# Tests of a file stay together: they share its fixtures. tests/conftest.py orders the files.
exec "$python" -m pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder \
    ${arguments[@]+"${arguments[@]}"}
