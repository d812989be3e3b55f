#!/usr/bin/env bash
# Creates an environment for a set of versions, runs the quick tests in it, and removes it; without
# arguments, for all sets in turn.
#
#   bash tools/misc/test_versions.sh                           oldest, tested, newest, forks, full
#   bash tools/misc/test_versions.sh oldest python3.10         one set, with an interpreter
#   bash tools/misc/test_versions.sh forks python3.11 tests/projects/ops -x    pytest arguments
#
# oldest, newest: requirements/sets/; tested: requirements/tested.txt; forks: the onedl forks instead
# of the upstream packages; full: the tested set with other common packages. With pyenv, select the
# interpreter with PYENV_VERSION: PYENV_VERSION=3.10.13 bash tools/misc/test_versions.sh oldest
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
sets=(oldest tested newest forks full)

test_set() {
    local set=$1 python=$2 constraints=requirements/tested.txt extras=mm packages='' venv status=0
    shift 2
    case $set in
        oldest) constraints=requirements/sets/oldest.txt python=${python:-python3.10} ;;
        tested) ;;
        newest) constraints=requirements/sets/newest.txt python=${python:-python3.13} ;;
        forks) constraints=requirements/sets/newest.txt extras=onedl ;;
        full) packages=requirements/sets/full.txt ;;
        *)
            printf 'unknown set %s; available: %s\n' "$set" "${sets[*]}" >&2
            return 2
            ;;
    esac
    venv=$(mktemp -d "${TMPDIR:-/tmp}/smallvit-$set.XXXXXX")
    # shellcheck disable=SC2064  # expand now: the next set changes $venv
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
