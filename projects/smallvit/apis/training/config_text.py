"""Format values as readable Python: ``dict(...)``, on one line if it fits."""

from __future__ import annotations

from typing import Any

WIDTH = 100


class Name:
    """Reference to a variable of the config, formatted as its name.

    Args:
        name (str): Name of the variable.
    """

    def __init__(self, name: str) -> None:
        self.name = name


def as_text(key: str, value: Any) -> str:
    """Format an assignment.

    Args:
        key (str): Name of the variable.
        value (Any): Plain values, dicts, lists, tuples and :class:`Name`.

    Returns:
        str: Python source of one or several lines.
    """
    return f"{key} = {_text(value, 0, len(key) + 3)}"


def _text(value: Any, indent: int, used: int) -> str:
    line = _one_line(value)
    if len(line) + used + 1 <= WIDTH or not isinstance(value, (dict, list, tuple)) or not value:
        return line
    opened, closed = _brackets(value)
    inner = indent + 4
    parts = []
    for name, child in _items(value):
        start = " " * inner + name
        parts.append(f"{start}{_text(child, inner, len(start) + 1)},")
    return "\n".join([opened, *parts, " " * indent + closed])


def _one_line(value: Any) -> str:
    if isinstance(value, Name):
        return value.name
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, (dict, list, tuple)):
        opened, closed = _brackets(value)
        inner = ", ".join(f"{name}{_one_line(child)}" for name, child in _items(value))
        comma = "," if isinstance(value, tuple) and len(value) == 1 else ""
        return f"{opened}{inner}{comma}{closed}"
    return repr(value)


def _quoted(text: str) -> str:
    found = repr(text)
    return f'"{found[1:-1]}"' if '"' not in text and found[0] == "'" else found


def _brackets(value: dict | list | tuple) -> tuple[str, str]:
    if isinstance(value, dict):
        return ("dict(", ")") if _has_names(value) else ("{", "}")
    return ("[", "]") if isinstance(value, list) else ("(", ")")


def _has_names(value: dict) -> bool:
    return all(isinstance(key, str) and key.isidentifier() for key in value)


def _items(value: dict | list | tuple) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [("", child) for child in value]
    if _has_names(value):
        return [(f"{key}=", child) for key, child in value.items()]
    return [(f"{_one_line(key)}: ", child) for key, child in value.items()]
