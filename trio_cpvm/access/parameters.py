"""The query of an access request as form data. Sans-I/O; judges nothing but the spelling.

Source: WHATWG URL standard, application/x-www-form-urlencoded; CloudStack ``ApiServlet.java``. CloudStack takes the
first of several parameters of one name and tells ``apiKey`` from ``apikey`` here but not there. Who signs one reading
and gets another has a hole, so a name that comes twice, in whatever case, is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import unquote_plus

import attrs

from ..errors import BAD_REQUEST, ConsoleError

#: The head's own limit (``http/door.py``) bounds the bytes; this bounds the work.
MAX_PARAMETERS = 64


@attrs.frozen(repr=False)
class Parameters:
    """Decoded parameters, found by their names in lower case. Some values are secret, so nothing prints itself.

    Attributes:
        pairs: names as they were sent, and decoded values, in the order they came.
    """

    pairs: tuple[tuple[str, str], ...]
    _values: Mapping[str, str]

    def get(self, name: str) -> str:
        """The value of a parameter; empty if there is none."""
        return self._values.get(name, "")

    def has(self, name: str) -> bool:
        """Whether the parameter is there at all."""
        return name in self._values


def read_parameters(query: str) -> Parameters:
    """Read a query as it stands in the request.

    Raises:
        ConsoleError: ``bad-request``: too many parameters, one twice, or text that is not UTF-8.
    """
    pairs = tuple(_pairs(query))
    values = {name.lower(): value for name, value in pairs}
    if len(values) < len(pairs):
        raise ConsoleError(BAD_REQUEST, "a parameter comes twice")
    return Parameters(pairs, values)


def _pairs(query: str) -> Iterator[tuple[str, str]]:
    fields = [field for field in query.split("&") if field]
    if len(fields) > MAX_PARAMETERS:
        raise ConsoleError(BAD_REQUEST, f"more than {MAX_PARAMETERS} parameters")
    for field in fields:
        name, _, value = field.partition("=")
        try:
            yield unquote_plus(name, errors="strict"), unquote_plus(value, errors="strict")
        except UnicodeDecodeError:
            raise ConsoleError(BAD_REQUEST, "a parameter that is not UTF-8") from None
