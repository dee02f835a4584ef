"""Mean curves with their intervals as one self-contained SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

__all__ = ["plot"]

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 420, 60, 40, 190, 50
COLOURS = ("#0b6e4f", "#c0392b", "#8e44ad", "#2471a3", "#d68910", "#566573", "#7b241c", "#e84393", "#b7950b")
Array = np.ndarray[Any, Any]


def plot(runs: Sequence[int], curves: Mapping[str, tuple[Array, Array]], *, title: str) -> str:
    """Return an SVG of mean % of the optimum over benchmark runs; each curve is (means, half intervals)."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif">',
        '<rect width="100%" height="100%" fill="white"/><g font-size="12">',
        f'<text x="{LEFT}" y="22" font-size="15">{escape(title)}</text>',
        *(_tick_across(run) for run in runs),
        *(_tick_up(percent) for percent in range(0, 101, 20)),
        f'<text x="{LEFT}" y="{HEIGHT - 12}">benchmark runs; % of the optimum, with 95 % intervals of the mean</text>',
    ]
    for place, (name, (mean, error)) in enumerate(curves.items()):
        parts += _curve(place, name, runs, mean, error)
    return "\n".join([*parts, "</g></svg>\n"])


def _curve(place: int, name: str, runs: Sequence[int], mean: Array, error: Array) -> list[str]:
    colour = COLOURS[place % len(COLOURS)]
    points = " ".join(f"{_x(run):.1f},{_y(value):.1f}" for run, value in zip(runs, mean, strict=True))
    bars = [
        f'<line x1="{_x(run):.1f}" x2="{_x(run):.1f}" y1="{_y(value - half):.1f}" y2="{_y(value + half):.1f}" '
        f'stroke="{colour}"/>'
        for run, value, half in zip(runs, mean, error, strict=True)
    ]
    y = TOP + 18 * place + 10
    legend = (
        f'<line x1="{WIDTH - RIGHT + 15}" x2="{WIDTH - RIGHT + 40}" y1="{y}" y2="{y}" stroke="{colour}" '
        f'stroke-width="2"/><text x="{WIDTH - RIGHT + 46}" y="{y + 4}">{escape(name)}</text>'
    )
    return [f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>', *bars, legend]


def _tick_across(run: int) -> str:
    return f'<text x="{_x(run):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{run}</text>'


def _tick_up(percent: int) -> str:
    y = _y(percent)
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{percent}</text>'
    )


def _x(run: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * run / 52


def _y(percent: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(max(percent, 0.0), 100.0) / 100
