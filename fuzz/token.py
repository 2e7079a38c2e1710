"""Tokens: their spelling and their seal, which anybody may try, and the fields inside.

The first byte of an input says what the rest is: 0 a token as it stands in a URL, 1 the plaintext of a sealed token,
2 the same in the legacy format (whose seal anybody can break), anything else the bytes behind the base64.
"""

from __future__ import annotations

import base64

from Crypto.Cipher import AES
from Crypto.Util.Padding import pad

from fuzz.checks import must
from trio_cpvm.errors import TOKEN_EXPIRED, TOKEN_INVALID, TOKEN_MISSING, ConsoleError
from trio_cpvm.models import ConsoleTarget
from trio_cpvm.token import TokenKey, TokenReader, target_from_json, target_to_json

KEY = TokenKey(bytes(range(0x10)), bytes(range(0x10, 0x20)))
NONCE = bytes(range(0x64, 0x70))
READER = TokenReader(keys=(KEY,), accept_legacy_cbc=True, require_expiry=False)

SPELLED, SEALED, LEGACY = 0, 1, 2


def check(data: bytes) -> None:
    """A token opens, or is refused with one of three reasons."""
    kind, rest = (data[0], data[1:]) if data else (SPELLED, b"")
    try:
        target = READER.read(spelling(kind, rest), now=1_000_000_000)
    except ConsoleError as error:
        must(error.reason in (TOKEN_MISSING, TOKEN_INVALID, TOKEN_EXPIRED), "another reason")
        must(error.detail.isprintable() and len(error.detail) < 200, "a wild detail")
        return
    look_at(target)


def spelling(kind: int, rest: bytes) -> str:
    """The token that an input stands for."""
    if kind == SPELLED:
        return rest.decode("latin-1")
    if kind == SEALED:
        cipher = AES.new(KEY.gcm_key, AES.MODE_GCM, nonce=NONCE, mac_len=16)
        cipher.update(KEY.iv)
        rest = NONCE + b"".join(cipher.encrypt_and_digest(rest))
    elif kind == LEGACY:
        rest = AES.new(KEY.key, AES.MODE_CBC, iv=KEY.iv).encrypt(pad(rest, AES.block_size))
    return base64.b64encode(rest).decode("ascii")


def look_at(target: ConsoleTarget) -> None:
    """What the site does with a target before it connects."""
    must(bool(target.address) and bool(target.viewer_key), "a console without an address")
    must(0 <= target.port <= 65535, "no port")
    must(target_from_json(target_to_json(target)) == target, "another console after writing and reading it")
