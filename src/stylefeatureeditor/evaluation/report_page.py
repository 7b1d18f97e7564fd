"""The report as one HTML file that needs nothing else: tables, the plot, and pictures to compare.

Pictures are data URIs: PNG up to 128 pixels, JPEG above, at most 512 a side; nothing is measured on
them. A difference map shows the mean absolute difference of the channels, times DIFFERENCE_GAIN.
"""

from __future__ import annotations

import base64
import html
import io
import re
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from stylefeatureeditor.evaluation.report_plot import plot_svg
from stylefeatureeditor.evaluation.report_tables import (
    COSTS,
    FORMATS,
    HERE,
    NOTHING,
    PAPER,
    cell,
    measure_of,
    number,
    title_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stylefeatureeditor.evaluation.report_tables import Report
    from stylefeatureeditor.evaluation.results import MethodResult, Shown

LARGEST_SIDE = 512
LARGEST_PNG = 128
JPEG_QUALITY = 90
DIFFERENCE_GAIN = 4
CODE = re.compile(r"`([^`]+)`")
# black over red and yellow to white, at equal steps
HEAT = np.array([[0, 0, 0], [150, 20, 30], [240, 130, 20], [255, 225, 100], [255, 255, 255]])

STYLE = """
:root { color-scheme: light dark; --line: #8884; --run: #0b6bcb; --paper: #888; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1200px;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
.notes { font-size: .85rem; padding-left: 1.2rem; } .notes li { overflow-wrap: anywhere; }
nav a { margin-right: 1rem; white-space: nowrap; }
code { background: #8882; padding: .15rem .4rem; border-radius: 4px; word-break: break-word; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
th:first-child, td:first-child { position: sticky; left: 0; background: Canvas; z-index: 1;
  white-space: normal; min-width: 7rem; }
th { vertical-align: bottom; }
tr.paper { color: var(--paper); } td small { display: block; opacity: .65; }
td.best { font-weight: 650; }
.plot { max-width: 800px; display: block; font: 12px system-ui, sans-serif; }
.plot text { fill: currentColor; } .plot text.paper { fill: var(--paper); }
.plot .grid { stroke: var(--line); } .plot .axis { stroke: currentColor; fill: none; }
.plot circle.run { fill: var(--run); fill-opacity: .75; }
.plot circle.paper { fill: none; stroke: var(--paper); stroke-width: 1.5; }
.cards { display: flex; flex-wrap: wrap; gap: 1.2rem; }
figure { margin: 0; width: 270px; max-width: 100%; } figcaption { font-size: .85rem; }
.view { position: relative; width: 100%; aspect-ratio: 1; overflow: hidden; cursor: zoom-in;
  background: #8882; touch-action: pan-y; }
.view span { position: absolute; bottom: 0; padding: 0 .4rem; font-size: .75rem; color: #fff;
  background: #0008; pointer-events: none; }
.view .right { right: 0; }
.view img { position: absolute; inset: 0; width: 100%; height: 100%; image-rendering: pixelated;
  transform-origin: 0 0; user-select: none; -webkit-user-drag: none; }
.view .after { clip-path: inset(0 0 0 var(--cut, 50%)); }
.view::after { content: ""; position: absolute; top: 0; bottom: 0; left: var(--cut, 50%);
  border-left: 2px solid #fff; mix-blend-mode: difference; pointer-events: none; }
.view.map::after { display: none; }
.view.map .before, .view.map .after, .view.map span, .view:not(.map) .difference {
  visibility: hidden; }
figure input[type=range] { width: 100%; margin: .3rem 0 0; }
@media (max-width: 600px) { figure { width: 100%; } }
"""

SCRIPT = """
for (const figure of document.querySelectorAll("figure.pair")) {
  const view = figure.querySelector(".view"), images = view.querySelectorAll("img");
  const slider = figure.querySelector("input[type=range]");
  const map = figure.querySelector("input[type=checkbox]");
  let scale = 1, x = 0, y = 0, held = null;
  const show = () => {
    const side = view.clientWidth;
    x = Math.min(0, Math.max(side * (1 - scale), x));
    y = Math.min(0, Math.max(side * (1 - scale), y));
    const cut = Number(slider.value) / 100;
    view.style.setProperty("--cut", cut * 100 + "%");
    for (const image of images) {
      image.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
      if (image.classList.contains("after")) {
        const left = Math.max(0, (cut * side - x) / scale);
        image.style.clipPath = `inset(0 0 0 ${left}px)`;
      }
    }
    view.style.cursor = scale > 1 ? "grab" : "zoom-in";
    view.style.touchAction = scale > 1 ? "none" : "pan-y";
  };
  const zoom = (factor, px, py) => {
    const next = Math.min(16, Math.max(1, scale * factor));
    x = px - (px - x) * next / scale;
    y = py - (py - y) * next / scale;
    scale = next;
    show();
  };
  slider.addEventListener("input", show);
  map.addEventListener("change", () => view.classList.toggle("map", map.checked));
  view.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.25 : 0.8, event.offsetX, event.offsetY);
  }, { passive: false });
  view.addEventListener("dblclick", (event) => {
    const box = view.getBoundingClientRect();
    zoom(scale > 1 ? 0.001 : 4, event.clientX - box.left, event.clientY - box.top);
  });
  view.addEventListener("pointerdown", (event) => {
    held = [event.clientX - x, event.clientY - y];
    view.setPointerCapture(event.pointerId);
  });
  view.addEventListener("pointermove", (event) => {
    if (held) { x = event.clientX - held[0]; y = event.clientY - held[1]; show(); }
  });
  view.addEventListener("pointerup", () => { held = null; });
  show();
}
"""


def to_html(report: Report) -> str:
    """Return the page."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(report.title)}</title>",
        f"<style>{STYLE}</style></head><body>",
        f"<h1>{html.escape(report.title)}</h1>",
        f"<p><code>{html.escape(report.command)}</code></p>",
        *(line for group in report.groups.items() for line in _table(report, *group)),
        '<ul class="notes">',
        *(f"<li>{_note(note)}</li>" for note in report.notes),
        "</ul>",
    ]
    plot = plot_svg(report)
    if plot is not None:
        parts += [
            "<h2>Reconstruction against editing</h2>",
            "<p>Lower left is better. A marker's radius grows by a fixed step for ten times the "
            "time per photo. Filled: run here. Hollow: as the paper reports.</p>",
            plot,
        ]
    parts += _links(report)
    for place, result in enumerate(report.results):
        parts += _gallery(result, place)
    parts += [f"<script>{SCRIPT}</script>", "</body></html>"]
    return "\n".join(parts) + "\n"


def difference_map(photo: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Return how two (S, S, 3) uint8 pictures differ, as a heat map (S, S, 3) uint8."""
    difference = np.abs(photo.astype(np.float64) - drawn).mean(axis=2) * DIFFERENCE_GAIN
    place = np.clip(difference / 255, 0, 1) * (len(HEAT) - 1)
    low = np.minimum(place.astype(np.int64), len(HEAT) - 2)
    share = (place - low)[..., None]
    return (HEAT[low] * (1 - share) + HEAT[low + 1] * share).round().astype(np.uint8)


def data_uri(pixels: np.ndarray) -> str:
    """Return (S, S, 3) uint8 pixels as a data URI, not larger than the page shows."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    kind = "PNG" if max(picture.size) <= LARGEST_PNG else "JPEG"
    file = io.BytesIO()
    picture.save(file, kind, quality=JPEG_QUALITY, optimize=True)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def _table(report: Report, heading: str, columns: list[str]) -> Iterator[str]:
    yield f"<h3>{html.escape(heading)}</h3>"
    yield '<div class="scroll"><table><thead><tr><th>Method</th><th>Source</th><th>Images</th>'
    yield "".join(f"<th>{html.escape(title_of(measure_of(column)))}</th>" for column in columns)
    yield "</tr></thead><tbody>"
    for result in report.results:
        counts = [result.cells[column].count for column in columns if column in result.cells]
        if not counts:
            continue
        count = max(counts) or result.count
        yield f"<tr><td>{html.escape(result.method)}</td><td>{HERE}</td><td>{count}</td>"
        for column in columns:
            mean = result.cells.get(column)
            best = mean is not None and mean.value == report.best(column)
            value, bracket, interval = cell(column, mean).partition(" [")
            small = f"<small>[{interval}</small>" if bracket else ""
            yield f"<td{' class=best' if best else ''}>{value}{small}</td>"
        yield "</tr>"
    for row in report.reported:
        if not row.values.keys() & set(columns):
            continue
        yield f'<tr class="paper"><td>{html.escape(row.method)}</td><td>{PAPER}</td><td></td>'
        for column in columns:
            known = row.values.get(column)
            yield f"<td>{NOTHING if known is None else f'{known:g}'}</td>"
        yield "</tr>"
    yield "</tbody></table></div>"


def _note(text: str) -> str:
    """A sentence, with what stands between backticks as code."""
    return CODE.sub(r"<code>\1</code>", html.escape(text))


def _links(report: Report) -> Iterator[str]:
    """What the pictures show, and the way to each method's."""
    if not any(result.shown for result in report.results):
        return
    yield "<h2>Pictures</h2>"
    yield (
        "<p>Left of the line the photo, right of it what the method made of it; the slider moves "
        "the line. The wheel or a double click zooms, dragging then moves. A difference map is "
        "black where both agree.</p>"
    )
    names = [html.escape(result.method) for result in report.results]
    yield "<nav>"
    yield from (f'<a href="#m{place}">{name}</a>' for place, name in enumerate(names))
    yield "</nav>"


def _gallery(result: MethodResult, place: int) -> Iterator[str]:
    if result.shown or result.errors:
        yield f'<h2 id="m{place}">{html.escape(result.method)}</h2>'
    if result.errors:
        yield "<h3>Not measured</h3><ul>"
        yield "".join(f"<li>{html.escape(error)}</li>" for error in result.errors)
        yield "</ul>"
    for kind in dict.fromkeys(shown.kind for shown in result.shown):
        yield f"<h3>{html.escape(kind[:1].upper() + kind[1:])}</h3>"
        yield '<div class="cards">'
        for shown in result.shown:
            if shown.kind == kind:
                yield from _card(shown)
        yield "</div>"


def _card(shown: Shown) -> Iterator[str]:
    numbers = [
        f"{FORMATS[name][0]} {number(name, value)}"
        for name, value in shown.values.items()
        if name in FORMATS and name not in COSTS and np.isfinite(value)
    ]
    difference = difference_map(shown.photo, shown.drawn)
    yield '<figure class="pair"><div class="view">'
    pictures = (("before", shown.photo), ("after", shown.drawn), ("difference", difference))
    for kind, pixels in pictures:
        yield f'<img class="{kind}" alt="{kind}" draggable="false" src="{data_uri(pixels)}">'
    yield '<span>photo</span><span class="right">result</span></div>'
    yield '<input type="range" min="0" max="100" value="50" aria-label="before and after">'
    yield f"<figcaption>{html.escape(shown.name)}<br>{html.escape(', '.join(numbers))}<br>"
    yield f'<label><input type="checkbox"> difference x {DIFFERENCE_GAIN}</label>'
    yield "</figcaption></figure>"
