"""The live view: rates, order, widths, keys; with real terminals and daemons in ``tests/real/test_operators.py``."""

from __future__ import annotations

import io
import os
import pty
from collections.abc import Iterator

import pytest
from rich.console import Console

from trio_cpvm import top
from trio_cpvm.admin_client import AdminClient, AdminUnreachable
from trio_cpvm.config_values import TcpAddress
from trio_cpvm.top import Rates, Row, View, duration, fitted, run_top, size


def session(key: str, up: int = 0, down: int = 0, **more: object) -> dict[str, object]:
    return {"id": key, "bytes_up": up, "bytes_down": down, "user": key, "vm": f"vm of {key}", **more}


def drawn(view: View, width: int = 200, height: int = 20, *, fill: bool = True) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), highlight=False)
    console.print(view.draw(console, fill=fill))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_rates_are_what_came_between_two_looks() -> None:
    rates = Rates()
    assert [(row.up, row.down) for row in rates.rows([session("a", 100, 1000)], 50.0)] == [(0, 0)]
    rows = rates.rows([session("a", 300, 5000), session("new", 9, 9)], 52.0)
    assert [(row.up, row.down) for row in rows] == [(100, 2000), (0, 0)]
    assert [row.up for row in rates.rows([session("a", 0, 0)], 53.0)] == [0]  # another daemon's session, never less
    assert rates.rows([], 53.0) == []


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (59.9, "59s"),
        (61, "1m01s"),
        (3600, "1h00m"),
        (86399, "23h59m"),
        (90000, "1d1h"),
        (None, ""),
        ("x", ""),
    ],
)
def test_durations(seconds: object, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_400, "99.4 kB"),
        (99_940, "100 kB"),
        (123_456, "123 kB"),
        (5e6, "5.0 MB"),
        (7e9, "7.0 GB"),
    ],
)
def test_sizes(count: float, shown: str) -> None:
    assert size(count) == shown


def test_the_widest_column_that_may_gives_way_first() -> None:
    assert fitted([10, 20, 5], [0, 8, 4], 40) == [10, 20, 5]
    assert fitted([10, 20, 5], [0, 8, 4], 30) == [10, 12, 5]
    assert fitted([10, 20, 5], [0, 8, 4], 5) == [10, 8, 4]


def test_the_order_is_chosen() -> None:
    rows = [Row(session("b", age_s=1), up=1), Row(session("a", age_s=5), down=9), Row(session("c", age_s=3))]
    view = View(rows=rows)
    orders = {}
    for view.sort, (by, _) in enumerate(top.SORTS):
        orders[by] = "".join(row.text("id") for row in view.sorted_rows())
    assert orders == {"rate": "abc", "age": "acb", "idle": "cba", "user": "abc", "name": "abc", "host": "abc"}


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("trouble", ["", "no daemon answers at 127.0.0.1:8001"])
def test_the_picture_fits_the_terminal(width: int, trouble: str) -> None:
    rows = [Row(session(f"{at:012}", name="Web [bold] ☃ 漢字" * 3, client="2001:db8::1")) for at in range(50)]
    view = View(daemon={"version": "1", "connections": {"public": 3}, "draining": True}, rows=rows, trouble=trouble)
    lines = drawn(view, width, 15)
    assert len(lines) == 15
    assert all(len(line) <= width for line in lines)
    assert lines[-1].startswith("q quit")
    assert any("of 50" in line for line in lines)
    assert any("draining" in line for line in lines)


def test_the_chosen_one_is_in_the_picture() -> None:
    view = View(rows=[Row(session(f"s{at:02}")) for at in range(30)], sort=3)
    view.choose(1)
    for _ in range(40):
        view.choose(1)
    assert view.chosen == "s29"
    assert any("s29" in line for line in drawn(view, height=10))
    for _ in range(40):
        view.choose(-1)
    assert any("s00" in line for line in drawn(view, height=10))
    View().choose(1)


def test_what_peers_say_does_nothing_to_the_terminal() -> None:
    nasty = "\x1b[2J\r\n[red]\u202e"
    view = View(daemon={"version": nasty, "connections": {nasty: nasty}}, rows=[Row(session(nasty, host=nasty))])
    text = "\n".join(drawn(view, 400, fill=False))
    assert "[red]" in text
    assert all(char.isprintable() or char == "\n" for char in text)


class Told(AdminClient):
    """A daemon that has been told to end sessions."""

    def __init__(self) -> None:
        super().__init__(TcpAddress("127.0.0.1", 1))
        self.killed: list[str] = []

    def kill(self, session_id: str) -> bool:
        self.killed.append(session_id)
        return True


def test_a_session_is_ended_only_when_that_is_confirmed() -> None:
    client, view = Told(), View(rows=[Row(session("a")), Row(session("b"))], sort=3)

    def press(*keys: str) -> None:
        for key in keys:
            top._obey(key, view, client)

    press("k")
    assert view.killing == ""  # nothing is chosen
    press("down", "k")
    assert "End session a?" in drawn(view)[-1]
    press("q")
    assert (view.killing, client.killed) == ("", [])
    press("k", "y")
    assert client.killed == ["a"]
    assert "a was told to end" in drawn(view)[-1]
    view.rows = []
    press("k", "x", "", "up")
    assert client.killed == ["a"]


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        yield ours
    os.close(ours)


def test_keys_come_one_by_one(keyboard: int) -> None:
    with top._keys() as next_key:
        os.write(keyboard, b"s\x1b[A\x1bOB\x1b[5~k\xc3")
        found = [next_key(5) for _ in range(6)]
    assert found == ["s", "up", "down", "\x1b[5~", "k", "\xc3"]


def test_without_a_terminal_there_is_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(AdminUnreachable, match="--once"):
        run_top(Told(), interval_s=0.1, once=False)


def test_once_says_where_nobody_answers() -> None:
    with pytest.raises(AdminUnreachable, match="no daemon answers"):
        run_top(Told(), interval_s=0.1, once=True)
