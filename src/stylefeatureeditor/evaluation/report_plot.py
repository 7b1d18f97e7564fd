"""Figure 1 of the paper as SVG: how well a method redraws against how well it edits.

x is a reconstruction distance, y an editing FID, and the area of a marker grows with the logarithm
of the time per photo. Lower left is better. Filled markers were run, hollow ones are the paper's.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stylefeatureeditor.evaluation.report_tables import edit_of, measure_of, title_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stylefeatureeditor.evaluation.report_tables import Report

WIDTH, HEIGHT = 720, 460
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 20, 52  # margins around the axes
SMALLEST_RADIUS, RADIUS_PER_DECADE = 5.0, 3.5
TICKS = 5
UNKNOWN_SECONDS = 0.1
LABEL_HEIGHT, LETTER_WIDTH = 14.0, 6.6
X_COLUMNS = ("lpips", "lpips_vgg", "l2")
Y_MEASURES = ("fid", "clean_fid", "fid_attributes")


@dataclass(frozen=True)
class Point:
    """A marker: where, how slow, and whether it was run here."""

    name: str
    x: float
    y: float
    seconds: float
    was_run: bool


def axes_of(report: Report) -> tuple[str, str] | None:
    """Return the columns of the plot: the first that any method that was run has; None if none."""
    columns = report.columns
    x = next((name for name in X_COLUMNS if name in columns), None)
    ys = [
        name
        for want in Y_MEASURES
        for name in columns
        if edit_of(name) and measure_of(name) == want
    ]
    return (x, ys[0]) if x and ys else None


def plot_svg(report: Report) -> str | None:
    """Return the figure; None if no method has both a reconstruction and an edit."""
    axes = axes_of(report)
    if axes is None:
        return None
    x, y = axes
    points = [
        Point(r.method, r.values[x].value, r.values[y].value, _seconds(r.values), was_run=True)
        for r in report.results
        if x in r.values and y in r.values
    ]
    points += [
        Point(
            r.method,
            r.values[x],
            r.values[y],
            r.values.get("seconds", UNKNOWN_SECONDS),
            was_run=False,
        )
        for r in report.reported
        if x in r.values and y in r.values
    ]
    points = [point for point in points if math.isfinite(point.x) and math.isfinite(point.y)]
    return _draw(points, title_of(x), title_of(y)) if points else None


def _seconds(values: dict) -> float:
    """Time of a fresh edit, else of the inversion; a middling marker if neither is known."""
    known = (values[name].value for name in ("seconds", "seconds_invert") if name in values)
    return next(known, UNKNOWN_SECONDS)


def _draw(points: Sequence[Point], x_title: str, y_title: str) -> str:
    x_ticks = ticks([point.x for point in points])
    y_ticks = ticks([point.y for point in points])

    def across(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * _share(value, x_ticks)

    def up(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * _share(value, y_ticks)

    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" xmlns="http://www.w3.org/2000/svg">'
    ]
    for value in x_ticks:
        at = f"{across(value):.1f}"
        parts.append(f'<path class="grid" d="M{at} {TOP}V{bottom}"/>')
        parts.append(f'<text x="{at}" y="{bottom + 18}" text-anchor="middle">{value:.4g}</text>')
    for value in y_ticks:
        at = f"{up(value):.1f}"
        parts.append(f'<path class="grid" d="M{LEFT} {at}H{right}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at}" dy="4" text-anchor="end">{value:.4g}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
    middle = (LEFT + right) / 2
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">{html.escape(x_title)}</text>'
    )
    parts.append(
        f'<text transform="translate(16 {(TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">'
        f"{html.escape(y_title)}</text>"
    )
    fastest = min(point.seconds for point in points)
    taken: list[tuple[float, float, float]] = []  # left, right, baseline of the labels so far
    for point in sorted(points, key=lambda p: -p.seconds):  # small markers on top
        kind = "run" if point.was_run else "paper"
        radius = marker_radius(point.seconds, fastest)
        cx, cy = across(point.x), up(point.y)
        note = html.escape(f"{point.name}: {point.x:.4g}, {point.y:.4g}, {point.seconds:.3g} s")
        parts.append(
            f'<circle class="{kind}" cx="{cx:.1f}" cy="{cy:.1f}" r="{radius:.1f}">'
            f"<title>{note}</title></circle>"
        )
        left, baseline = _place_label(point.name, cx, cy, radius, taken)
        parts.append(
            f'<text class="{kind}" x="{left:.1f}" y="{baseline:.1f}">'
            f"{html.escape(point.name)}</text>"
        )
    parts.append("</svg>")
    return "\n".join(parts)


def marker_radius(seconds: float, fastest: float) -> float:
    """Return the radius in pixels: it grows by a fixed step for ten times the time."""
    return SMALLEST_RADIUS + RADIUS_PER_DECADE * max(0.0, math.log10(seconds / fastest))


def ticks(values: Sequence[float]) -> list[float]:
    """Return round numbers from below the smallest to above the largest value, evenly spaced."""
    low, high = min(values), max(values)
    span = (high - low) or abs(high) or 1.0
    low, high = low - 0.05 * span, high + 0.08 * span
    rough = (high - low) / TICKS
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= rough * 0.999)
    first = math.floor(low / step)
    return [k * step for k in range(first, math.ceil(high / step) + 1)]


def _share(value: float, marks: Sequence[float]) -> float:
    return (value - marks[0]) / (marks[-1] - marks[0])


def _place_label(
    name: str, cx: float, cy: float, radius: float, taken: list[tuple[float, float, float]]
) -> tuple[float, float]:
    """Return left and baseline of a label beside its marker that covers no label so far."""
    width = LETTER_WIDTH * len(name)
    left = cx + radius + 4
    if left + width > WIDTH - 2:
        left = cx - radius - 4 - width
    steps = [0.0] + [side * k * LABEL_HEIGHT for k in range(1, 8) for side in (-1, 1)]
    for step in steps:
        baseline = cy + 4 + step
        clear = all(
            left > end or left + width < start or abs(baseline - other) >= LABEL_HEIGHT
            for start, end, other in taken
        )
        if clear and TOP < baseline < HEIGHT - BOTTOM:
            break
    taken.append((left, left + width, baseline))
    return left, baseline
