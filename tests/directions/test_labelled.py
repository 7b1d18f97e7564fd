"""Ranges of directions, on a generator whose pictures can be computed by hand."""

import math

import numpy as np
import pytest
import torch

from stylefeatureeditor.data.images import open_images
from stylefeatureeditor.directions.labelled import (
    CHANGE,
    MOST_DEVIATIONS,
    SHORTEST,
    UsefulRange,
    classifier_score,
    draw_strip,
    drawn_labels,
    encoded_codes,
    mapped_codes,
    measure_range,
    table_labels,
)
from stylefeatureeditor.editing.direction import LinearDirection
from stylefeatureeditor.errors import ConfigError, PhotoError
from stylefeatureeditor.metrics.attribute_classifier import (
    AttributeClassifier,
    AttributeClassifierConfig,
)
from stylefeatureeditor.photo.image import read_photo
from stylefeatureeditor.records import Codes
from tiny import SIZE, STYLES, WIDTH, tiny_model
from toy_training import write_pictures

pytestmark = pytest.mark.usefixtures("one_thread")


class Flat:
    """Draws pictures of one level: the first number of style 0, divided by ten."""

    latent_avg = torch.zeros(2)

    def synthesize(self, codes):
        level = codes.wplus[:, 0, 0] / 10
        return level[:, None, None, None].expand(-1, 3, 4, 4)


FACES = torch.zeros(5, 3, 2)
FACES[:, :, 0] = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])[:, None]
ALONG = LinearDirection("level", torch.tensor([1.0, 0.0]))
# neighbours, and the last beside the first, are 1, 1, 1, 1 and 4 apart
BOUND = CHANGE * (4 * 1 + 4) / 5


def test_without_a_classifier_the_change_of_the_picture_bounds_the_range():
    found = measure_range(Flat(), FACES, ALONG, None)
    assert found[:2] == pytest.approx((-BOUND, BOUND), rel=0.05)
    assert found.scores is None


def test_with_a_classifier_the_range_ends_where_half_of_the_faces_score_95_percent():
    def score(images):  # logit 10 per unit of strength; the median face is at 0
        return 100 * images.mean(dim=(1, 2, 3))

    found = measure_range(Flat(), FACES, ALONG, score)
    crossing = math.log(19) / 10
    assert found[:2] == pytest.approx((-crossing, crossing), rel=0.05)
    assert found.scores == pytest.approx((0.05, 0.95), abs=0.01)


def test_a_score_that_is_never_reached_leaves_the_bound():
    found = measure_range(Flat(), FACES, ALONG, lambda images: images[:, 0, 0, 0] * 0)
    assert found[:2] == pytest.approx((-BOUND, BOUND), rel=0.05)
    assert found.scores == (0.5, 0.5)


def test_a_score_that_is_there_already_leaves_a_slider():
    found = measure_range(Flat(), FACES, ALONG, lambda images: images[:, 0, 0, 0] * 0 + 9)
    assert found.high == pytest.approx(SHORTEST * BOUND, rel=0.05)


def test_no_range_leaves_the_codes():
    faint = LinearDirection("level", torch.tensor([0.05, 0.0]))
    assert measure_range(Flat(), FACES, faint, None)[:2] == (-MOST_DEVIATIONS, MOST_DEVIATIONS)


def test_a_direction_that_changes_nothing_is_refused():
    dead = LinearDirection("dead", torch.tensor([0.0, 1.0]))
    with pytest.raises(ConfigError, match="'dead' hardly changes the picture"):
        measure_range(Flat(), FACES, dead, None)
    with pytest.raises(ConfigError, match="at least 2 faces"):
        measure_range(Flat(), FACES[:1], ALONG, None)


