"""The page: what stands where, and which handler hears of what.

The photo and the sliders are two parts of our own (viewer.*, panel.*); everything around them is
gradio's. Steps of all visitors go through one queue, one at a time.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

import gradio as gr

from stylefeatureeditor.errors import SfeError
from stylefeatureeditor.web.handlers import paint, strengths
from stylefeatureeditor.web.loaded_models import model_label, published_models, pull_model
from stylefeatureeditor.web.opened import SAMPLE_NAME, has_sample, sample_pixels
from stylefeatureeditor.web.session import Session

if TYPE_CHECKING:
    from stylefeatureeditor.web.handlers import Handlers
    from stylefeatureeditor.web.opened import Limits

TITLE = "StyleFeatureEditor"
MASKS = [("Everywhere", "none"), ("On the face", "face"), ("Where I paint", "painted")]
BLENDS = [
    ("As the model prefers", ""),
    ("Add only what changed (residual)", "residual"),
    ("Put the whole crop in (feather)", "feather"),
    ("Show the crop alone", "none"),
]
SANS = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")
CACHE_SECONDS = (300, 900)  # how often downloads are cleared away, and how old they are then
CLICK = "() => setTimeout(() => document.querySelector('#sfe-fetch')?.click(), 100)"


def read(name: str) -> str:
    """Return a file that lies beside this one."""
    return files("stylefeatureeditor.web").joinpath(name).read_text("utf-8")


def theme() -> gr.themes.Base:
    """Return the page's looks, in fonts that every machine has."""
    return gr.themes.Soft(
        primary_hue="indigo", neutral_hue="slate", font=list(SANS), font_mono=list(MONO)
    )


