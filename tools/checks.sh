# shellcheck shell=bash
# Input validation for the launchers. Values must be checked before they are used in arithmetic
# expressions, because bash would evaluate strings in them and run embedded commands.
#
#   whole_number NAME VALUE [LEAST]    fails unless VALUE is a decimal integer of at least LEAST (0)
#   cores                              prints the number of processors, or 1 if unknown
#   interpreter                        prints the Python to use: $PYTHON, otherwise python, or that
#                                      of .venv if python has no torch

whole_number() {
    if ! [[ $2 =~ ^(0|[1-9][0-9]{0,6})$ ]] || (( $2 < ${3:-0} )); then
        printf "error: %s must be an integer of at least %s, not '%s'\n" \
            "$1" "${3:-0}" "${2//[^[:print:]]/?}" >&2
        return 2
    fi
}

cores() {
    local found
    found=$(getconf _NPROCESSORS_ONLN 2>/dev/null) || found=1
    [[ $found =~ ^[1-9][0-9]{0,6}$ ]] || found=1
    printf '%s\n' "$found"
}

interpreter() {
    local root own
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    own=$root/.venv/bin/python
    if [[ -z ${PYTHON:-} && -x $own ]] && ! python -c \
        'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)' 2>/dev/null; then
        printf 'python has no torch: using %s\n' "$own" >&2
        printf '%s\n' "$own"
    else
        printf '%s\n' "${PYTHON:-python}"
    fi
}
