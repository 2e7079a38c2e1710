"""The encodings that a filter has to know by name: numbers, and which of them may be asked for under which policy.

Source: rfbproto "Encodings" and "Pseudo-encodings"; numbers are signed, as in SetEncodings. An encoding that is not
here is never passed on by a filter: it might change the size of a message, and a filter that has lost its place
filters nothing. Knows no messages and no bytes.
"""

from __future__ import annotations

import attrs

RAW, COPY_RECT, RRE, CORRE, HEXTILE, ZLIB, TIGHT, ZLIB_HEX, TRLE, ZRLE = 0, 1, 2, 4, 5, 6, 7, 8, 15, 16
JPEG, H264, TIGHT_PNG = 21, 50, -260
DESKTOP_SIZE, LAST_RECT, CURSOR, X_CURSOR, CURSOR_WITH_ALPHA = -223, -224, -239, -240, -314
POINTER_CHANGE, EXTENDED_KEY, AUDIO, LED_STATE = -257, -258, -259, -261
GII, DESKTOP_NAME, EXTENDED_DESKTOP_SIZE, XVP = -305, -307, -308, -309
FENCE, CONTINUOUS_UPDATES, EXTENDED_MOUSE = -312, -313, -316
VMWARE_CURSOR = 0x574D5664
EXTENDED_CLIPBOARD = 0xC0A1E5CE - (1 << 32)

#: Rectangles whose size can be told without decoding them (``server_filter``), and those that hold nothing.
FRAMED = frozenset(
    {RAW, COPY_RECT, ZLIB, TIGHT, ZRLE, TIGHT_PNG}
    | {DESKTOP_SIZE, LAST_RECT, CURSOR, X_CURSOR, VMWARE_CURSOR, POINTER_CHANGE, EXTENDED_KEY, LED_STATE}
    | {DESKTOP_NAME, EXTENDED_DESKTOP_SIZE}
)
#: Pictures that would have to be walked through tile by tile, or have no size at all.
_UNFRAMED = frozenset({RRE, CORRE, HEXTILE, ZLIB_HEX, TRLE, JPEG, H264, CURSOR_WITH_ALPHA})
#: They allow messages that every filter knows the size of.
_MESSAGES = frozenset({FENCE, CONTINUOUS_UPDATES, XVP, EXTENDED_CLIPBOARD})
#: Qualities and levels: JPEG, compression, JPEG in fine steps, its subsampling.
_LEVELS = (range(-32, -22), range(-256, -246), range(-512, -411), range(-768, -762))


@attrs.frozen(kw_only=True)
class FilterPolicy:
    """What may pass between a browser and a host.

    Attributes:
        view_only: nothing of the user's hands reaches the host.
        to_guest: the user's clipboard may.
        from_guest: the host's clipboard may reach the user.
        max_bytes: the longest text of a clipboard, in either direction; 0: no limit.
    """

    view_only: bool = False
    to_guest: bool = True
    from_guest: bool = True
    max_bytes: int = 0

    @property
    def watches_host(self) -> bool:
        """Whether the host's messages have to be followed."""
        return not self.from_guest or self.max_bytes > 0

    @property
    def watches_browser(self) -> bool:
        """Whether the browser's messages have to be followed."""
        return self.view_only or not self.to_guest or self.watches_host

    def keeps(self, encoding: int) -> bool:
        """Whether a browser may ask for an encoding.

        Never for gii and QEMU's audio, which nobody needs, and never for extended mouse buttons: whether a
        PointerEvent then has 6 bytes or 7 is up to the host.
        """
        if encoding in (XVP, EXTENDED_KEY):
            return not self.view_only
        if encoding == EXTENDED_CLIPBOARD:
            return not self.view_only and (self.to_guest or self.from_guest)
        if encoding in _UNFRAMED:
            return not self.watches_host
        return encoding in FRAMED or encoding in _MESSAGES or any(encoding in levels for levels in _LEVELS)