def test_strips_go_from_one_end_of_the_range_to_the_other(tmp_path):
    useful = UsefulRange(-2.0, 6.0, None)
    path = draw_strip(Flat(), FACES[1:3], ALONG, useful, tmp_path / "strips")
    assert path == tmp_path / "strips" / "level.png"
    sheet = read_photo(path).pixels[-96:, :, 0]  # the row of the face at 0
    shown = np.unique(sheet[48], return_counts=True)
    levels = [value for value, count in zip(*shown, strict=True) if count >= 90]
    strengths = [-2, -4 / 3, -2 / 3, 0, 2, 4, 6]
    assert levels == [round((s / 10 + 1) * 127.5) for s in strengths]


def test_generated_codes_are_labelled_by_what_they_draw():
    model = tiny_model()
    codes = mapped_codes(model.generator, 40)
    assert codes.shape == (40, WIDTH)
    assert torch.equal(codes, mapped_codes(model.generator, 40))

    def score(images):
        return images.mean(dim=(1, 2, 3)) - 0.01

    done = []
    labels = drawn_labels(model.generator, codes, score, done.append)
    assert done[-1] == 40
    one = Codes(codes[7:8, None].expand(-1, STYLES, -1))
    assert labels[7] == score(model.generator.synthesize(one)).sign()
    assert set(labels.tolist()) == {-1.0, 1.0}


def test_an_attribute_that_nobody_has_goes_to_those_who_nearly_have_it():
    model = tiny_model()
    codes = mapped_codes(model.generator, 40)
    labels = drawn_labels(model.generator, codes, lambda images: images.mean(dim=(1, 2, 3)) - 1000)
    assert (labels > 0).sum() == 2


def test_photos_are_encoded_in_their_order(tmp_path):
    write_pictures(tmp_path / "photos", 3)
    model = tiny_model()
    images = open_images(tmp_path / "photos", SIZE)
    wplus, numbers = encoded_codes(model, images)
    assert (wplus.shape, numbers) == ((3, STYLES, WIDTH), [0, 1, 2])
    alone = model.generator.latent_avg + model.e4e(images.photos([2]))
    assert torch.allclose(wplus[2], alone[0], atol=1e-5)
    both, _ = encoded_codes(model, images, mirror=True)
    assert torch.equal(both[:, 0], wplus)
    mirrored = model.generator.latent_avg + model.e4e(images.photos([2]).flip(3))
    assert torch.allclose(both[2, 1], mirrored[0], atol=1e-5)


def test_damaged_photos_are_left_out_of_the_codes(tmp_path):
    write_pictures(tmp_path, 3)
    files = sorted(tmp_path.glob("*.png"))
    files[1].write_bytes(b"no picture")
    model = tiny_model()
    wplus, numbers = encoded_codes(model, open_images(tmp_path, SIZE, memory_gib=0))
    assert (len(wplus), numbers) == (2, [0, 2])
    for file in files:
        file.write_bytes(b"no picture")
    with pytest.raises(PhotoError, match="none of the 3 photos"):
        encoded_codes(model, open_images(tmp_path, SIZE, memory_gib=0))


def test_numbers_are_split_at_their_median_and_yes_stays_yes():
    ages = torch.tensor([20.0, 30.0, 40.0, torch.nan])
    assert table_labels(ages, binary=False).tolist() == [-1, 0, 1, 0]
    marks = torch.tensor([1.0, 0.0, -1.0])
    assert torch.equal(table_labels(marks, binary=True), marks)


def test_a_score_is_one_logit_and_can_be_turned_round():
    config = AttributeClassifierConfig(
        attributes=("Young", "Male"), size=16, channels=(2, 2, 2, 2), depths=(1, 1, 1, 1)
    )
    classifier = AttributeClassifier(config).eval()
    images = torch.rand(3, 3, 16, 16)
    logits = classifier(images)
    assert torch.equal(classifier_score(classifier, "Male")(images), logits[:, 1])
    assert torch.equal(classifier_score(classifier, "-Young")(images), -logits[:, 0])
    with pytest.raises(ConfigError, match="knows no attribute 'Old'"):
        classifier_score(classifier, "Old")
