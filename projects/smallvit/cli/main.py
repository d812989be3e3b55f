"""The ``smallvit`` command: a verb, and the arguments of what it names."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from smallvit.cli import run_tool

#: What each verb runs: a module with ``main(argv)``, and one line of help.
VERBS: dict[str, tuple[str, str]] = {
    "recipe": ("smallvit.cli.recipe", "print what a training with a config does"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb.

    Args:
        argv (Sequence[str], optional): Verb and its arguments. Defaults to None, which takes
            those of the command line.

    Returns:
        int: The exit status: that of the verb, 2 where there is none of that name.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0 if argv else 2
    verb, *rest = argv
    if verb in ("-V", "--version"):
        from smallvit import __version__

        print(f"smallvit {__version__}")
        return 0
    if verb not in VERBS:
        print(f"smallvit: no such verb: {verb!r}{_nearest(verb)}\n\n{_usage()}", file=sys.stderr)
        return 2
    # The parser of the verb names itself after the program.
    sys.argv[0] = f"smallvit {verb}"
    return run_tool(import_module(VERBS[verb][0]).main, rest)


def _usage() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {text}" for verb, (_, text) in VERBS.items()]
    return "\n".join(
        ["usage: smallvit VERB ...", "", *lines, "", "smallvit VERB --help tells its arguments"]
    )


def _nearest(verb: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(verb, VERBS, n=1)
    return f"; did you mean {near[0]}?" if near else ""


if __name__ == "__main__":
    sys.exit(main())
