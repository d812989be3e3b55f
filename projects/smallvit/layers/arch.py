"""Lookup and validation of a backbone's ``arch``, a name or a dict."""

from collections.abc import Mapping


def resolve_arch(arch: str | Mapping, zoo: Mapping[str, Mapping], owner: str) -> dict:
    """Look up an architecture.

    Args:
        arch (str | Mapping): A name in ``zoo``, or settings with the keys that its
            entries have.
        zoo (Mapping[str, Mapping]): The named architectures.
        owner (str): Name of the backbone, for errors.

    Returns:
        dict: A copy of the settings.

    Raises:
        ValueError: If the name is unknown, or keys are missing or unknown.
    """
    if isinstance(arch, str):
        if arch not in zoo:
            raise ValueError(
                f"{owner} has no arch {arch!r}; use one of {', '.join(sorted(zoo))}, or a dict"
            )
        return dict(zoo[arch])
    expected = set(next(iter(zoo.values())))
    missing, unknown = sorted(expected - set(arch)), sorted(set(arch) - expected)
    if missing or unknown:
        raise ValueError(
            f"arch of {owner} lacks {missing or 'nothing'} and does not know "
            f"{unknown or 'nothing'}; it takes {', '.join(sorted(expected))}"
        )
    return dict(arch)
