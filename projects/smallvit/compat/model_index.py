"""Our models in ``mmpretrain.list_models``, ``mmpretrain.get_model`` and MMPretrain's inferencers.

At the first lookup of a name, MMPretrain reads its own metafiles only; ours are read directly
afterwards. Remove this once MMPretrain finds the metafiles of other packages (1.2 does not).
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from smallvit.compat.after_import import patch_after_import

MIM = Path(__file__).parents[1] / ".mim"
MODELS = "mmpretrain.apis.model"


def install() -> None:
    """Register our models when MMPretrain registers its own. Nothing is imported."""
    patch_after_import(MODELS, _patch)


def _patch(module: ModuleType) -> None:
    hub = module.ModelHub
    original = hub._register_mmpretrain_models.__func__
    if hasattr(original, "__wrapped__"):
        return

    def register(cls: type) -> None:
        original(cls)
        if not cls.has(_FIRST):
            cls.register_model_index(MIM / "model-index.yml", config_prefix=MIM)

    register.__wrapped__ = original
    hub._register_mmpretrain_models = classmethod(register)


#: One of our model names, to check whether all are registered.
_FIRST = "dwnet-t_in1k"
