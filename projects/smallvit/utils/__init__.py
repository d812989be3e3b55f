"""General helpers: atomic file writing, nested configs, locks, signals and text."""


def register_all_modules(init_default_scope: bool = True) -> None:
    """Register all components of smallvit; called by ``mmengine.hub`` and MMEngine's tools.

    Name and argument follow the convention of the MM libraries.

    Args:
        init_default_scope (bool): Make ``smallvit`` the default scope if there is none.
            Defaults to True.
    """
    from mmengine.registry import DefaultScope, Registry

    from smallvit import registry

    for found in vars(registry).values():
        if isinstance(found, Registry) and found.scope == "smallvit":
            found.import_from_location()
    if init_default_scope and DefaultScope.get_current_instance() is None:
        DefaultScope.get_instance("smallvit", scope_name="smallvit")
