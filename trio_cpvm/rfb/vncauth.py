"""VNC authentication (security type 2): the answer to a challenge.

Source: rfbproto, "VNC Authentication"; RFC 6143 section 7.2.2. Used by the handshake and by the doubles.
"""

from __future__ import annotations

from Crypto.Cipher import DES

CHALLENGE_BYTES = 16

_KEY_BYTES = 8
# The library loads the files of a mode with its first use: not then, when there may be no file descriptor for it.
DES.new(bytes(_KEY_BYTES), DES.MODE_ECB)  # noqa: S304

_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def vnc_auth_response(password: bytes, challenge: bytes) -> bytes:
    """Encrypt ``challenge`` (16 bytes) with ``password``, as every VNC server expects it.

    The DES key is the first 8 bytes of the password, filled up with zero bytes, each byte's bits mirrored; anything
    beyond 8 bytes does not count. DES in ECB mode is what the protocol says; it is why the connection wants TLS.

    Raises:
        ValueError: the challenge is not 16 bytes long.
    """
    if len(challenge) != CHALLENGE_BYTES:
        raise ValueError(f"a VNC challenge is {CHALLENGE_BYTES} bytes, not {len(challenge)}")
    key = password[:_KEY_BYTES].ljust(_KEY_BYTES, b"\0").translate(_REVERSED_BITS)
    return DES.new(key, DES.MODE_ECB).encrypt(challenge)  # noqa: S304 -- the protocol's choice, see above
