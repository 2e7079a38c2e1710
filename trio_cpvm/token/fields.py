"""The plaintext of a token: CloudStack's JSON field names to and from a ``ConsoleTarget``.

Source: CloudStack ``ConsoleProxyClientParam.java`` (Gson: nulls omitted, primitives always present). ``notAfter``,
``viewOnly``, ``clipboard``, ``clipboardMaxBytes`` and ``consoleUser`` (its own ``username`` is the host's) are ours;
CloudStack's reader ignores what it does not know, and so does this one.
"""

from __future__ import annotations

import json
import math
import re

from ..models import MAX_CLIPBOARD_BYTES, Clipboard, ConsoleTarget, Secret

MAX_FIELD_CHARS = 2048

#: What JSON can write and no encoding can carry.
_SURROGATE = re.compile("[\ud800-\udfff]")


class TargetInvalid(ValueError):
    """The decrypted text is no console target. The text names the field, never its value."""


def target_to_json(target: ConsoleTarget) -> str:
    """Compact JSON as CloudStack writes it: empty texts left out, numbers and flags of its own always there."""
    out: dict[str, str | int | float | bool] = {
        "clientHostAddress": target.host,
        "clientHostPort": target.port,
    }
    texts = {
        "username": target.username,
        "clientHostPassword": _reveal(target.password),
        "clientTag": target.vm_id,
        "clientDisplayName": target.name,
        "ticket": _reveal(target.ticket),
        "locale": target.locale,
        "clientTunnelUrl": target.tunnel_url,
        "clientTunnelSession": _reveal(target.tunnel_session),
        "websocketUrl": target.websocket_url,
        "sourceIP": target.source_ip,
        "sessionUuid": target.session_uuid,
        "extraSecurityToken": _reveal(target.extra_token),
        "consoleUser": target.user,
    }
    out.update({name: text for name, text in texts.items() if text})
    out["sessionRequiresNewViewer"] = target.needs_new_viewer
    if target.not_after is not None:
        out["notAfter"] = int(target.not_after) if float(target.not_after).is_integer() else target.not_after
    if target.view_only:
        out["viewOnly"] = True
    if target.clipboard is not None:
        out["clipboard"] = target.clipboard.value
    if target.clipboard_max_bytes:
        out["clipboardMaxBytes"] = target.clipboard_max_bytes
    return json.dumps(out, separators=(",", ":"), ensure_ascii=False)


def target_from_json(text: str) -> ConsoleTarget:
    """Read a token's plaintext.

    Raises:
        TargetInvalid: it is no JSON object, a field has the wrong type or size, or host or port is missing although
            nothing else says where to connect.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise TargetInvalid("not JSON") from None
    if not isinstance(data, dict):
        raise TargetInvalid("not a JSON object")
    fields = _Fields(data)
    target = ConsoleTarget(
        host=fields.text("clientHostAddress"),
        port=fields.port("clientHostPort"),
        username=fields.text("username"),
        password=fields.secret("clientHostPassword"),
        vm_id=fields.text("clientTag"),
        name=fields.text("clientDisplayName"),
        locale=fields.text("locale"),
        ticket=fields.secret("ticket"),
        tunnel_url=fields.text("clientTunnelUrl"),
        tunnel_session=fields.secret("clientTunnelSession"),
        websocket_url=fields.text("websocketUrl"),
        source_ip=fields.text("sourceIP"),
        session_uuid=fields.text("sessionUuid"),
        extra_token=fields.secret("extraSecurityToken"),
        needs_new_viewer=fields.flag("sessionRequiresNewViewer"),
        not_after=fields.moment("notAfter"),
        view_only=fields.flag("viewOnly"),
        clipboard=fields.clipboard("clipboard"),
        clipboard_max_bytes=fields.size("clipboardMaxBytes"),
        user=fields.text("consoleUser"),
    )
    elsewhere = target.websocket_url or target.tunnel_url or target.host.startswith("unix:/")
    if not elsewhere and not (target.host and target.port):
        raise TargetInvalid("clientHostAddress or clientHostPort is missing")
    return target


def _reveal(secret: Secret | None) -> str:
    return secret.reveal() if secret else ""


class _Fields:
    """Typed look-ups in a decoded JSON object; absent and null are the same."""

    def __init__(self, data: dict[str, object]) -> None:
        self._data = data

    def text(self, name: str) -> str:
        value = self._data.get(name)
        if value is None:
            return ""
        if not isinstance(value, str) or len(value) > MAX_FIELD_CHARS:
            raise TargetInvalid(f"{name} is no text of at most {MAX_FIELD_CHARS} characters")
        if _SURROGATE.search(value):
            raise TargetInvalid(f"{name} is no text: half a character")
        return value

    def secret(self, name: str) -> Secret | None:
        value = self.text(name)
        return Secret(value) if value else None

    def port(self, name: str) -> int:
        value = self._data.get(name)
        if value is None:
            return 0
        if type(value) is not int or not 0 <= value <= 65535:
            raise TargetInvalid(f"{name} is no TCP port")
        return value

    def size(self, name: str) -> int:
        value = self._data.get(name)
        if value is None:
            return 0
        if type(value) is not int or not 0 <= value <= MAX_CLIPBOARD_BYTES:
            raise TargetInvalid(f"{name} is no number of bytes up to {MAX_CLIPBOARD_BYTES}")
        return value

    def clipboard(self, name: str) -> Clipboard | None:
        value = self.text(name)
        try:
            return Clipboard(value) if value else None
        except ValueError:
            raise TargetInvalid(f"{name} is none of {', '.join(Clipboard)}") from None

    def flag(self, name: str) -> bool:
        value = self._data.get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise TargetInvalid(f"{name} is neither true nor false")
        return value

    def moment(self, name: str) -> float | None:
        value = self._data.get(name)
        if value is None:
            return None
        try:
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                return float(value)
        except OverflowError:  # a whole number of 400 digits
            pass
        raise TargetInvalid(f"{name} is no number of seconds")
