"""``trio-cpvm top``: a running daemon and its sessions in a terminal, drawn anew every second.

Asks the admin listener, as ``trio-cpvm sessions`` does, and works out from two answers how fast bytes go. It outlives
the daemon: while none answers it says so and goes on asking. Everything that comes from peers is made printable.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs
from rich.cells import cell_len
from rich.console import Console, Group, JustifyMethod
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .admin_client import AdminClient, AdminUnreachable
from .logs import printable

#: What ``s`` goes through, with whether the largest comes first.
SORTS = (("rate", True), ("age", True), ("idle", True), ("user", False), ("name", False), ("host", False))
#: What a terminal sends for one key: a sequence (ECMA-48 section 5.4, SS3 for some terminals' arrows), or a character.
_KEY = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1bO.|.", re.DOTALL)
_ARROWS = {"\x1b[A": "up", "\x1b[B": "down", "\x1bOA": "up", "\x1bOB": "down"}
#: The terminal's end was closed.
GONE = "gone"
_LEAVE = frozenset({"q", "\x04", GONE})
PIPE_WIDTH = 250


@attrs.frozen
class Row:
    """A session, with how fast its bytes go, in bytes a second."""

    session: Mapping[str, object]
    up: float = 0.0
    down: float = 0.0

    def text(self, key: str) -> str:
        """A field as text that does nothing to a terminal."""
        value = self.session.get(key)
        return "" if value is None else printable(str(value))

    def number(self, key: str) -> float | None:
        """A field as number; ``None`` where it is none."""
        value = self.session.get(key)
        return value if isinstance(value, int | float) else None

    def sort_key(self, by: str) -> tuple[float, str]:
        """What a list is sorted by: a number, or else a text."""
        if by == "rate":
            return self.up + self.down, ""
        return (self.number(f"{by}_s") or 0.0, "") if by in ("age", "idle") else (0.0, self.text(by))

    @property
    def phase(self) -> str:
        """How far it is, and whether its user may only look."""
        looks = self.session.get("view_only") or self.session.get("looks_on")
        return self.text("phase") + (", looks" if looks else "")

    @property
    def security(self) -> str:
        """How the way to the host is secured."""
        return ", ".join(filter(None, (self.text("security"), self.text("transport"))))

    @property
    def round_trip(self) -> str:
        """To the host and back, in milliseconds."""
        found = self.number("host_rtt_ms")
        return "" if found is None else f"{found:.1f}"


@attrs.frozen
class Column:
    """One column of the list.

    Attributes:
        title: stands above it.
        cell: what stands in it.
        from_width: how wide a terminal has to be to have it.
        least: how narrow it may get; 0: as wide as what stands in it.
    """

    title: str
    cell: Callable[[Row], str]
    from_width: int = 0
    least: int = 0


COLUMNS = (
    Column("id", lambda row: row.text("id")),
    Column("user", lambda row: row.text("user"), least=5),
    Column("client", lambda row: row.text("client"), least=9),
    Column("name", lambda row: row.text("name") or row.text("vm"), least=8),
    Column("vm", lambda row: row.text("vm"), 150, least=8),
    Column("host", lambda row: row.text("host"), 110, least=12),
    Column("phase", lambda row: row.phase, least=5),
    Column("security", lambda row: row.security, 135, least=8),
    Column("age", lambda row: duration(row.number("age_s"))),
    Column("idle", lambda row: duration(row.number("idle_s")), 80),
    Column("rtt ms", lambda row: row.round_trip, 100),
    Column("up/s", lambda row: size(row.up), 80),
    Column("down/s", lambda row: size(row.down)),
)


class Rates:
    """Tells from one look at the daemon to the next how fast each session's bytes go."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[float, float]] = {}
        self._looked_at = 0.0

    def rows(self, sessions: Sequence[Mapping[str, object]], now: float) -> list[Row]:
        """The sessions of a look at that time, in seconds."""
        since, rows = now - self._looked_at, []
        seen: dict[str, tuple[float, float]] = {}
        for session in sessions:
            row = Row(session)
            total = (row.number("bytes_up") or 0.0, row.number("bytes_down") or 0.0)
            seen[row.text("id")] = total
            before = self._before.get(row.text("id"))
            if before is not None and since > 0:
                up, down = (max(0.0, (new - old) / since) for new, old in zip(total, before, strict=True))
                row = Row(session, up, down)
            rows.append(row)
        self._before, self._looked_at = seen, now
        return rows


