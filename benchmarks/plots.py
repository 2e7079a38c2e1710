"""Plots: the targets and the latencies as SVG, drawn by hand so that nothing has to be installed for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from .candidates import BASELINE, DAEMON, DAEMON_2, WEBSOCKIFY
from .measurements import Measurement
from .results import Results, Spread, short, targets

_COLOURS = {BASELINE: "#888888", WEBSOCKIFY: "#d08020", DAEMON: "#2060b0", DAEMON_2: "#60a0e0"}
_WIDTH, _LEFT, _RIGHT, _TOP, _ROW = 830, 320, 130, 54, 24


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" font-family="sans-serif" '
        f'font-size="13">\n<rect width="100%" height="100%" fill="white"/>\n'
    )
    return head + "\n".join([_text(16, 24, title, size=15), *parts]) + "\n</svg>\n"


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 13, colour: str = "#222222") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{escape(text)}</text>'
    )


def _rule(x: float, top: float, bottom: float, colour: str, width: float = 1) -> str:
    return f'<path d="M{x:.1f} {top:.1f}V{bottom:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def _dot(x: float, y: float, colour: str, radius: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>'


def targets_plot(results: Results) -> str:
    """A bar a target, as a part of what it wants: what reaches the line is reached. Less is better turned round."""
    found: list[tuple[str, str, Spread]] = []
    for target in targets(results.sessions_most):
        value = target.value(results)
        if value is None or min(value.least, value.median) <= 0:
            continue
        parts = [target.bound / number if target.at_most else number / target.bound for number in numbers_of(value)]
        said = f"{short(value.median)} of {short(target.bound)}"
        found.append((target.name, said, Spread(parts[0], min(parts), max(parts))))
    scale = (_WIDTH - _LEFT - _RIGHT) / 2.0  # so much is one whole target
    rows: list[str] = []
    bottom = _TOP + _ROW * len(found)
    for row, (text, said, part) in enumerate(found):
        middle = _TOP + _ROW * (row + 0.5)
        colour = "#2a8a4a" if part.median >= 1 else "#b04030"
        ends = [_LEFT + scale * min(number, 2.0) for number in numbers_of(part)]
        rows.append(_text(_LEFT - 8, middle + 4, text, anchor="end"))
        rows.append(
            f'<rect x="{_LEFT}" y="{middle - 8:.1f}" width="{ends[0] - _LEFT:.1f}" height="16" fill="{colour}"/>'
        )
        rows.append(f'<path d="M{ends[1]:.1f} {middle:.1f}H{ends[2]:.1f}" stroke="#222222" stroke-width="2"/>')
        rows.append(_text(_WIDTH - _RIGHT + 8, middle + 4, said))
    rows.append(_rule(_LEFT + scale, _TOP - 4, bottom, "#222222", 2))
    rows.append(_text(_LEFT + scale, _TOP - 8, "target", anchor="middle"))
    return _svg("Targets: the bar that reaches the line reaches its target", bottom + 16, rows)


def latency_plot(results: Results) -> str:
    """Median, 99 % and 99.9 % of each candidate's key round trips, on a logarithmic scale."""
    shown = [of for of in results.measurements if of.kind == "latency"]
    lines = [(of, name) for of in shown for name in results.candidates(of)]
    times = [time for of, name in lines for time in _quantiles(results, of, name)]
    if not times:
        return ""
    least, most = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))
    scale = (_WIDTH - _LEFT - 30) / (most - least or 1)
    bottom = _TOP + _ROW * len(lines)
    parts: list[str] = []
    for power in range(least, most + 1):
        x = _LEFT + scale * (power - least)
        parts += [_rule(x, _TOP, bottom, "#dddddd"), _text(x, _TOP - 6, _time(power), anchor="middle")]
    for row, (of, name) in enumerate(lines):
        middle = _TOP + _ROW * (row + 0.5)
        xs = [_LEFT + scale * (math.log10(time) - least) for time in _quantiles(results, of, name)]
        number = f"{of.sessions:,} session{'s' * (of.sessions > 1)}{', TLS' * of.tls}: {name}"
        parts.append(_text(_LEFT - 8, middle + 4, number, anchor="end", size=12))
        if xs:
            colour = _COLOURS[name]
            parts.append(f'<path d="M{xs[0]:.1f} {middle:.1f}H{xs[-1]:.1f}" stroke="{colour}" stroke-width="2"/>')
            parts += [_dot(x, middle, colour, radius) for x, radius in zip(xs, (6, 4, 3), strict=True)]
    return _svg("Key round trip: median, 99 % and 99.9 % (large to small)", bottom + 16, parts)


def _time(power: int) -> str:
    """Ten to that power, in microseconds."""
    unit = min(power // 3, 2)
    return f"{10 ** (power - 3 * unit)} {('us', 'ms', 's')[unit]}"


def _quantiles(results: Results, measurement: Measurement, candidate: str) -> list[float]:
    found = [results.spread(measurement, candidate, figure) for figure in ("p50_us", "p99_us", "p999_us")]
    return [quantile.median for quantile in found if quantile is not None]


def numbers_of(value: Spread) -> tuple[float, float, float]:
    """Median, least and most."""
    return value.median, value.least, value.most
