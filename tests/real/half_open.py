"""Thousands of connections that say nothing, or half a request head, until they are hung up on.

Run as a script, in a process of its own so that it takes no time from the crowd's: ``half_open.py HOST PORT NUMBER``.
It prints ``open`` once all are, and as JSON how often each kind of answer came once all are closed.
"""

from __future__ import annotations

import json
import socket
import sys
from collections import Counter

HALF_A_HEAD = b"GET /novnc HTTP/1.1\r\nHost: half"
#: From so many addresses.
ADDRESSES = 20
#: As many bytes of an answer are enough to tell it from others.
_STATUS_LINE = 12
_PATIENCE_S = 120.0


def main(host: str, port: int, number: int) -> None:
    opened = []
    for place in range(number):
        source = f"127.0.0.{2 + place % ADDRESSES}"  # no address has more than a client may have
        one = socket.create_connection((host, port), _PATIENCE_S, (source, 0))
        one.sendall(HALF_A_HEAD if place % 2 else b"")
        opened.append(one)
    sys.stdout.write("open\n")
    sys.stdout.flush()
    answers: Counter[str] = Counter()
    for one in opened:
        answers[one.recv(_STATUS_LINE).decode("ascii")] += 1
        one.close()
    sys.stdout.write(json.dumps(answers) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