@attrs.define
class View:
    """What is on the screen.

    Attributes:
        daemon: what it says of itself.
        rows: its sessions.
        trouble: why it cannot be asked; empty while it can.
        sort: which entry of ``SORTS`` they are sorted by.
        chosen: the id of the marked session; empty: none.
        killing: the id of the session that is to be ended if the user says yes; empty: none.
        said: what came of the last key.
    """

    daemon: Mapping[str, object] = attrs.field(factory=dict)
    rows: list[Row] = attrs.field(factory=list)
    trouble: str = ""
    sort: int = 0
    chosen: str = ""
    killing: str = ""
    said: str = ""

    def sorted_rows(self) -> list[Row]:
        """The rows as they are shown."""
        by, largest_first = SORTS[self.sort]
        return sorted(self.rows, key=lambda row: (*row.sort_key(by), row.text("id")), reverse=largest_first)

    def choose(self, step: int) -> None:
        """Mark the session that many rows further down."""
        ids = [row.text("id") for row in self.sorted_rows()]
        if ids:
            at = ids.index(self.chosen) + step if self.chosen in ids else 0
            self.chosen = ids[max(0, min(at, len(ids) - 1))]

    def draw(self, console: Console, *, fill: bool = True) -> Group:
        """The picture.

        Args:
            console: how large it may be.
            fill: leave out what does not fit, and say which keys there are.
        """
        header = self._header()
        parts: list[Text | Table] = [header]
        if self.trouble:
            parts.append(Text(f"{self.trouble}; asking again", style="bold red", no_wrap=True, overflow="ellipsis"))
        taken = len(header.wrap(console, console.width)) + len(parts) - 1 + len(("titles", "totals", "keys"))
        parts.append(self._table(console.width, max(1, console.height - taken) if fill else len(self.rows)))
        if fill:
            parts.append(self._footer())
        return Group(*parts)

    def _header(self) -> Text:
        told = self.daemon
        connections = told.get("connections")
        opened = connections if isinstance(connections, dict) else {}
        up, down = sum(row.up for row in self.rows), sum(row.down for row in self.rows)
        parts = [
            f"trio-cpvm {printable(str(told.get('version', '?')))}",
            f"up {duration(told.get('uptime_s'))}",
            f"sessions {len(self.rows)}/{printable(str(told.get('max_sessions', '?')))}",
            "connections " + ", ".join(f"{printable(f'{name} {count}')}" for name, count in opened.items()),
            f"MB/s {up / 1e6:.2f} up, {down / 1e6:.2f} down",
        ]
        text = Text("   ".join(parts), style="bold", overflow="fold")
        if told.get("draining"):
            text.append("   draining", style="bold yellow")
        return text

    def _table(self, width: int, room: int) -> Table:
        rows = self.sorted_rows()
        shown = self._around_chosen(rows, room)
        totals = {
            "id": f"{len(rows)} in all" if len(shown) == len(rows) else f"{len(shown)} of {len(rows)}",
            "up/s": size(sum(row.up for row in rows)),
            "down/s": size(sum(row.down for row in rows)),
        }
        columns = [column for column in COLUMNS if width >= column.from_width]
        texts = [[column.title, totals.get(column.title, ""), *map(column.cell, shown)] for column in columns]
        widths = fitted([max(map(cell_len, cells)) for cells in texts], [column.least for column in columns], width)
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_footer=True)
        table.header_style, table.footer_style = "reverse", "bold"
        for column, (title, total, *_), fits in zip(columns, texts, widths, strict=True):
            side: JustifyMethod = "left" if column.least or column.title == "id" else "right"
            table.add_column(title, total, justify=side, no_wrap=True, overflow="ellipsis", width=fits)
        for row, *cells in zip(shown, *(cells[2:] for cells in texts), strict=True):
            style = "reverse" if row.text("id") == self.chosen else ""
            table.add_row(*map(Text, cells), style=style)  # as Text, in which brackets are no marks of rich's
        return table

    def _around_chosen(self, rows: list[Row], room: int) -> list[Row]:
        ids = [row.text("id") for row in rows]
        at = ids.index(self.chosen) if self.chosen in ids else 0
        first = max(0, at - room + 1)
        return rows[first : first + room]

    def _footer(self) -> Text:
        if self.killing:
            return Text(f"End session {self.killing}? y: yes, any other key: no", style="bold yellow")
        keys = f"q quit   s sorted by {SORTS[self.sort][0]}   up, down choose   k end the chosen one"
        return Text(f"{keys}   {self.said}", style="dim", no_wrap=True, overflow="ellipsis")


