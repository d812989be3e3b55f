#!/usr/bin/env bash
# Makes an environment of one set of versions, runs the quick part of the test suite in it, and
# removes it; without a set, one after the other.
#
#   bash tools/misc/test_versions.sh                           oldest, tested, newest, forks, full
#   bash tools/misc/test_versions.sh oldest python3.10         one set, with an interpreter
#   bash tools/misc/test_versions.sh forks python3.11 tests/projects/ops -x    arguments of pytest
#
# oldest, newest: requirements/sets/; tested: requirements/tested.txt; forks: the onedl forks in
# place of the upstream packages; full: the tested set beside packages that many have. Of pyenv's
# interpreters, PYENV_VERSION chooses: PYENV_VERSION=3.10.13 bash tools/misc/test_versions.sh oldest
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
sets=(oldest tested newest forks full)

test_set() {
    local set=$1 python=$2 constraints=requirements/tested.txt extras=mm packages= venv status=0
    shift 2
    case $set in
        oldest) constraints=requirements/sets/oldest.txt python=${python:-python3.10} ;;
        tested) ;;
        newest) constraints=requirements/sets/newest.txt python=${python:-python3.13} ;;
        forks) constraints=requirements/sets/newest.txt extras=onedl ;;
        full) packages=requirements/sets/full.txt ;;
        *)
            printf 'no set %s; there are: %s\n' "$set" "${sets[*]}" >&2
            return 2
            ;;
    esac
    venv=$(mktemp -d "${TMPDIR:-/tmp}/smallvit-$set.XXXXXX")
    # shellcheck disable=SC2064  # this folder, also after the next set has begun
    trap "rm -rf '$venv'" EXIT
    CONSTRAINTS=$constraints EXTRAS=$extras,tests,optional PACKAGES=$packages VENV=$venv \
        PYTHON=$python bash "$root/tools/misc/make_env.sh" || status=$?
    if ((status == 0)); then
        "$venv/bin/python" "$root/tools/misc/check_env.py" || true
        "$venv/bin/python" -m pytest -n auto --maxprocesses 8 --dist loadfile -q -m 'not slow' \
            "$@" || status=$?
    fi
    rm -rf "$venv"
    printf '%s: %s\n' "$set" "$( ((status == 0)) && echo passed || echo "failed ($status)")"
    return "$status"
}

cd "$root"
if (($#)); then
    test_set "$1" "${2:-}" "${@:3}"
else
    failed=0
    for set in "${sets[@]}"; do
        test_set "$set" "" || failed=1
    done
    exit "$failed"
fi
