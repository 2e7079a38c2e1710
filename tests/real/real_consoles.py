"""A lean browser at a real VNC server: it asks for a corner of the screen now and then."""

from __future__ import annotations

import struct
import time

import attrs
import trio

from trio_cpvm.models import ConsoleTarget, Secret

from .crowd import Crowd
from .lean_browser import LeanBrowser
from .processes import PATIENCE_S

_SIDE = 16


@attrs.frozen
class RealConsole:
    """One console of QEMU or Xvnc."""

    browser: LeanBrowser

    @classmethod
    async def open(cls, crowd: Crowd, host: str, port: int, password: str) -> RealConsole:
        """Open it through the crowd's daemon, and see something."""
        token = crowd.mint(
            ConsoleTarget(host=host, port=port, password=Secret(password), not_after=time.time() + PATIENCE_S)
        )
        console = cls(await crowd.browser(token=token))
        await console.browser.send(struct.pack(">B3xBBBBHHHBBB3x", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0))
        await console.browser.send(struct.pack(">BxHi", 2, 1, 0))
        await console.look()
        return console

    async def look(self) -> None:
        """See the screen's corner (RFC 6143 7.5.3, 7.6.1; raw)."""
        with trio.fail_after(PATIENCE_S):
            await self.browser.send(struct.pack(">BBHHHH", 3, 0, 0, 0, _SIDE, _SIDE))
            seen = 0
            while seen < _SIDE * _SIDE:
                kind, rectangles = struct.unpack(">BxH", await self.browser.read(4))
                assert kind == 0, kind
                for _ in range(rectangles):
                    width, height, encoding = struct.unpack(">4xHHi", await self.browser.read(12))
                    assert encoding == 0, encoding
                    await self.browser.read(width * height * 4)
                    seen += width * height
