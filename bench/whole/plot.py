"""A plot of what was measured: CPU a message and delivered messages a second, a pair of bars a case, as SVG. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bench.whole.cases import CASES
from bench.whole.relays import POSTFIX
from bench.whole.report import NO_RELAY, Result, number, values

WIDTH, ROW, BAR, LEFT, RIGHT = 900, 16, 12, 330, 110
COLOURS = ("#b0b8c4", "#2f6fb3", "#5aa469", "#d08a3c", "#8a63a8")
PARTS = (("cpu_ms", "CPU a message, ms (shorter is better)"), ("delivered", "delivered messages a second"))


def plot(results: Sequence[Result]) -> str:
    """Bars are drawn to the largest of their part; the number stands beside each."""
    names = list(dict.fromkeys(name for result in results for name in result.samples if name != NO_RELAY))
    colours = dict(zip(names, COLOURS * (1 + len(names) // len(COLOURS)), strict=False))
    drawn, y = legend(colours), 40
    for what, title in PARTS:
        drawn.append(text(10, y, title, "font-weight='bold'"))
        largest = max(
            (result.middle(name, what) for result in results for name in shown(result, what)), default=1.0
        )
        y += 10
        for result in results:
            y += 8
            drawn.append(text(10, y + BAR - 2, CASES[result.case].title))
            for name in shown(result, what):
                value = result.middle(name, what)
                length = max(1.0, value / largest * (WIDTH - LEFT - RIGHT))
                drawn.append(
                    f"<rect x='{LEFT}' y='{y}' width='{length:.1f}' height='{BAR}' fill='{colours[name]}'/>"
                )
                drawn.append(text(LEFT + length + 5, y + BAR - 2, number(value)))
                y += ROW
        y += 30
    size, font = f"width='{WIDTH}' height='{y}'", "font-family='sans-serif' font-size='11'"
    head = f"<svg xmlns='http://www.w3.org/2000/svg' {size} {font}>"
    return "\n".join([head, f"<rect width='{WIDTH}' height='{y}' fill='white'/>", *drawn, "</svg>"]) + "\n"


def shown(result: Result, what: str) -> list[str]:
    found = [name for name, samples in result.samples.items() if name != NO_RELAY and values(samples, what)]
    return sorted(found, key=lambda name: name != POSTFIX)


def legend(colours: dict[str, str]) -> list[str]:
    drawn = []
    for position, (name, colour) in enumerate(colours.items()):
        x = 10 + position * 160
        drawn += [f"<rect x='{x}' y='8' width='10' height='10' fill='{colour}'/>", text(x + 15, 17, name)]
    return drawn


def text(x: float, y: float, words: str, more: str = "") -> str:
    return f"<text x='{x:.0f}' y='{y:.0f}' {more}>{escape(words)}</text>"
