from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import stylefeatureeditor
from stylefeatureeditor.editing.catalog import load_catalog
from stylefeatureeditor.editor import Editor
from tiny import STYLES, WIDTH


@pytest.fixture
def own(tmp_path, model):
    """A model folder that may be changed."""
    return shutil.copytree(model, tmp_path / "own")


class TestList:
    @pytest.mark.parametrize("family", ["ffhq", "cars"])
    def test_names_what_was_published_for_a_family(self, family, sfe):
        rows = json.loads(sfe("directions", "list", "--model", family, "--json").out)
        assert [row["name"] for row in rows] == [e.name for e in load_catalog(family).entries]

    def test_without_a_model_is_about_faces(self, sfe):
        assert sfe("directions", "list").out == sfe("directions", "list", "--model", "ffhq").out

    def test_shows_ranges_and_what_the_sign_means(self, sfe):
        line = next(
            line
            for line in sfe("directions", "list").out.splitlines()
            if line.startswith("  smile ")
        )
        assert "-5 to 5" in line
        assert "negative turns the corners of the mouth down" in line

    def test_says_what_a_person_understands_and_show_says_where_it_comes_from(self, sfe):
        builtin = Path(stylefeatureeditor.__file__).parent / "builtin" / "faces"
        listed = sfe("directions", "list", "--model", builtin).out
        for word in ("GANalyze", "No_Beard", "Mouth_Slightly_Open", "lead"):
            assert word not in listed
        assert re.search("beard +-1.9 to 3 +Positive grows a beard, negative shaves it off", listed)
        assert "InterFaceGAN" not in sfe("directions", "list").out
        shown = sfe("directions", "show", "beard", "--model", builtin).out
        assert re.search("method +GANalyze, 9490 photos", shown)
        assert re.search("attribute +-No_Beard", shown)

    def test_names_a_models_own(self, model, sfe):
        rows = json.loads(sfe("directions", "list", "--model", model, "--json").out)
        assert [(row["name"], row["is_here"]) for row in rows] == [("smile", True), ("age", True)]

    def test_says_which_files_are_missing(self, own, sfe):
        config = json.loads((own / "config.json").read_text())
        config["model"]["catalog"] = "ffhq"
        (own / "config.json").write_text(json.dumps(config))
        (own / "directions").mkdir()
        (own / "directions" / "rotation.pt").write_bytes(b"")
        rows = json.loads(sfe("directions", "list", "--model", own, "--json").out)
        here = {row["name"]: row["is_here"] for row in rows}
        assert here["rotation"]
        assert here["bangs"]  # needs no file
        assert not here["afro"]
        assert "(needs afro.pt)" in sfe("directions", "list", "--model", own).out


class TestShow:
    def test_takes_any_spelling(self, model, sfe):
        content = json.loads(sfe("directions", "show", "Grin", "--model", model, "--json").out)
        assert content["name"] == "smile"
        assert content["useful_range"] == [-3.0, 3.0]

    def test_ends_with_a_command_to_try(self, sfe):
        ran = sfe("directions", "show", "age")
        assert ran.code == 0
        assert "sfe edit portrait.jpg -e age=5 -o out.png" in ran.out


class TestImport:
    def add(self, sfe, own, file, *words):
        return sfe("directions", "import", file, "--name", "beard", "--model", own, *words)

    def test_a_vector_becomes_a_direction_of_the_model(self, own, tmp_path, sfe):
        vector = torch.arange(1.0, WIDTH + 1)
        save_file({"vector": vector}, tmp_path / "v.safetensors")
        words = ("--scale", "0.5", "--layers", "2:5", "--range=-2:4")
        assert self.add(sfe, own, tmp_path / "v.safetensors", *words).code == 0
        editor = Editor.from_pretrained(own, device="cpu")
        assert editor.directions.find("beard").useful_range == (-2.0, 4.0)
        direction = editor.direction("beard")
        assert torch.equal(direction.vector, vector)
        assert (direction.scale, direction.layers) == (0.5, (2, 5))
        assert editor.directions.find("smile").name == "smile"  # those it had stay

    def test_a_vector_per_style(self, own, tmp_path, sfe):
        rows = np.random.default_rng(0).normal(size=(1, STYLES * WIDTH))
        np.save(tmp_path / "v.npy", rows)
        assert self.add(sfe, own, tmp_path / "v.npy").code == 0
        vector = Editor.from_pretrained(own, device="cpu").direction("beard").vector
        assert np.allclose(vector.numpy(), rows.reshape(STYLES, WIDTH))

    def test_a_component_of_a_ganspace_table(self, own, tmp_path, sfe):
        components = torch.eye(WIDTH)[:3]
        table = {"comp": components[:, None], "mean": torch.zeros(1, WIDTH), "std": torch.ones(3)}
        torch.save(table, tmp_path / "pca.pt")
        assert self.add(sfe, own, tmp_path / "pca.pt").code == 2  # which one?
        assert self.add(sfe, own, tmp_path / "pca.pt", "--component", "1").code == 0
        direction = Editor.from_pretrained(own, device="cpu").direction("beard")
        assert torch.equal(direction.component, components[1])

    def test_can_be_edited_with_at_once(self, own, tmp_path, aligned, sfe):
        np.save(tmp_path / "v.npy", np.ones(WIDTH, dtype=np.float32))
        self.add(sfe, own, tmp_path / "v.npy")
        ran = sfe("edit", aligned, "--aligned", "-e", "beard=1", "--model", own)
        assert (ran.code, ran.err) == (0, "")
