"""What a page gets from the proxy beside the console: answers in text messages, and words in its user's language."""

from __future__ import annotations

import json

import pytest

from .browser import ConsolePage
from .conftest import StartDaemon, StartQemu

pytestmark = [pytest.mark.real, pytest.mark.browser]

#: Opens a console by hand, says all of a handshake at once, then asks until the relay runs; gives all answers.
_ASK_UNTIL_RELAY = r"""
async (address) => {
  const socket = new WebSocket(address, ["binary"]);
  socket.binaryType = "arraybuffer";
  const answers = [];
  const relay = new Promise((resolve, reject) => {
    socket.onclose = (event) => reject(new Error(`closed: ${event.code} ${event.reason}`));
    socket.onopen = () => {
      socket.send(new TextEncoder().encode("RFB 003.008\n\x01\x01"));
      socket.send('{"ping":0}');
    };
    socket.onmessage = (event) => {
      if (typeof event.data !== "string") return;
      answers.push(event.data);
      if (JSON.parse(event.data).phase === "relay") resolve();
      else setTimeout(() => socket.send(`{"stay":${answers.length}}`), 500);
    };
  });
  await relay;
  socket.close();
  return answers;
}
"""


def test_answers_beside_the_console(
    start_qemu: StartQemu, start_daemon: StartDaemon, tab: ConsolePage, password: str
) -> None:
    qemu = start_qemu(password=password)
    daemon = start_daemon(session={"idle_timeout_s": 60})
    console = daemon.mint(qemu.host, qemu.port, password=password)
    tab.open(f"{console.origin}/novnc?lang=de")
    assert tab.page.get_attribute("html", "lang") == "de"
    assert "Der Link enthält kein Konsolen-Token." in tab.visible_text()
    answers = [json.loads(text) for text in tab.page.evaluate(_ASK_UNTIL_RELAY, console.websocket_url)]
    assert [answer["pong"] for answer in answers] == list(range(len(answers)))
    assert answers[-1]["phase"] == "relay"
    assert 59 < answers[-1]["idle_left_s"] <= 60
    assert answers[-1]["lifetime_left_s"] is None
    assert 0 <= answers[-1]["host_rtt_ms"] < 1000