def build_page(handlers: Handlers, limits: Limits, *, may_download: bool) -> gr.Blocks:
    """Return the page, ready to be launched.

    Args:
        handlers: what it calls.
        limits: what the visitor is told of.
        may_download: whether published models can be fetched from the page.
    """
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=CACHE_SECONDS) as page:
        gr.HTML(
            f'<h1 class="sfe-title">{TITLE}</h1>'
            "<p>Edit a face in your own photo. All else stays as it was.</p>",
            elem_id="sfe-head",
        )
        with gr.Row(elem_classes="sfe-columns"):
            with gr.Column(scale=7, min_width=320, elem_classes="sfe-left"):
                viewer = gr.HTML(
                    value=None,
                    html_template=read("viewer.html"),
                    js_on_load=read("viewer.js"),
                    apply_default_css=False,
                    elem_id="sfe-viewer",
                    limits={
                        "bytes": limits.upload_bytes,
                        "megapixels": limits.photo_pixels // 1_000_000,
                    },
                    sample=has_sample(),
                )
            with gr.Column(scale=4, min_width=320, elem_classes="sfe-right-column"):
                with gr.Row(elem_classes="sfe-steps"):
                    undo = gr.Button("Undo", size="sm", interactive=False, elem_id="sfe-undo")
                    redo = gr.Button("Redo", size="sm", interactive=False, elem_id="sfe-redo")
                    reset = gr.Button(
                        "Reset all", size="sm", interactive=False, elem_id="sfe-reset-all"
                    )
                    photo = gr.Button(
                        "Download photo",
                        variant="primary",
                        size="sm",
                        interactive=False,
                        elem_id="sfe-save-photo",
                    )
                panel = gr.HTML(
                    value=None,
                    html_template=read("panel.html"),
                    js_on_load=read("panel.js"),
                    apply_default_css=False,
                    elem_id="sfe-panel",
                )
                with gr.Accordion("Where edits act, and blending", open=False):
                    mask = gr.Radio(MASKS, value="none", label="Edits act", elem_id="sfe-mask")
                    blend = gr.Radio(BLENDS, value="", label="Blend", elem_id="sfe-blend")
                fetch = gr.DownloadButton("Fetch", visible="hidden", elem_id="sfe-fetch")
                with gr.Accordion("One edit in steps", open=False):
                    strip_of = gr.Dropdown([], label="Edit", value=None, elem_id="sfe-strip-of")
                    strip_button = gr.Button("Show", elem_id="sfe-show-strip")
                    strip = gr.HTML(elem_id="sfe-strip")
                with gr.Accordion("The same in a terminal or in Python", open=False):
                    command = gr.Code(
                        language="shell", label="Terminal", elem_id="sfe-command", **_CODE
                    )
                    python = gr.Code(
                        language="python", label="Python", elem_id="sfe-python", **_CODE
                    )
                    save_mask = gr.Button("Download the painted mask", size="sm")
                inversion = gr.Button(
                    "Save to go on later (inversion file)",
                    size="sm",
                    interactive=False,
                    elem_id="sfe-save-inversion",
                )
                with gr.Accordion("Model", open=False):
                    model = gr.Dropdown(
                        [(model_label(name), name) for name in handlers.sessions.models.names()],
                        value=handlers.sessions.models.first() or None,
                        label="Model",
                        elem_id="sfe-model",
                    )
                    aligned = gr.Checkbox(
                        label="My photos are aligned crops", elem_id="sfe-aligned"
                    )
                    if may_download:
                        _add_published(handlers, model)

        everything = [
            viewer, panel, mask, blend, command, python, undo, redo, reset, photo, inversion,
            strip_of, model,
        ]  # fmt: skip
        to_all: dict[str, Any] = {"outputs": everything, **_QUEUED, "show_progress": "hidden"}
        busy = {**to_all, "show_progress": "minimal", "show_progress_on": viewer}
        step, choose = handlers.step, handlers.choose
        sample = step(lambda session, _: session.open(sample_pixels(), SAMPLE_NAME), panel=True)
        face = step(lambda session, sent: session.change(face=sent.get("face")))
        other = choose(lambda session, name: session.choose_model(name), panel=True)
        for shown in (
            viewer.open_file(handlers.open_file, aligned, **to_all),
            viewer.open_sample(sample, **to_all),
            viewer.pick_face(face, **to_all),
            model.input(other, model, **busy),
        ):
            shown.then(handlers.prepare, show_progress="hidden", **_QUEUED)
        viewer.paint(step(paint, mask=True), **to_all)
        settle = step(lambda session, sent: session.change(edits=strengths(sent)))
        panel.settle(settle, **to_all)
        panel.drag(handlers.drag, outputs=viewer, show_progress="hidden", **_QUEUED)
        undo.click(step(lambda session, _: session.undo(), panel=True), **busy)
        redo.click(step(lambda session, _: session.redo(), panel=True), **busy)
        reset.click(step(lambda session, _: session.change(edits={}), panel=True), **busy)
        mask.input(choose(lambda session, word: session.change(mask=word)), mask, **busy)
        way = choose(lambda session, word: session.change(blend=word or None))
        blend.input(way, blend, **busy)
        strip_button.click(handlers.strip, strip_of, [strip, viewer], **_QUEUED)
        for button, save in (
            (photo, Session.save_photo),
            (inversion, Session.save_inversion),
            (save_mask, Session.save_mask),
        ):
            make = handlers.make(save)
            made = button.click(make, outputs=[fetch, viewer], **_QUEUED, show_progress="minimal")
            made.then(None, js=CLICK)
        page.load(handlers.load, **to_all)
        page.unload(handlers.close)
    page.queue(max_size=limits.waiting, default_concurrency_limit=1, api_open=False)
    return page


_CODE: dict[str, Any] = {
    "interactive": False,
    "wrap_lines": True,
    "show_line_numbers": False,
    "lines": 2,
}
# One step at a time, whoever asks; a page sends no second drag before the first is drawn.
_QUEUED: dict[str, Any] = {
    "concurrency_id": "model",
    "trigger_mode": "multiple",
    "api_visibility": "private",
}


def _add_published(handlers: Handlers, model: gr.Dropdown) -> None:
    """Offer the published models that are not on this machine."""
    for name, terms in published_models().items():
        note = gr.Markdown(f"**{name}**, published: {terms}")
        button = gr.Button(f"Download {name}")

        def pull(progress: gr.Progress = gr.Progress(), *, name: str = name) -> tuple[Any, str]:  # noqa: B008
            def report(file: str, done: int, total: int | None) -> None:
                progress((done // 1_000_000, total and total // 1_000_000), file, unit="MB")

            try:
                pull_model(name, report)
            except SfeError as error:
                return gr.skip(), f"**{name}**: {error}"
            names = [(model_label(name), name) for name in handlers.sessions.models.names()]
            return gr.Dropdown(choices=names), f"**{name}** is ready: choose it above."

        button.click(pull, None, [model, note], api_visibility="private", concurrency_id="pull")
