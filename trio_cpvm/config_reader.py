"""Tables of TOML into frozen classes: each value has to have the type that is written down, and every fault is told.

Knows the kinds of values, not which tables there are.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar, cast, get_args, get_origin

import attrs
from cattrs import Converter

from .addresses import Network, TrustedProxy, parse_trusted_proxy
from .config_values import (
    HostPattern,
    ListenAddress,
    Origin,
    normalise_origin,
    parse_host_pattern,
    parse_listen_address,
)
from .models import Clipboard, Secret

_T = TypeVar("_T")


def read_table(
    kind: type[_T], raw: Mapping[str, object], path: str, faults: list[str], *, show_values: bool = True
) -> _T | None:
    """One table of a file; faults are collected, so that an operator sees all of them at once.

    Args:
        kind: the frozen class whose attributes are the keys.
        raw: the table.
        path: its own key path.
        faults: where faults go; ``None`` is returned while there are any.
        show_values: name bad values. Not in files that hold secrets.
    """

    def shown(value: object) -> str:
        return f" = {show(value)}" if show_values else ""

    fields = attrs.fields_dict(attrs.resolve_types(cast("type[attrs.AttrsInstance]", kind)))
    values: dict[str, object] = {}
    for name, value in raw.items():
        where = f"{path}.{name}"
        field = fields.get(name)
        if field is None:
            faults.append(f"{where}: unknown key" + (f" (value {show(value)})" if show_values else ""))
            continue
        try:
            values[name] = _read_value(value, kind_of(field), where, shown)
            if field.validator is not None:
                field.validator(None, field, values[name])
        except _Fault as exc:
            faults.append(str(exc))
        except ValueError as exc:
            faults.append(f"{where}{shown(value)}: {exc}")
    return None if faults else kind(**values)


def kind_of(field: attrs.Attribute[object]) -> type:
    if field.type is None:
        raise TypeError(f"{field.name} has no type")
    return field.type


class _Fault(ValueError):
    """A fault that names its own place already."""


def _read_value(value: object, kind: type, where: str, shown: Callable[[object], str]) -> object:
    if get_origin(kind) is not tuple:
        return _CONVERTER.structure(value, kind)
    if not isinstance(value, list):
        raise ValueError("expected a list")
    items = []
    for i, item in enumerate(value):
        try:
            items.append(_CONVERTER.structure(item, get_args(kind)[0]))
        except ValueError as exc:
            raise _Fault(f"{where}[{i}]{shown(item)}: {exc}") from None
    return tuple(items)


def _strict_converter() -> Converter:
    """Each value has to have the type that is written down: no text for a number, no number for a flag."""
    converter = Converter(detailed_validation=False)

    def exactly(kind: type, words: str, *others: type) -> Callable[[object, object], object]:
        def check(value: object, _: object) -> object:
            if type(value) not in (kind, *others):
                raise ValueError(f"expected {words}")
            return kind(value)

        return check

    converter.register_structure_hook(str, exactly(str, "a text"))
    converter.register_structure_hook(int, exactly(int, "a whole number"))
    converter.register_structure_hook(float, exactly(float, "a number", int))
    converter.register_structure_hook(bool, exactly(bool, "true or false"))

    def via_text(read: Callable[[str], object]) -> Callable[[object, object], object]:
        return lambda value, _: read(converter.structure(value, str))

    def clipboard(text: str) -> Clipboard:
        if text not in list(Clipboard):
            raise ValueError("expected one of " + ", ".join(Clipboard))
        return Clipboard(text)

    converter.register_structure_hook(Clipboard, via_text(clipboard))
    converter.register_structure_hook(Path, via_text(Path))
    converter.register_structure_hook(Secret, via_text(Secret))
    converter.register_structure_hook(Origin, via_text(lambda text: Origin(normalise_origin(text))))
    converter.register_structure_hook(ListenAddress, via_text(parse_listen_address))
    converter.register_structure_hook(HostPattern, via_text(parse_host_pattern))
    converter.register_structure_hook(Network, via_text(ipaddress.ip_network))
    converter.register_structure_hook(TrustedProxy, via_text(parse_trusted_proxy))
    return converter


_CONVERTER = _strict_converter()


def show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
