from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from stylefeatureeditor.directions.fit import Boundary
from stylefeatureeditor.editor import Editor
from stylefeatureeditor.metrics.attribute_classifier import (
    AttributeClassifier,
    AttributeClassifierConfig,
)
from stylefeatureeditor.training.run_folder import finish_model
from tiny import WIDTH
from toy_training import write_pictures

pytestmark = pytest.mark.usefixtures("one_thread")
FEW = ("--samples", "60", "--device", "cpu")


@pytest.fixture(autouse=True)
def _few_faces(monkeypatch):
    for place in ("find", "request"):
        monkeypatch.setattr(f"stylefeatureeditor.directions.{place}.FACES_MEASURED", 4)


@pytest.fixture
def own(tmp_path, model):
    """A model folder that may be changed."""
    return shutil.copytree(model, tmp_path / "own")


@pytest.fixture
def classifier(tmp_path):
    """The file of a classifier with random weights that knows Smiling and Young."""
    config = AttributeClassifierConfig(
        attributes=("Smiling", "Young"), size=16, channels=(4, 4, 4, 4), depths=(1, 1, 1, 1)
    )
    torch.manual_seed(4)
    network = AttributeClassifier(config)
    network.head.weight.data.mul_(20)
    network.save(tmp_path / "attributes.safetensors")
    return tmp_path / "attributes.safetensors"


@pytest.fixture
def labelled(tmp_path):
    """A folder of pictures, and a table of them: half smile, and their ages."""
    paths = write_pictures(tmp_path / "photos", 24)
    lines = [f"{path.name},{i % 2},{i}" for i, path in enumerate(paths)]
    (tmp_path / "table.csv").write_text("file,Smiling,age\n" + "\n".join(lines) + "\n")
    return tmp_path / "photos", tmp_path / "table.csv"


def fit(sfe, own, *words):
    return sfe("directions", "fit", "--model", own, *FEW, *words)


def vector(own, name):
    return Editor.from_pretrained(own, device="cpu").direction(name).vector


@pytest.mark.parametrize(("kind", "method"), [("pca", "GANSpace"), ("sefa", "SeFa")])
def test_directions_without_labels(kind, method, own, sfe):
    ran = fit(sfe, own, f"--{kind}", "2")
    assert (ran.code, ran.err) == (0, "")
    rows = json.loads(sfe("directions", "list", "--model", own, "--json").out)
    assert [row["name"] for row in rows] == ["smile", "age", f"{kind}_0", f"{kind}_1"]
    low, high = rows[2]["useful_range"]
    assert low < 0 < high
    assert rows[2]["method"] == method
    assert vector(own, f"{kind}_0").shape == (WIDTH,)
    assert not torch.allclose(vector(own, f"{kind}_0"), vector(own, f"{kind}_1"))


def test_the_strip_shows_what_the_direction_does(own, sfe):
    fit(sfe, own, "--pca", "1")
    strip = np.asarray(Image.open(own / "strips" / "pca_0.png").convert("RGB")).astype(int)
    columns = np.array_split(strip[-96:], 7, axis=1)
    width = min(column.shape[1] for column in columns)
    ends = np.abs(columns[0][:, :width] - columns[-1][:, :width]).mean()
    neighbours = np.abs(columns[3][:, :width] - columns[2][:, :width]).mean()
    assert ends > neighbours > 0


def test_labels_of_photos(own, labelled, sfe):
    photos, table = labelled
    words = ("--data", photos, "--labels", table, "--column", "Smiling", "--name", "grim")
    ran = fit(sfe, own, *words)
    assert ran.code == 0
    assert "of held-out codes lie on the right side" in ran.out
    towards = vector(own, "grim")
    assert fit(sfe, own, *words, "--reverse").code == 0
    assert torch.allclose(vector(own, "grim"), -towards, atol=1e-4)
    shown = json.loads(sfe("directions", "show", "grim", "--model", own, "--json").out)
    assert shown["help"] == 'positive is less "smiling", negative is more'


def test_a_boundary_that_is_right_half_the_time_is_warned_of(own, labelled, sfe, monkeypatch):
    photos, table = labelled
    words = ("--data", photos, "--labels", table, "--column", "Smiling", "--name", "grim")
    for accuracy, is_warned in ((0.52, True), (0.9, False)):
        boundary = Boundary(torch.linspace(-1, 1, WIDTH), accuracy)
        monkeypatch.setattr(
            "stylefeatureeditor.directions.find.fit_boundary", lambda *_, b=boundary: b
        )
        ran = fit(sfe, own, *words)
        assert ran.code == 0
        assert f"{accuracy:.0%} of held-out codes lie on the right side" in ran.out
        assert ("tells only 52% apart, chance is 50%" in ran.err) == is_warned


def test_numbers_are_split_at_their_median(own, labelled, sfe):
    photos, table = labelled
    words = ("--data", photos, "--labels", table, "--column", "age", "--name", "older")
    assert fit(sfe, own, *words, "--method", "mean").code == 0
    assert vector(own, "older").isfinite().all()


