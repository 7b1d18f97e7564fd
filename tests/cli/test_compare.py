"""`sfe compare`, and the compared methods in the other commands."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from colour_profiles import linear_profile
from stylefeatureeditor.editor import Editor
from stylefeatureeditor.methods import load
from stylefeatureeditor.methods.folder import load_any_config
from stylefeatureeditor.methods.loader import FITTED, MethodLoader
from stylefeatureeditor.weights import sources
from tiny import tiny_editor
from tiny_methods import TINY, tiny_method_editor, tiny_network


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch, one_thread):
    del one_thread
    monkeypatch.setenv("SFE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.fixture
def here(cache):
    """Our own model under the name "faces", and two methods, one of them under another name."""
    tiny_editor().save_pretrained(cache / "faces")
    tiny_method_editor("psp").save_pretrained(cache / "psp")
    tiny_method_editor("restyle-e4e").save_pretrained(cache / "again")
    return cache


@pytest.mark.usefixtures("here")
class TestCompare:
    def test_all_draws_a_row_for_every_method_on_the_machine(self, sfe, aligned, tmp_path):
        ran = sfe("compare", aligned, "--aligned", "-e", "smile=2", "--json", "--device", "cpu")
        content = json.loads(ran.out)
        names = [row["name"] for row in content["methods"]]
        assert names == ["SFE", "e4e", "pSp", "ReStyle (e4e) (again)"]
        assert all(row["edit_seconds"] > 0 for row in content["methods"])
        assert content["picture"] == str(tmp_path / "aligned_methods.png")
        width, height = Image.open(content["picture"]).size
        assert width > 3 * 256
        assert height > 4 * 256

    def test_the_picture_keeps_what_the_photo_brought(self, sfe, aligned, tmp_path):
        Image.open(aligned).save(aligned, icc_profile=linear_profile(), dpi=(300, 300))
        out = tmp_path / "out.jpg"
        sfe("compare", aligned, "--aligned", "--methods", "sfe", "-o", out, "--tile", 64)
        with Image.open(out) as picture:
            assert picture.info["icc_profile"] == linear_profile()
            assert picture.info["dpi"] == (300, 300)

    def test_a_grey_photo_stays_grey(self, sfe, aligned, tmp_path):
        Image.open(aligned).convert("L").save(aligned)
        out = tmp_path / "out.png"
        words = ("--methods", "sfe", "psp", "-e", "smile=2", "-o", out, "--tile", 64)
        sfe("compare", aligned, "--aligned", *words)
        tiles = np.asarray(Image.open(out))[:, -3 * 64 :]  # the words beside them are bluish
        assert np.ptp(tiles, axis=2).max() == 0

    def test_named_methods_and_columns(self, sfe, portrait, tmp_path):
        out = tmp_path / "out.png"
        words = ("--methods", "psp,e4e", "-e", "smile=1", "-e", "smile=-1", "-o", out)
        assert sfe("compare", portrait, *words, "--tile", 64).out.strip() == str(out)
        plain = Image.open(out).size
        assert sfe("compare", portrait, *words, "--tile", 64, "--difference").code == 0
        width, height = Image.open(out).size
        assert width > plain[0] + 3 * 64
        assert height == plain[1]

    def test_a_direction_that_a_methods_folder_lacks_comes_from_the_model(self, here, sfe, aligned):
        rest = ("--aligned", "--device", "cpu", "--methods", "psp")
        ran = sfe("compare", aligned, *rest, "-e", "age=1")
        assert "does not fit its codes" in ran.err  # 32 px against 64
        ran = sfe("compare", aligned, *rest, "-e", "nothing=1", "--model", here / "psp")
        assert "nothing" in ran.err
        assert ran.code == 2

    def test_a_method_that_fails_is_left_out_and_told(self, here, sfe, aligned):
        (here / "psp" / "network.safetensors").unlink()
        ran = sfe("compare", aligned, "--aligned", "--device", "cpu", "--methods", "psp", "e4e")
        assert "psp is left out" in ran.err
        assert ran.code == 0

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (("--face", "all"), "shows one face"),
            (("--methods", "hfgi"), "no model of the method hfgi is on this machine"),
            (("--methods", "x"), "there is no method 'x'"),
            (("--methods", "e4e", "--tile", "9"), "at least 64 px"),
        ],
    )
    def test_a_mistake_is_one_sentence(self, sfe, aligned, words, sentence):
        ran = sfe("compare", aligned, "--aligned", *words)
        assert ran.code == 2
        assert sentence in ran.err


def test_a_machine_without_methods_says_where_they_come_from(sfe, aligned):
    assert "sfe models pull NAME" in sfe("compare", aligned, "--aligned").err


@pytest.mark.usefixtures("here")
class TestMethod:
    def test_edits_by_the_word_and_by_the_folder_alike(self, here, sfe, portrait, tmp_path):
        pictures = []
        for number, words in enumerate((("--method", "psp"), ("--model", here / "psp"))):
            out = tmp_path / f"{number}.png"
            assert sfe("edit", portrait, *words, "-e", "smile=1", "-o", out).code == 0
            pictures.append(np.asarray(Image.open(out)))
        assert np.array_equal(*pictures)
        assert not np.array_equal(pictures[0], np.asarray(Image.open(portrait)))

    def test_our_own_networks_edit_by_other_methods_too(self, sfe, aligned, tmp_path):
        pictures = []
        for word in ("sfe", "e4e", "sfe-without-h"):
            out = tmp_path / f"{word}.png"
            words = ("--aligned", "--crop-only", "--method", word, "-e", "age=3", "-o", out)
            assert sfe("edit", aligned, *words).code == 0
            pictures.append(out.read_bytes())
        assert len(set(pictures)) == 3

    def test_an_inversion_by_a_method_is_a_picture_only(self, sfe, aligned, tmp_path):
        out = tmp_path / "redrawn.png"
        assert sfe("invert", aligned, "--aligned", "--method", "psp", "-o", out).code == 0
        assert Image.open(out).size == (64, 64)
        assert not out.with_suffix(".safetensors").exists()

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (("--method", "psp", "--model", "again"), "again does not hold the method psp"),
            (("--method", "e4e", "--model", "psp"), "psp holds the method psp, not e4e"),
            (("--method", "ppsp"), "there is no method 'ppsp'"),
        ],
    )
    def test_a_model_of_another_method_is_refused(self, sfe, aligned, words, sentence):
        ran = sfe("edit", aligned, "--aligned", *words, "-e", "smile=1")
        assert ran.code == 2
        assert sentence in ran.err

    def test_evaluation_takes_methods_models_and_both(self, here):
        loader = MethodLoader("faces", "cpu")
        names = {
            word: loader.entry(word).name
            for word in ("e4e", "psp", "again", "e4e@faces", str(here / "psp"))
        }
        assert names == {
            "e4e": "e4e",
            "psp": "pSp",
            "again": "ReStyle (e4e) (again)",
            "e4e@faces": "e4e",
            str(here / "psp"): "pSp",
        }
        assert loader.entry("somewhere") is None

    def test_methods_that_optimise_say_with_what(self):
        loader = MethodLoader("faces", "cpu", steps=1)
        editor = Editor(loader.method("w+"))
        assert "optimise pixels alone" in loader.notes[0]
        assert editor.edit(torch.zeros(1, 3, 32, 32), {"smile": 1.0}).pixels.isfinite().all()

    def test_all_names_other_models_of_ours_and_never_the_slow_ones(self, here):
        tiny_editor().save_pretrained(here / "second")
        words = MethodLoader("faces", "cpu").everything()
        assert words == ["sfe", "e4e", "sfe@second", "e4e@second", "psp", "again"]
        assert MethodLoader("psp", "cpu").everything()[0] == "psp"
        assert not set(words) & set(FITTED)

    def test_info_and_directions_know_a_methods_folder(self, sfe):
        content = json.loads(sfe("models", "info", "psp", "--json").out)
        assert content["method"] == "psp"
        assert content["networks"]["network"]["parameters"] > 1000
        assert "smile" in sfe("directions", "list", "--model", "psp").out


class TestConvert:
    @pytest.fixture
    def files(self, tmp_path, monkeypatch):
        """Files that "feature-style" is made of, as far as the command can see."""
        paths = [tmp_path / name for name in ("143_enc.pth", "psp_ffhq_encode.pt")]
        for path in paths:
            path.write_bytes(b"weights")
        kind = load.KINDS["feature-style"]
        fake = load.MethodKind(**{**vars(kind), "load": lambda *_: tiny_network("feature-style")})
        monkeypatch.setitem(load.KINDS, "feature-style", fake)
        return paths

    def test_makes_a_folder_that_says_its_method(self, sfe, files, tmp_path):
        vector = tmp_path / "directions" / "smile.pt"
        vector.parent.mkdir()
        torch.save(torch.ones(1, 8), vector)
        folder = tmp_path / "fse"
        words = ("models", "convert", "--method", "feature-style", *files, "-o", folder)
        words = (*words, "--catalog", "ffhq")
        assert sfe(*words, "--directions", vector.parent).out.strip() == str(folder)
        config = load_any_config(folder)
        assert (config.method, config.name, config.catalog) == ("feature-style", "fse", "ffhq")
        assert (folder / "directions" / "smile.pt").is_file()
        origin = json.loads(sfe("models", "info", folder, "--json").out)["converted_from"]
        assert [row["file"] for row in origin] == [file.name for file in files]
        assert Editor.from_pretrained(folder, device="cpu").size == 64
        assert "holds a model already" in sfe(*words).err

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (("--method", "feature-style", "a.pt"), "2 files, in this order: 143_enc.pth, psp_"),
            (("--method", "psp", "a.pt"), "a.pt"),
            (("--method", "nobody", "a.pt"), "there is no method 'nobody'"),
            (("a.pt",), "say what a.pt is"),
            (("--method", "psp", "--e4e", "a.pt"), "without options"),
        ],
    )
    def test_a_mistake_is_one_sentence(self, sfe, tmp_path, words, sentence):
        ran = sfe("models", "convert", *words, "-o", tmp_path / "out")
        assert ran.code == 2
        assert sentence in ran.err
        assert not (tmp_path / "out").exists()

    def test_pull_shows_licences_first_and_leaves_a_model(self, sfe, files, cache, monkeypatch):
        downloads = cache.parent / "downloads"
        downloads.mkdir(parents=True)
        for file, name in zip(files, ("143_enc.pth", "psp_ffhq_encode.pt"), strict=True):
            (downloads / name).write_bytes(file.read_bytes())
        monkeypatch.setattr("stylefeatureeditor.weights.download.fetch", lambda s, d, _: d / s.name)
        assert "feature-style is ready" in sfe("models", "pull", "feature-style").out
        assert Editor.from_pretrained("feature-style", device="cpu").method.name
        assert "here already" in sfe("models", "pull", "feature-style").out
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", lambda _: "n")
        told = sfe("models", "pull", "hfgi").out
        assert "licence  none stated: all rights reserved" in told
        assert "nothing was downloaded" in told


def test_every_method_is_listed_with_its_files_sizes_and_licences(sfe):
    text = sfe("models", "list").out.partition("Methods that the paper compares with")[2]
    for kind in load.METHODS:
        assert f"  {kind.word}  {kind.title}" in text
    for words in ("research only", "NVIDIA Source Code License (non-commercial)", "none stated"):
        assert words in text
    assert set(TINY) <= set(load.KINDS)
    assert not set(load.KINDS) & {*sources.SOURCES}
    without = {kind.word for kind in load.METHODS if not kind.sources}
    assert without == {"padinv"}
    assert all(len(kind.sources) == len(kind.files) for kind in load.METHODS if kind.sources)
