"""Sealing and opening tokens, and judging an opened one against the clock.

Formats:

* now (CloudStack 4.18 and later, ``AeadBase64Encryptor.java``): AES-256-GCM with the SHA-256 of the key bytes, the IV
  bytes as associated data; ``nonce(12) || ciphertext || tag(16)`` in standard base64;
* legacy (up to 4.17): AES-128-CBC with PKCS5 padding under the key and IV bytes themselves; it has no authentication
  and is only read where the configuration says so.

All failures to open a token are one outcome, ``TokenInvalid``, and cost about the same.
"""

from __future__ import annotations

import base64
import secrets
import uuid
from collections.abc import Callable, Sequence

import attrs
from Crypto.Cipher import AES
from Crypto.Util.Padding import unpad

from ..errors import TOKEN_EXPIRED, TOKEN_INVALID, TOKEN_MISSING, ConsoleError
from ..models import ConsoleTarget
from .fields import TargetInvalid, target_from_json, target_to_json
from .keys import TokenKey
from .spelling import token_bytes

NONCE_BYTES = 12
TAG_BYTES = 16

# The library loads the files of a mode with its first use: not then, when there may be no file descriptor for it.
AES.new(bytes(32), AES.MODE_GCM, nonce=bytes(NONCE_BYTES))
AES.new(bytes(16), AES.MODE_CBC, iv=bytes(16))


class TokenInvalid(Exception):
    """The token cannot be opened. The text is for the log; the outside hears the same for every cause."""


def seal_token(plaintext: str, key: TokenKey, *, nonce: bytes | None = None) -> str:
    """Encrypt a token's plaintext: standard base64, not yet percent-encoded.

    Args:
        plaintext: what ``target_to_json`` gives.
        key: the key; ``nonce`` must never be used twice with it.
        nonce: 12 bytes; random when left out, which it should be outside tests.
    """
    nonce = secrets.token_bytes(NONCE_BYTES) if nonce is None else nonce
    cipher = AES.new(key.gcm_key, AES.MODE_GCM, nonce=nonce, mac_len=TAG_BYTES)
    cipher.update(key.iv)
    ciphertext, tag = cipher.encrypt_and_digest(plaintext.encode("utf-8"))
    return base64.b64encode(nonce + ciphertext + tag).decode("ascii")


def mint_token(target: ConsoleTarget, key: TokenKey) -> str:
    """Seal a console target."""
    return seal_token(target_to_json(target), key)


def open_token(spelled: str, keys: Sequence[TokenKey], *, accept_legacy_cbc: bool = False) -> ConsoleTarget:
    """Decrypt a token as it stands in a URL, in any spelling, under whichever key fits.

    Raises:
        TokenInvalid: it is no base64, no key opens it, or what it holds is no console target.
    """
    try:
        blob = token_bytes(spelled)
    except ValueError as exc:
        raise TokenInvalid(str(exc)) from None
    plaintexts = [text for key in keys if (text := _open_gcm(blob, key)) is not None]
    if not plaintexts and accept_legacy_cbc:
        plaintexts = [text for key in keys if (text := _open_cbc(blob, key)) is not None]
    if not plaintexts:
        raise TokenInvalid("no key opens it")
    why = "not UTF-8"
    for plaintext in plaintexts:  # with CBC, a wrong key may seem to fit by chance
        try:
            return target_from_json(plaintext.decode("utf-8"))
        except UnicodeDecodeError:
            continue
        except TargetInvalid as exc:
            why = str(exc)
    raise TokenInvalid(why)


def _open_gcm(blob: bytes, key: TokenKey) -> bytes | None:
    if len(blob) < NONCE_BYTES + TAG_BYTES:
        return None
    cipher = AES.new(key.gcm_key, AES.MODE_GCM, nonce=blob[:NONCE_BYTES], mac_len=TAG_BYTES)
    cipher.update(key.iv)
    try:
        return cipher.decrypt_and_verify(blob[NONCE_BYTES:-TAG_BYTES], blob[-TAG_BYTES:])
    except ValueError:
        return None


def _open_cbc(blob: bytes, key: TokenKey) -> bytes | None:
    if not blob or len(blob) % AES.block_size:
        return None
    try:
        return unpad(AES.new(key.key, AES.MODE_CBC, iv=key.iv).decrypt(blob), AES.block_size)
    except ValueError:
        return None


@attrs.frozen(kw_only=True)
class TokenReader:
    """Opens tokens and judges their age, as the ``[token]`` table of the configuration says.

    Attributes:
        keys: every key that may have sealed a token.
        accept_legacy_cbc: also read CloudStack's format up to 4.17.
        require_expiry: refuse tokens that carry no ``notAfter``.
        clock_skew_s: by how many seconds clocks may differ.
    """

    keys: tuple[TokenKey, ...] = attrs.field(validator=attrs.validators.min_len(1))
    accept_legacy_cbc: bool = False
    require_expiry: bool = True
    clock_skew_s: float = 5.0

    def read(
        self, spelled: str | None, *, now: float, may_be_late: Callable[[ConsoleTarget], bool] = lambda _: False
    ) -> ConsoleTarget:
        """Open a token and check that it still lives.

        Args:
            spelled: the token as it stands in the URL; ``None`` or empty if there was none.
            now: seconds since the epoch.
            may_be_late: whether this one is still good past its end.

        Raises:
            ConsoleError: ``token-missing``, ``token-invalid`` or ``token-expired``.
        """
        if not spelled:
            raise ConsoleError(TOKEN_MISSING)
        try:
            target = open_token(spelled, self.keys, accept_legacy_cbc=self.accept_legacy_cbc)
        except TokenInvalid as exc:
            raise ConsoleError(TOKEN_INVALID, str(exc)) from None
        if target.not_after is None:
            if self.require_expiry:
                raise ConsoleError(TOKEN_INVALID, "it has no notAfter, and token.require_expiry is on")
        elif now > target.not_after + self.clock_skew_s and not may_be_late(target):
            raise ConsoleError(TOKEN_EXPIRED, f"by {now - target.not_after:.0f} s")
        return target


def new_session_uuid() -> str:
    """A fresh ``sessionUuid``: it makes a token single-use."""
    return str(uuid.uuid4())
