"""CloudStack's load report: names, types and times as ``ConsoleProxyClientStatsCollector.java`` writes them."""

from __future__ import annotations

import json

import attrs
import trio
import trio.testing
from trio.testing import MockClock

from tests.consoles import PASSWORD, TARGET, console
from tests.helpers import NOW
from tests.helpers import TARGET as FULL_TARGET
from trio_cpvm.load_report import load_report
from trio_cpvm.session import Session
from trio_cpvm.testing import ReadForever, RfbClient, ScriptedVncServer

KEY = b"\4\1\0\0\0\0\0a"


async def test_the_report_has_gsons_form(autojump_clock: MockClock) -> None:
    session = Session(target=FULL_TARGET, client="192.0.2.9", id="ffffffffffff")
    await trio.sleep(2.5)
    assert load_report([session], now=NOW).decode() == (
        "{\n"
        '  "connections": [\n'
        "    {\n"
        f'      "id": {0xFFFFFFF},\n'
        '      "clientInfo": "",\n'
        '      "host": "192.0.2.5",\n'
        '      "port": 5901,\n'
        '      "tag": "vm-1",\n'
        '      "createTime": 1799999997500,\n'
        '      "lastUsedTime": 1799999997500,\n'
        '      "sessionUuid": "uuid-1"\n'
        "    }\n"
        "  ]\n"
        "}"
    )


async def test_what_is_null_is_left_out(autojump_clock: MockClock) -> None:
    session = Session(target=attrs.evolve(FULL_TARGET, session_uuid=""), client="192.0.2.9")
    (entry,) = json.loads(load_report([session], now=NOW))["connections"]
    assert "sessionUuid" not in entry


async def test_last_used_is_the_last_input(autojump_clock: MockClock) -> None:
    async with console(ScriptedVncServer(password=PASSWORD, then=[ReadForever()]), target=TARGET) as c:
        await RfbClient(c.browser).handshake()
        await trio.sleep(10)
        await c.browser.send_all(KEY)
        await trio.sleep(4)
        await c.browser.send_all(b"\3" + bytes(9))  # the browser's own, no input
        await trio.sleep(1)
        (entry,) = json.loads(load_report([c.session], now=NOW))["connections"]
        assert (entry["createTime"], entry["lastUsedTime"]) == (round((NOW - 15) * 1000), round((NOW - 5) * 1000))
        assert 0 <= entry["id"] < 1 << 31
