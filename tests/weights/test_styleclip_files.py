"""Text edits from files: where they are looked for, and what is said when they are not there."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
import torch

from stylefeatureeditor.editing.deltaedit import DeltaMapper
from stylefeatureeditor.editor import Editor
from stylefeatureeditor.errors import DependencyError, DirectionError, WeightsError
from stylefeatureeditor.generator.stylegan2 import Generator, GeneratorConfig
from stylefeatureeditor.weights import styleclip_files
from stylefeatureeditor.weights.local_models import files_folder
from stylefeatureeditor.weights.styleclip_files import load_delta_edits, load_text_edits
from tiny import tiny_model, tiny_photos

LAYOUT = tiny_model().config.generator.style_layout()
WIDTHS = [LAYOUT.conv[0], LAYOUT.rgb[0]]  # of every modulated layer, RGB after each side
for _at in range(1, len(LAYOUT.conv), 2):
    WIDTHS += [*LAYOUT.conv[_at : _at + 2], LAYOUT.rgb[(_at + 1) // 2]]
FEATURES = {"face": [1.0, 0.0], "smiling": [0.0, 1.0]}


def encode(sentences):
    """CLIP's part, with two features: a sentence is about a face, or about a smile."""
    return torch.tensor([FEATURES["smiling" if "smiling" in s else "face"] for s in sentences])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SFE_CACHE", str(tmp_path / "cache"))


def write(folder):
    """The published files for a generator of the tiny layout, in a folder."""
    folder.mkdir(parents=True)
    rows = sum(LAYOUT.conv)
    channels = np.stack([np.linspace(-1, 1, rows), np.linspace(0.1, 1, rows)], axis=1)
    np.save(folder / "delta_i_c.npy", channels.astype(np.float32))
    spreads = [np.full(width, 1 + at, dtype=np.float32) for at, width in enumerate(WIDTHS)]
    (folder / "S_mean_std").write_bytes(pickle.dumps([[0 * row for row in spreads], spreads]))
    (folder / "templates.txt").write_text("a photo of {}.\n\na drawing of {}.\n")
    return folder


@pytest.fixture
def clip(monkeypatch):
    """A text encoder that needs no package; returns the folders it was looked for in."""
    asked = []
    monkeypatch.setattr(
        styleclip_files, "clip_text_encoder", lambda folder: asked.append(folder) or encode
    )
    return asked


def test_pulled_files_become_directions(clip):
    write(files_folder())
    text = load_text_edits(None, LAYOUT)
    assert text.templates == ("a photo of {}.", "a drawing of {}.")
    assert [row.numel() for row in text.std] == list(LAYOUT.conv)
    assert [int(row[0]) for row in text.std[:3]] == [1, 3, 4]  # the RGB layer, 2, is left out
    assert clip == [files_folder() / "clip-vit-base-patch32"]


def test_a_models_own_files_come_first(tmp_path, clip):
    write(files_folder())
    own = write(tmp_path / "model" / "directions")
    (own / "templates.txt").write_text("{}")
    (own / "clip-vit-base-patch32").mkdir()
    assert load_text_edits(tmp_path / "model", LAYOUT).templates == ("{}",)
    assert clip == [own / "clip-vit-base-patch32"]


@pytest.mark.usefixtures("clip")
@pytest.mark.parametrize("name", ["delta_i_c.npy", "S_mean_std", "templates.txt"])
def test_a_missing_file_names_what_to_pull(name):
    (write(files_folder()) / name).unlink()
    with pytest.raises(WeightsError, match=f"needs {name}.*`sfe models pull styleclip`"):
        load_text_edits(None, LAYOUT)


def test_without_transformers_the_error_names_what_to_install(monkeypatch):
    write(files_folder())
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(DependencyError, match="pip install transformers"):
        load_text_edits(None, LAYOUT)


@pytest.mark.usefixtures("clip")
@pytest.mark.parametrize("content", [[], [[], 3], {"a": 1}, [[], ["words"]]])
def test_statistics_of_another_kind_are_refused(content):
    (write(files_folder()) / "S_mean_std").write_bytes(pickle.dumps(content))
    with pytest.raises(WeightsError, match="two lists of arrays"):
        load_text_edits(None, LAYOUT)


@pytest.mark.usefixtures("clip")
def test_files_of_another_generator_are_refused():
    folder = write(files_folder())
    np.save(folder / "delta_i_c.npy", np.ones((3, 2), dtype=np.float32))
    with pytest.raises(DirectionError, match=r"does not fit this model: .*at least"):
        load_text_edits(None, LAYOUT)


def test_deltaedits_files_become_directions(clip, monkeypatch):
    write(files_folder())
    generator = GeneratorConfig(
        size=64, style_dim=4, mapping_layers=1, channel_base=512, channel_max=8
    )
    with pytest.raises(WeightsError, match=r"needs delta_mapper.pt.*folder `directions`"):
        load_delta_edits(None, Generator(generator))
    modules = {"style": "sm", "condition": "cm", "fusion": "fm"}
    state = {}
    for key, value in DeltaMapper(8, 16, 4).state_dict().items():
        group, module, number, leaf = key.split(".")
        state[f"{modules[module]}_{group}.mapping.{number}.{leaf}"] = value
    torch.save(state, files_folder() / "delta_mapper.pt")
    np.save(files_folder() / "fs3.npy", np.ones((72, 2), dtype=np.float32))
    seen = []

    def look(folder, *, normalised):
        seen.append((folder, normalised))

    monkeypatch.setattr(styleclip_files, "clip_image_encoder", look)
    edits = load_delta_edits(None, Generator(generator), normalised=True)
    with pytest.raises(DirectionError, match="no channel"):
        edits.direction("face", "smiling", 0.1)
    assert edits.direction("face", "smiling", 0.0).kept.all()
    assert seen == [(clip[0], True)]


def test_an_editor_edits_by_text_and_reads_the_files_once(clip):
    write(files_folder())
    editor = Editor(tiny_model())
    smile = editor.text_direction("a smiling face")
    assert smile.name == "a face -> a smiling face"
    photo = tiny_photos()
    inversion = editor.invert(photo)
    result = editor.edit(inversion, {smile: 5.0})
    assert not torch.equal(result.pixels, inversion.pixels)
    back = editor.text_direction("a face", neutral="a smiling face", beta=0.0)
    torch.testing.assert_close(back.offset.conv[0][0, 0].sign(), -smile.offset.conv[0][0, 0].sign())
    assert len(clip) == 1
