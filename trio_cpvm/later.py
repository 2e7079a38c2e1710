"""Modules that are loaded with their first use, where that is not at the start."""

from __future__ import annotations

from importlib import import_module


class Later:
    """Stands for a module, and loads it when something of it is asked for.

    Args:
        name: the module's full name.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> object:
        value: object = getattr(import_module(self._name), attribute)
        setattr(self, attribute, value)  # the next time it is found at once
        return value
