"""Helpers without a domain: whole files, nested configs, lists in messages."""


def register_all_modules(init_default_scope: bool = True) -> None:
    """Import all that smallvit registers; ``mmengine.hub`` and MMEngine's tools call this.

    The name and argument are those of the MM libraries.

    Args:
        init_default_scope (bool): Make ``smallvit`` the default scope, where there is none.
            Defaults to True.
    """
    from mmengine.registry import DefaultScope, Registry

    from smallvit import registry

    for found in vars(registry).values():
        if isinstance(found, Registry) and found.scope == "smallvit":
            found.import_from_location()
    if init_default_scope and DefaultScope.get_current_instance() is None:
        DefaultScope.get_instance("smallvit", scope_name="smallvit")