def test_a_classifier_labels_what_is_drawn_and_others_are_left_alone(own, classifier, sfe):
    words = ("--classifier", classifier, "--column", "Smiling", "--samples", "400")
    assert fit(sfe, own, *words, "--name", "plain").code == 0
    ran = fit(sfe, own, *words, "--name", "pure", "--without", "smile", "plain2")
    assert "unknown direction 'plain2'" in ran.err
    ran = fit(sfe, own, *words, "--name", "pure", "--without", "smile")
    assert ran.code == 0
    assert "the classifier's median score goes from" in ran.out
    assert abs(vector(own, "pure") @ vector(own, "smile")) < 1e-4
    assert abs(vector(own, "plain") @ vector(own, "smile")) > 1e-4


def test_layers_are_kept(own, sfe):
    assert fit(sfe, own, "--sefa", "1", "--layers", "2:5", "--name", "shape").code == 0
    direction = Editor.from_pretrained(own, device="cpu").direction("shape_0")
    assert direction.layers == (2, 5)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("", "say how to find directions"),
        ("--pca 2 --sefa 2", "say how to find directions"),
        ("--mirror 1", "--mirror needs photos"),
        ("--mirror 0 --data {photos}", "1 to 96 directions, got 0"),
        ("--mirror 24 --data {photos}", "24 components need more than 24 photos"),
        ("--mirror 1 --data {photos} --column Smiling", "are of directions with an attribute"),
        ("--mirror 1 --pca 1 --data {photos}", "say how to find directions"),
        ("--pca 1 --data {photos}", "say how to find directions"),
        ("--data {photos} --method learned --name x --column Smiling", "pass --classifier"),
        (
            "--classifier {classifier} --method learned --labels {table} --name x --column Smiling "
            "--data {photos}",
            "--method learned reads none",
        ),
        ("--pca 99", "1 to 12 directions, got 99"),
        ("--classifier {classifier}", "needs --name and --column"),
        ("--classifier {classifier} --name x --column Old", "knows no attribute 'Old'"),
        ("--classifier nowhere --name x --column Old", "`sfe train attributes` makes one"),
        ("--labels {table} --pca 1", "are of directions with an attribute"),
        ("--data {photos} --labels {table} --name x --column Grin", "no column 'Grin'"),
        ("--data {photos} --name x --column Smiling", "no column 'Smiling'"),
        ("--data {photos} --where split --name x --column y", "COLUMN=RULE"),
        ("--pca 1 --name Smile!", "lower case letters"),
        ("--pca 1 --samples 3", "--samples must be at least"),
    ],
)
def test_mistakes_are_one_sentence(words, sentence, own, classifier, labelled, sfe):
    photos, table = labelled
    ran = fit(sfe, own, *words.format(classifier=classifier, photos=photos, table=table).split())
    assert ran.code == 2
    assert sentence in ran.err
    assert ran.err.count("\n") == 1


def test_photos_need_a_trained_encoder(own, labelled, sfe):
    finish_model(own, None, "generator", 3, None)
    photos, table = labelled
    words = ("--data", photos, "--labels", table, "--column", "Smiling", "--name", "grim")
    assert "no trained e4e" in fit(sfe, own, *words).err


def test_a_vector_for_each_style(own, labelled, sfe):
    photos, table = labelled
    words = ("--data", photos, "--labels", table, "--column", "Smiling", "--name", "grim")
    ran = fit(sfe, own, *words, "--per-style", "--without", "smile")
    assert ran.code == 0
    found = vector(own, "grim")
    assert found.ndim == 2
    assert not torch.allclose(found[0], found[-1])
    smile = vector(own, "smile").expand(found.shape)
    assert abs((found * smile).sum()) < 1e-4 * found.norm() * smile.norm()
    ran = fit(sfe, own, "--classifier", "x", "--column", "Smiling", "--name", "g", "--per-style")
    assert ran.code == 2
    assert "--per-style needs --data" in ran.err


def test_a_direction_is_learned_from_the_classifier(own, labelled, classifier, sfe, monkeypatch):
    monkeypatch.setattr("stylefeatureeditor.directions.learned.STEPS", 3)
    words = ("--method", "learned", "--classifier", classifier, "--column", "Young", "--reverse")
    assert fit(sfe, own, *words, "--name", "old", "--data", labelled[0], "--per-style").code == 0
    assert fit(sfe, own, *words, "--name", "older").code == 0
    assert vector(own, "old").ndim == 2
    assert vector(own, "older").shape == (WIDTH,)
    entry = Editor.from_pretrained(own, device="cpu").directions.find("old")
    assert (entry.method, entry.attribute) == ("GANalyze, 24 photos", "-Young")
    assert entry.help == 'positive is less "young", negative is more'


def test_what_mirroring_changes(own, labelled, sfe):
    ran = fit(sfe, own, "--mirror", "1", "--data", labelled[0], "--name", "turn")
    assert ran.code == 0
    assert fit(sfe, own, "--mirror", "2", "--data", labelled[0]).code == 0
    assert vector(own, "turn").ndim == 2
    assert torch.allclose(vector(own, "turn"), vector(own, "mirror_0"), atol=1e-4)
    assert vector(own, "mirror_1").norm() > 0
