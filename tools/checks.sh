# Sourced by the launchers, before anything calculates with what the user gave: bash takes a text
# in an arithmetic expression for an expression too, and runs the commands in it.
#
#   whole_number NAME VALUE [LEAST]    fails unless VALUE is a decimal number, of LEAST (0) or more
#   cores                              prints the number of processors, 1 where nobody knows
#   interpreter                        prints the Python to run: $PYTHON; else the one at hand, and
#                                      that of .venv where it has no torch

whole_number() {
    if ! [[ $2 =~ ^(0|[1-9][0-9]{0,6})$ ]] || (( $2 < ${3:-0} )); then
        printf "error: %s must be a whole number, at least %s, not '%s'\n" \
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
        printf 'the python at hand has no torch: %s is taken\n' "$own" >&2
        printf '%s\n' "$own"
    else
        printf '%s\n' "${PYTHON:-python}"
    fi
}
