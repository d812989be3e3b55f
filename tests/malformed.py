"""Malformed JSON files, as left by accidents or manual edits."""

import json

#: Files that do not contain a JSON object.
MALFORMED_FILES = {
    "empty": b"",
    "cut": b'{"settings": {"da',
    "list": b"[1, 2]",
    "null": b"null",
    "text": b'"text"',
    "NaN": b'{"accuracy": NaN, "seconds": NaN}',
    "not UTF-8": b'{"a": "\xff\xfe"}',
    "deep": b"[" * 100_000,
    "other keys": b'{"a": 1}',
    "not JSON": b"PK\x03\x04\x00\x00",
    "a folder": None,
}
#: Values of the wrong type for a number, a list and a dict.
WRONG_VALUES = ["7", -7, 10**400, True, None, [7], {"a": [7]}, [[[]]]]


def write_malformed(path, kind):
    """Write a malformed file, replacing an existing one."""
    if path.is_file():
        path.unlink()
    if MALFORMED_FILES[kind] is None:
        path.mkdir()
    else:
        path.write_bytes(MALFORMED_FILES[kind])


def variants(whole, keys):
    """Yield copies of the content with the value of one key replaced by a wrong one, or removed."""
    for key in keys:
        without = json.loads(json.dumps(whole))
        del without[key]
        yield f"{key} missing", without
        for wrong in WRONG_VALUES:
            yield f"{key}={str(wrong)[:12]}", {**whole, key: wrong}
