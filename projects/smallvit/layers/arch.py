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
                f"{owner}: expected arch to be one of {', '.join(sorted(zoo))}, or a dict, got "
                f"{arch!r}"
            )
        return dict(zoo[arch])
    expected = set(next(iter(zoo.values())))
    missing, unknown = sorted(expected - set(arch)), sorted(set(arch) - expected)
    if missing or unknown:
        raise ValueError(
            f"arch of {owner}: expected the keys {', '.join(sorted(expected))}, missing "
            f"{missing or 'none'}, unknown {unknown or 'none'}"
        )
    return dict(arch)
