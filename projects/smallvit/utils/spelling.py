"""Names that were probably meant to be other names."""

from __future__ import annotations

from collections.abc import Iterable

#: Shortest names in which one slip, and in which two slips, make a near miss. In shorter ones
#: two names that are both meant differ by as little: ``lr`` and ``lrs``, ``mean`` and ``mode``.
ONE_SLIP, TWO_SLIPS = 5, 9
#: Shortest names in which one slip makes a near miss where no other names are allowed.
CLOSED = 3


def near_miss(name: str, known: Iterable[str], shortest: int = ONE_SLIP) -> str | None:
    """Find the known name that a name looks like.

    Compared are letters whatever their case, without underscores. One letter that is missing,
    added, wrong or exchanged with its neighbor is a slip; digits at the end are none, as
    numbered names are meant.

    Args:
        name (str): A name.
        known (Iterable[str]): The names that there are.
        shortest (int): Letters of the shortest names that one slip may be in. Defaults to
            :data:`ONE_SLIP`.

    Returns:
        str | None: The nearest one, or None if ``name`` is known or like none of them.
    """
    known = list(known)
    if name in known:
        return None
    slips = ((_slips(name, other, shortest), other) for other in known)
    found = [(distance, other) for distance, other in slips if distance is not None]
    return min(found)[1] if found else None


def _slips(name: str, other: str, shortest: int) -> int | None:
    """Count the slips between two names; None where there are too many for a misspelling."""
    one, two = _letters(name), _letters(other)
    if one == two:
        return 0
    if one.rstrip("0123456789") == two.rstrip("0123456789"):
        return None
    shorter = min(len(one), len(two))
    allowed = 2 if shorter >= TWO_SLIPS else 1 if shorter >= shortest else 0
    if abs(len(one) - len(two)) > allowed:
        return None
    distance = edit_distance(one, two)
    return distance if distance <= allowed else None


def _letters(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def edit_distance(one: str, two: str) -> int:
    """Count the letters to insert, delete, replace or exchange with their neighbor.

    Args:
        one (str): A name.
        two (str): Another.

    Returns:
        int: The least number of changes (optimal string alignment).
    """
    before, last = [], list(range(len(two) + 1))
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, other in enumerate(two, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == two[j - 2] and one[i - 2] == other:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]
