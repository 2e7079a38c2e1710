"""Token keys: CloudStack's key file, and making a new one.

Source: CloudStack ``com/cloud/servlet/ConsoleProxyPasswordBasedEncryptor.java`` (the JSON), ``KeysManagerImpl.java``
(16 random bytes each, base64url without padding). There is no default key: no file, no start.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path

import attrs

from ..errors import BadConfiguration
from .spelling import decode_base64, encode_base64url

KEY_BYTES = 16
MAX_KEY_FILE_BYTES = 4096


@attrs.frozen(repr=False)
class TokenKey:
    """One key pair as CloudStack hands it out: 16 key bytes and 16 IV bytes. Prints only its fingerprint."""

    key: bytes
    iv: bytes

    def __attrs_post_init__(self) -> None:
        for name, value in (("key", self.key), ("IV", self.iv)):
            if len(value) != KEY_BYTES:
                raise ValueError(f"the {name} is {len(value)} bytes long, not {KEY_BYTES}")

    @property
    def gcm_key(self) -> bytes:
        """The AES-256 key: SHA-256 of the key bytes (``AeadBase64Encryptor.java``)."""
        return hashlib.sha256(self.key).digest()

    @property
    def fingerprint(self) -> str:
        """Eight hex digits to tell keys apart in logs; nothing about the key follows from them."""
        return hashlib.sha256(b"trio-cpvm token key fingerprint" + self.key + self.iv).hexdigest()[:8]

    @classmethod
    def generate(cls) -> TokenKey:
        """A new random key."""
        return cls(secrets.token_bytes(KEY_BYTES), secrets.token_bytes(KEY_BYTES))

    @classmethod
    def from_json(cls, text: str) -> TokenKey:
        """Read CloudStack's ``{"base64EncodedKeyBytes": ..., "base64EncodedIvBytes": ...}``.

        Raises:
            ValueError: what is wrong, without any of the bytes.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError("not JSON") from None
        if not isinstance(data, dict):
            raise ValueError("not a JSON object")
        parts = []
        for name in ("base64EncodedKeyBytes", "base64EncodedIvBytes"):
            value = data.get(name)
            if not isinstance(value, str):
                raise ValueError(f"{name} is missing or no text")
            try:
                parts.append(decode_base64(value))
            except ValueError:
                raise ValueError(f"{name} is not base64") from None
        return cls(*parts)

    def to_json(self) -> str:
        """The key file's text, as CloudStack would write it."""
        return json.dumps(
            {"base64EncodedKeyBytes": encode_base64url(self.key), "base64EncodedIvBytes": encode_base64url(self.iv)}
        )

    def __repr__(self) -> str:
        return f"TokenKey({self.fingerprint})"


def read_key_file(path: Path) -> TokenKey:
    """Read one key file.

    Raises:
        BadConfiguration: the file cannot be read or holds no key; the text names the file.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as exc:
        raise BadConfiguration(f"{path}: {exc.strerror or exc}") from exc
    if len(raw) > MAX_KEY_FILE_BYTES:
        raise BadConfiguration(f"{path}: larger than a key file can be ({MAX_KEY_FILE_BYTES} bytes)")
    try:
        return TokenKey.from_json(raw.decode("utf-8"))
    except ValueError as exc:
        raise BadConfiguration(f"{path}: not a token key file: {exc}") from None


def write_key_file(path: Path, key: TokenKey) -> None:
    """Write a new key file that only its owner may read (mode 0600); never over an existing one.

    Raises:
        OSError: among others ``FileExistsError``.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(key.to_json() + "\n")
