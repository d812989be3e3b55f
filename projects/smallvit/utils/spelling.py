"""Spelling suggestions for names."""

from __future__ import annotations

from collections.abc import Iterable

#: Minimum length of names for which one edit, or two edits, count as a misspelling. Shorter names
#: that are both valid may differ as little: ``lr`` and ``lrs``, ``mean`` and ``mode``.
ONE_SLIP, TWO_SLIPS = 5, 9
#: The same for one edit in places where only known names are allowed.
CLOSED = 3


def closest_name(name: str, known: Iterable[str], shortest: int = ONE_SLIP) -> str | None:
    """Find the known name of which a name is probably a misspelling.

    Case and underscores are ignored. An edit is a letter that is missing, added, wrong or swapped
    with its neighbor. Names that differ only in trailing digits are not misspellings.

    Args:
        name (str): Name to look up.
        known (Iterable[str]): Known names.
        shortest (int): Minimum length of names for a single edit. Defaults to
            :data:`ONE_SLIP`.

    Returns:
        str | None: The closest one, or None if ``name`` is known or resembles none of them.
    """
    known = list(known)
    if name in known:
        return None
    slips = ((_count_edits(name, other, shortest), other) for other in known)
    found = [(distance, other) for distance, other in slips if distance is not None]
    return min(found)[1] if found else None


def _count_edits(name: str, other: str, shortest: int) -> int | None:
    """Count the edits between two names; None if there are too many for a misspelling."""
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
    """Edit distance with transpositions (optimal string alignment).

    Args:
        one (str): First name.
        two (str): Second name.

    Returns:
        int: Minimum number of insertions, deletions, replacements and swaps of neighbors.
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