def fitted(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Column widths that fit, with a gap behind each: the widest of those that may be narrower give way first."""
    fits = list(widths)
    for _ in range(max(0, sum(fits) + len(fits) - room)):
        able = [at for at, width in enumerate(fits) if 0 < least[at] < width]
        if not able:
            break
        fits[max(able, key=fits.__getitem__)] -= 1
    return fits


def duration(seconds: object) -> str:
    """``59s``, ``59m59s``, ``23h59m`` or ``12d3h``; empty for what is no number."""
    if not isinstance(seconds, int | float):
        return ""
    whole = int(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if days:
        return f"{days}d{hours % 24}h"
    if hours:
        return f"{hours}h{minutes % 60:02}m"
    return f"{minutes}m{whole % 60:02}s" if minutes else f"{whole}s"


def size(count: float) -> str:
    """A number of bytes in three digits and a unit."""
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 99.5 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def run_top(client: AdminClient, *, interval_s: float, once: bool) -> None:
    """Draw until the user leaves, or once.

    Raises:
        AdminUnreachable: with ``once``, where no daemon answers.
    """
    view, rates = View(), Rates()
    if once:
        _look(client, view, rates)
        time.sleep(interval_s)
        _look(client, view, rates)
        if view.trouble:
            raise AdminUnreachable(view.trouble)
        console = Console(highlight=False)
        if not console.is_terminal:  # a pipe has no width: nothing is cut off
            console = Console(highlight=False, width=PIPE_WIDTH)
        console.print(view.draw(console, fill=False))
    elif sys.stdin.isatty() and sys.stdout.isatty():
        with contextlib.suppress(KeyboardInterrupt):
            _watch(client, view, rates, interval_s)
    else:
        raise AdminUnreachable("top needs a terminal; for scripts there is --once")


def _watch(client: AdminClient, view: View, rates: Rates, interval_s: float) -> None:
    console = Console(highlight=False)
    with _keys() as next_key, Live(console=console, screen=True, auto_refresh=False) as live:
        due = 0.0
        while True:
            if time.monotonic() >= due:
                _look(client, view, rates)
                due = time.monotonic() + interval_s
            live.update(view.draw(console), refresh=True)
            key = next_key(max(0.0, due - time.monotonic()))
            if key in _LEAVE:
                return
            _obey(key, view, client)


def _look(client: AdminClient, view: View, rates: Rates) -> None:
    try:
        told = client.overview()
    except AdminUnreachable as exc:
        view.trouble, view.rows = printable(str(exc)), []
        return
    listed = told.get("sessions")
    view.trouble, view.daemon = "", told
    view.rows = rates.rows(listed if isinstance(listed, list) else [], time.monotonic())


def _obey(key: str, view: View, client: AdminClient) -> None:
    """Do what a key means; an empty one is none."""
    if not key:
        return
    view.said = ""
    if view.killing:
        session_id, view.killing = view.killing, ""
        if key == "y":
            try:
                view.said = f"{session_id} was told to end" if client.kill(session_id) else f"{session_id} is over"
            except AdminUnreachable as exc:
                view.said = printable(str(exc))
    elif key == "s":
        view.sort = (view.sort + 1) % len(SORTS)
    elif key in ("up", "down"):
        view.choose(-1 if key == "up" else 1)
    elif key == "k" and view.chosen in {row.text("id") for row in view.rows}:
        view.killing = view.chosen


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Keys one by one, unseen, within the block: gives what waits so many seconds for one."""
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    pressed: deque[str] = deque()

    def next_key(within_s: float) -> str:
        if not pressed:
            ready, _, _ = select.select([number], [], [], within_s)
            if not ready:
                return ""
            raw = os.read(number, 256).decode("latin-1")
            pressed.extend(_KEY.findall(raw) or [GONE])
        key = pressed.popleft()
        return _ARROWS.get(key, key)

    try:
        tty.setcbreak(number)
        yield next_key
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)
