"""The pixel format of RFB: sixteen bytes in ServerInit and SetPixelFormat, as a value.

Source: RFC 6143 section 7.4 (``PIXEL_FORMAT``).

Reading is lenient: any sixteen bytes are a ``PixelFormat``, so that a proxy can carry what it does not understand;
``problem`` says whether pixels can be made of it. This file knows colours as 8 bits per channel and nothing of screens.
"""

from __future__ import annotations

import struct

import attrs

#: How long a pixel format is on the wire.
PIXEL_FORMAT_BYTES = 16

_WIRE = struct.Struct(">BBBBHHHBBB3x")
_USUAL_BITS_PER_PIXEL = (8, 16, 32)
_U8 = attrs.validators.and_(attrs.validators.ge(0), attrs.validators.le(0xFF))
_U16 = attrs.validators.and_(attrs.validators.ge(0), attrs.validators.le(0xFFFF))


@attrs.frozen
class PixelFormat:
    """How one pixel is written. The defaults are ``USUAL_PIXEL_FORMAT``.

    Attributes:
        bits_per_pixel: the room a pixel takes: 8, 16 or 32.
        depth: how many of those bits mean something.
        big_endian: the byte order of pixels wider than a byte.
        true_colour: the pixel holds its colour; otherwise an index into a colour map.
        red_max, green_max, blue_max: the brightest value of a channel, ``2 ** n - 1``.
        red_shift, green_shift, blue_shift: how far left of bit 0 a channel's value stands.
    """

    bits_per_pixel: int = attrs.field(default=32, validator=_U8)
    depth: int = attrs.field(default=24, validator=_U8)
    big_endian: bool = False
    true_colour: bool = True
    red_max: int = attrs.field(default=255, validator=_U16)
    green_max: int = attrs.field(default=255, validator=_U16)
    blue_max: int = attrs.field(default=255, validator=_U16)
    red_shift: int = attrs.field(default=16, validator=_U8)
    green_shift: int = attrs.field(default=8, validator=_U8)
    blue_shift: int = attrs.field(default=0, validator=_U8)

    @classmethod
    def parse(cls, raw: bytes) -> PixelFormat:
        """Read sixteen bytes; the three bytes of padding are ignored.

        Raises:
            ValueError: not sixteen bytes.
        """
        if len(raw) != PIXEL_FORMAT_BYTES:
            raise ValueError(f"a pixel format is {PIXEL_FORMAT_BYTES} bytes, not {len(raw)}")
        bits, depth, big_endian, true_colour, *channels = _WIRE.unpack(raw)
        return cls(bits, depth, bool(big_endian), bool(true_colour), *channels)

    def encode(self) -> bytes:
        """The sixteen bytes, padding zero."""
        return _WIRE.pack(
            self.bits_per_pixel,
            self.depth,
            self.big_endian,
            self.true_colour,
            self.red_max,
            self.green_max,
            self.blue_max,
            self.red_shift,
            self.green_shift,
            self.blue_shift,
        )

    @property
    def bytes_per_pixel(self) -> int:
        """The room a pixel takes, in bytes."""
        return self.bits_per_pixel // 8

    def problem(self) -> str | None:
        """Why no pixel can be written in this format; ``None`` when one can."""
        if self.bits_per_pixel not in _USUAL_BITS_PER_PIXEL:
            return f"{self.bits_per_pixel} bits per pixel"
        if not self.true_colour:
            return "a colour map"
        for name, top, shift in self._channels():
            if top & (top + 1):
                return f"{name}: the brightest value {top} is no power of two less one"
            if top.bit_length() + shift > self.bits_per_pixel:
                return f"{name}: {top} shifted by {shift} does not fit {self.bits_per_pixel} bits"
        return None

    def pack(self, red: int, green: int, blue: int) -> bytes:
        """One pixel of a colour given in 0 to 255 per channel.

        Raises:
            ValueError: the format has a ``problem``.
        """
        self._require_usable()
        value = 0
        for (_name, top, shift), level in zip(self._channels(), (red, green, blue), strict=True):
            value |= (level * top + 127) // 255 << shift
        return value.to_bytes(self.bytes_per_pixel, "big" if self.big_endian else "little")

    def unpack(self, pixel: bytes) -> tuple[int, int, int]:
        """The colour of one pixel, 0 to 255 per channel; the inverse of ``pack`` as far as the bits allow.

        Raises:
            ValueError: the format has a ``problem``, or ``pixel`` is not one pixel long.
        """
        self._require_usable()
        if len(pixel) != self.bytes_per_pixel:
            raise ValueError(f"a pixel is {self.bytes_per_pixel} bytes, not {len(pixel)}")
        value = int.from_bytes(pixel, "big" if self.big_endian else "little")
        # A channel without any bits is dark, not a division by zero.
        red, green, blue = (
            ((value >> shift & top) * 255 + top // 2) // top if top else 0 for _name, top, shift in self._channels()
        )
        return red, green, blue

    def _channels(self) -> tuple[tuple[str, int, int], ...]:
        return (
            ("red", self.red_max, self.red_shift),
            ("green", self.green_max, self.green_shift),
            ("blue", self.blue_max, self.blue_shift),
        )

    def _require_usable(self) -> None:
        if (problem := self.problem()) is not None:
            raise ValueError(f"no pixel can be written: {problem}")


#: What servers offer as a rule: 32 bits, little-endian, ``0x00RRGGBB``.
USUAL_PIXEL_FORMAT = PixelFormat()
