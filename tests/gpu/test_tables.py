"""Tables and directions on a GPU: what is measured, judged and fitted there."""

import pytest
import torch

from fake_gpu import FakeGpu
from seeded import draw
from stylefeatureeditor.directions import learned
from stylefeatureeditor.directions.labelled import classifier_score, drawn_labels, measure_range
from stylefeatureeditor.editing.direction import EditDirection
from stylefeatureeditor.evaluation.inversion import reconstruction
from stylefeatureeditor.evaluation.measures import Networks, standard_suite
from stylefeatureeditor.evaluation.runner import Evaluation, run_pass
from stylefeatureeditor.metrics.attribute_classifier import (
    AttributeClassifier,
    AttributeClassifierConfig,
)
from tiny import SIZE, WIDTH, tiny_editor, tiny_model, tiny_photos
from toy_methods import MemoryPhotos

pytestmark = pytest.mark.usefixtures("one_thread")
KINDS = pytest.mark.parametrize("kind", ["cuda", "mps"])


def classifier():
    config = AttributeClassifierConfig(
        size=SIZE, channels=(4, 4, 6, 8), depths=(1, 1, 1, 1), attributes=("Smiling", "Young")
    )
    return AttributeClassifier(config).eval()


@KINDS
def test_a_table(kind, tmp_path, monkeypatch):
    photos = MemoryPhotos(tiny_photos(3), ["a.png", "b.png", "c.png"])
    with FakeGpu(kind):
        method = tiny_editor().to(kind).method
        invert, taken = method.invert, []
        monkeypatch.setattr(
            method, "invert", lambda pixels: (taken.append(len(pixels)), invert(pixels))[1]
        )
        suite = standard_suite(SIZE, Networks(), classifier().to(kind))
        evaluation = Evaluation(
            folder=tmp_path, photos=photos, suite=suite, batch_size=2, device=kind, pictures=0
        )
        done = run_pass(evaluation, "ours", reconstruction(method))
    assert done.table.columns["l2"].shape == (3,)
    assert (done.table.columns["seconds_invert"] > 0).all()
    assert taken == [2, 2, 1]  # the first batch once more, before it is timed


@KINDS
def test_directions(kind, monkeypatch):
    monkeypatch.setattr(learned, "STEPS", 2)
    codes = draw("gpu.codes", (24, WIDTH))
    with FakeGpu(kind):
        generator, judge = tiny_model().generator.to(kind), classifier().to(kind)
        score = classifier_score(judge, "Smiling")
        assert len(drawn_labels(generator, codes, score)) == 24
        learnt = learned.learn_direction(generator, codes, judge, "Smiling")
        direction = EditDirection.linear(10 * learnt, "learnt")
        faces = codes[:4, None].expand(-1, generator.config.num_styles, -1)
        assert measure_range(generator, faces, direction, score).high > 0
    assert learnt.device == torch.device("cpu")
