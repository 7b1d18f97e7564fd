"""The model that the package ships: it loads, redraws a face and edits it."""

import pytest
import torch

import stylefeatureeditor as sfe
from stylefeatureeditor.weights import local_models
from stylefeatureeditor.weights.local_models import builtin_folder

FACES = builtin_folder() / "faces"
MOST = 60e6  # bytes


@pytest.fixture(scope="module")
def editor():
    return sfe.Editor.from_pretrained(FACES, device="cpu")


@pytest.fixture(scope="module")
def drawn(editor):
    """Faces of its own generator, for which no photo is needed."""
    generator = editor.model.generator
    z = torch.randn(4, generator.config.style_dim, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return generator.synthesize(generator.map(z, truncation=0.7)).clamp(-1, 1)


def test_it_is_found_by_its_name(monkeypatch):
    monkeypatch.setattr(local_models, "builtin_folder", lambda: FACES.parent)
    assert local_models.find_model("faces") == FACES


def test_it_fits_a_package():
    assert sum(file.stat().st_size for file in FACES.iterdir()) < MOST


def test_it_has_the_directions_that_people_ask_for(editor):
    names = {entry.name for entry in editor.directions.entries}
    assert names >= {"smile", "age", "gender", "glasses", "beard", "bangs", "blond_hair"}


def test_its_features_redraw_more_than_its_codes(editor, drawn):
    inversion = editor.invert(drawn)
    redrawn = editor.edit(inversion, {"smile": 0.0}).pixels
    generator = editor.model.generator
    with torch.no_grad():
        plain = generator.synthesize(sfe.Codes(generator.latent_avg + editor.model.e4e(drawn)))
    assert (redrawn - drawn).square().mean() < 0.3 * (plain - drawn).square().mean()


@pytest.mark.parametrize("name", ["smile", "age", "gender", "blond_hair"])
def test_an_edit_changes_the_face(editor, drawn, name):
    inversion = editor.invert(drawn)
    kept = editor.edit(inversion, {name: 0.0}).pixels
    edited = editor.edit(inversion, {name: 2.0}).pixels
    assert 1e-4 < (edited - kept).square().mean() < 0.5
