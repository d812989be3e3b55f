"""Patches of modules that are imported later."""

import sys

from smallvit.compat.after_import import patch_after_import


def test_a_module_takes_every_patch_in_order(tmp_path, monkeypatch):
    (tmp_path / "patched_later.py").write_text("found = []\n")
    monkeypatch.syspath_prepend(tmp_path)
    patch_after_import("patched_later", lambda module: module.found.append("first"))
    patch_after_import("patched_later", lambda module: module.found.append("second"))
    import patched_later

    assert patched_later.found == ["first", "second"]
    patch_after_import("patched_later", lambda module: module.found.append("at once"))
    assert patched_later.found[-1] == "at once"
    del sys.modules["patched_later"]
