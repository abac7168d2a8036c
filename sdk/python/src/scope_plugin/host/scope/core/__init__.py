"""Hooks: a plugin marks its functions with ``@hookimpl``; the host calls them by name."""


def hookimpl(function=None, **_options):
    """Marks a function as a hook; with or without options, as pluggy's markers are used."""
    if function is None:
        return hookimpl
    function.scope_hook = True
    return function
