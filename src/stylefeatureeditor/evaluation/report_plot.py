"""Figure 1 of the paper as SVG: how well a method redraws against how well it edits.

x is a reconstruction distance, y an editing FID, and the radius of a marker grows with the
logarithm of the time per photo. Lower left is better. Filled markers were run, hollow ones are the
paper's.
"""

from __future__ import annotations

import html
import io
import itertools
import math
from typing import TYPE_CHECKING

from stylefeatureeditor.evaluation.report_tables import edit_of, measure_of, title_of

if TYPE_CHECKING:
    from stylefeatureeditor.evaluation.report_tables import Report

INCHES = (10, 6.4)
SMALLEST_RADIUS, RADIUS_PER_DECADE = 5.0, 3.5  # points
RUN, PAPER = "#0b6bcb", "#888888"
UNKNOWN_SECONDS = 0.1
X_COLUMNS = ("lpips", "lpips_vgg", "l2")
Y_MEASURES = ("fid", "clean_fid", "fid_attributes")


def axes_of(report: Report) -> tuple[str, str] | None:
    """Return the columns of the plot: the first that any method that was run has; None if none."""
    columns = report.columns
    x = next((name for name in X_COLUMNS if name in columns), None)
    edits = [name for name in columns if edit_of(name)]
    y = next((n for want in Y_MEASURES for n in edits if measure_of(n) == want), None)
    return (x, y) if x and y else None


def marker_radius(seconds: float, fastest: float) -> float:
    """Return the radius in points: it grows by a fixed step for ten times the time."""
    return SMALLEST_RADIUS + RADIUS_PER_DECADE * max(0.0, math.log10(seconds / fastest))


def plot_svg(report: Report) -> str | None:
    """Return the figure; None if no method has both a reconstruction and an edit."""
    axes = axes_of(report)
    if axes is None:
        return None
    run = [(r.method, {n: m.value for n, m in r.values.items()}, RUN) for r in report.results]
    points = []  # slow ones first, so that small markers lie on top
    for name, values, colour in (*run, *((r.method, r.values, PAPER) for r in report.reported)):
        x, y = (values.get(column, math.nan) for column in axes)
        if math.isfinite(x) and math.isfinite(y):
            seconds = values.get("seconds", values.get("seconds_invert", UNKNOWN_SECONDS))
            points.append((seconds, x, y, name, colour))
    points.sort(key=lambda point: -point[0])
    if not points:
        return None

    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(INCHES)
    renderer = FigureCanvasAgg(figure).get_renderer()
    plot = figure.add_axes((0.08, 0.1, 0.9, 0.87))
    plot.set(xlabel=title_of(axes[0]), ylabel=title_of(axes[1]))
    plot.spines[:].set_color(PAPER)
    plot.spines[["top", "right"]].set_visible(False)
    plot.grid(color=PAPER, alpha=0.3)
    plot.margins(0.08)
    plot.tick_params(color=PAPER)
    markers = [
        plot.plot(
            x,
            y,
            "o",
            markersize=2 * marker_radius(seconds, points[-1][0]),
            color=colour,
            fillstyle="full" if colour == RUN else "none",
            markeredgewidth=1.5,
            alpha=0.75,
            gid=f"point-{place}",
        )[0]
        for place, (seconds, x, y, _, colour) in enumerate(points)
    ]
    plot.autoscale_view()  # places are known only then
    frame = plot.get_window_extent(renderer)
    taken = [marker.get_window_extent(renderer) for marker in markers]
    for (_, x, y, name, colour), marker in zip(points, markers, strict=True):
        away = marker.get_markersize() / 2 + 3
        label = plot.annotate(  # the page gives text the colour of its own
            name, (x, y), (away, 0), textcoords="offset points", va="center"
        )
        lines = (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6)
        for line, side in itertools.product(lines, (1, -1)):
            label.set(ha="left" if side == 1 else "right", position=(side * away, 12 * line))
            box = label.get_window_extent(renderer)
            clear = not any(box.overlaps(other) for other in taken)
            if clear and frame.x0 < box.x0 and box.x1 < frame.x1 and frame.y0 < box.y0:
                break
        label.set_alpha(1 if colour == RUN else 0.6)
        taken.append(box)
    file = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sfe"}):
        figure.savefig(
            file,
            format="svg",
            bbox_inches="tight",
            transparent=True,
            metadata={"Creator": None, "Date": None},
        )
    svg = file.getvalue()
    for place, (seconds, x, y, name, _) in enumerate(points):
        note = html.escape(f"{name}: {x:.4g}, {y:.4g}, {seconds:.3g} s")
        svg = svg.replace(f'<g id="point-{place}">', f'<g id="point-{place}"><title>{note}</title>')
    return svg[svg.index("<svg") :]
