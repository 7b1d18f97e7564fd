"""Tables 1-2: a row for a method, and for images made elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.evaluation.inversion import evaluate_images, evaluate_inversion
from stylefeatureeditor.evaluation.measures import Suite
from stylefeatureeditor.evaluation.photo_sets import match_by_name
from stylefeatureeditor.methods.e4e import E4eMethod
from tiny import SIZE, tiny_model, tiny_photos
from toy_methods import (
    SIDE,
    Darker,
    MemoryPhotos,
    toy_evaluation,
    toy_photos,
    toy_suite,
    write_photos,
)


def test_a_row_has_every_mean_and_the_set_distances(tmp_path):
    result = evaluate_inversion(Darker(), toy_evaluation(tmp_path))
    assert set(result.values) == {"l2", "psnr", "seconds_invert", "fid", "kid"}
    assert result.count == 10
    mean = result.values["l2"]
    assert mean.low < mean.value < mean.high
    assert mean.count == 10


def test_a_perfect_method_is_at_no_distance(tmp_path):
    result = evaluate_inversion(Darker(1.0), toy_evaluation(tmp_path))
    assert result.values["l2"].value == 0
    assert result.values["fid"].value == pytest.approx(0, abs=1e-9)


def test_a_worse_method_is_farther_away(tmp_path):
    near = evaluate_inversion(Darker(0.9), toy_evaluation(tmp_path))
    far = evaluate_inversion(Darker(0.5), toy_evaluation(tmp_path))
    for column in ("l2", "fid"):
        assert far.values[column].value > near.values[column].value
    assert far.values["psnr"].value < near.values["psnr"].value


def test_a_method_in_memory_and_its_png_files_give_the_same_row(tmp_path):
    photos = toy_photos()
    drawn = evaluate_inversion(Darker(0.7), toy_evaluation(tmp_path / "a"))
    folder = write_photos(tmp_path / "png", photos, share=0.7)
    files = match_by_name(folder, photos.names, SIDE)
    read = evaluate_images("files", files, toy_evaluation(tmp_path / "b"))
    for column in ("l2", "psnr", "fid", "kid"):
        assert read.values[column] == drawn.values[column]
    assert "seconds_invert" not in read.values


def test_the_page_shows_the_worst_the_best_and_some_at_random(tmp_path):
    result = evaluate_inversion(Darker(), toy_evaluation(tmp_path))
    assert [shown.kind for shown in result.shown] == ["worst"] * 2 + ["best"] * 2 + ["random"] * 2
    numbers = [shown.values["l2"] for shown in result.shown]
    assert numbers[0] >= numbers[1] > numbers[3] >= numbers[2]
    assert result.shown[0].drawn.shape == (SIDE, SIDE, 3)
    assert not np.array_equal(result.shown[0].photo, result.shown[0].drawn)


def test_photos_of_another_side_are_refused(tmp_path):
    evaluation = toy_evaluation(tmp_path, photos=MemoryPhotos(tiny_photos(2), ["a", "b"]))
    sides = f"takes photos of {SIDE} px, but these are opened at {SIZE} px"
    with pytest.raises(ConfigError, match=sides):
        evaluate_inversion(Darker(), evaluation)


def test_fewer_images_than_photos_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="has 9 images"):
        evaluate_images("few", toy_photos(9), toy_evaluation(tmp_path))


def test_real_networks_run_through_it(tmp_path):
    suite = Suite(toy_suite().measures, ())
    evaluation = toy_evaluation(
        tmp_path, photos=MemoryPhotos(tiny_photos(2), ["a", "b"]), suite=suite
    )
    result = evaluate_inversion(E4eMethod(tiny_model()), evaluation)
    assert result.count == 2
    assert result.shown[0].photo.shape == (SIZE, SIZE, 3)
