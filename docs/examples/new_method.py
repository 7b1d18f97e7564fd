"""A method of your own, as a row beside the others: one class with `encode` and `draw`.

    w = E(X),  X^ = X            nothing of the photo is lost
    X' = X + G(w + d) - G(w)     the change that the edit makes of G's picture is added to the photo

A baseline that needs no training: its inversion is perfect, and its edits show ghosts where the
generator's face is not the photo's. Run it with a model and an aligned photo, see out/new_method:

    python docs/examples/new_method.py MODEL PHOTO DIRECTION=STRENGTH
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import stylefeatureeditor as sfe
from stylefeatureeditor.data.images import open_images
from stylefeatureeditor.evaluation.inversion import evaluate_inversion
from stylefeatureeditor.evaluation.measures import Networks, standard_suite
from stylefeatureeditor.evaluation.one_photo import compare_in_picture, draw_photo
from stylefeatureeditor.evaluation.report import to_markdown
from stylefeatureeditor.evaluation.report_tables import Report
from stylefeatureeditor.evaluation.runner import Evaluation
from stylefeatureeditor.methods.e4e import E4eMethod
from stylefeatureeditor.methods.method import Method
from stylefeatureeditor.photo.align import whole_photo_as_face

if TYPE_CHECKING:
    from torch import Tensor

OUT = Path("out/new_method")


class AddedChange(Method):
    """Adds what an edit changes of G(w) to the photo."""

    def __init__(self, model: sfe.Model) -> None:
        super().__init__(model.config, model.generator, "added change")
        self.e4e = E4eMethod(model)
        self.identity = f"added change {model.fingerprint}"  # other weights, other results

    def encode(self, photos: Tensor) -> sfe.Inversion:
        """(B, 3, size, size) in [-1, 1] -> codes, and X - G(w), what they miss."""
        known = self.e4e.invert(photos)
        missed = photos - self.e4e.reconstruct(known)
        return sfe.Inversion(known.codes, pixels=photos, kept=missed)

    def draw(self, codes: sfe.Codes, kept: Tensor) -> Tensor:
        """Return G(w + d) + X - G(w)."""
        return self.generator.synthesize(codes) + kept


def main(model: str, photo: str, edit: str) -> None:
    """Show the method in a picture, in a table, and on a whole photo."""
    editor = sfe.Editor.from_pretrained(model)
    name, _, strength = edit.rpartition("=")
    direction, by = editor.direction(name), float(strength)
    methods = [AddedChange(editor.model), E4eMethod(editor.model)]
    OUT.mkdir(parents=True, exist_ok=True)

    crop = whole_photo_as_face(sfe.read_photo(photo), editor.size).pixels
    rows = [draw_photo(method, crop, {edit: (direction, by)}) for method in methods]
    compare_in_picture(rows, differences=True).save(OUT / "beside.png")

    evaluation = Evaluation(
        folder=OUT / "table",
        photos=open_images(Path(photo).parent, editor.size),  # all that lie beside it
        suite=standard_suite(editor.size, Networks()),
    )
    results = tuple(evaluate_inversion(method, evaluation) for method in methods)
    (OUT / "table.md").write_text(to_markdown(Report("Inversion", "new_method.py", results)))

    whole = sfe.Editor(methods[0], editor.directions)  # finds faces, masks, pastes back
    whole.edit(photo, {name: by}, aligned=True).save(OUT / "photo.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
