"""Folders of images made elsewhere find their photos by name."""

from __future__ import annotations

import pytest
from PIL import Image

from stylefeatureeditor.errors import ConfigError, PhotoError
from stylefeatureeditor.evaluation.inversion import evaluate_images
from stylefeatureeditor.evaluation.photo_sets import match_by_name
from toy_methods import SIDE, toy_evaluation, toy_photos, write_photos

NAMES = [f"{i:03d}.png" for i in range(10)]


@pytest.fixture
def folder(tmp_path):
    return write_photos(tmp_path / "png", toy_photos())


def test_images_come_in_the_order_of_the_photos(folder):
    images = match_by_name(folder, ["007.png", "002.png"], SIDE)
    assert images.image(0).equal(toy_photos().image(7))
    assert images.image(1).equal(toy_photos().image(2))


def test_another_suffix_and_folder_do_not_matter(folder):
    (folder / "sub").mkdir()
    (folder / "003.png").rename(folder / "sub" / "003.png")
    images = match_by_name(folder, ["00/003.jpg", "004.webp"], SIDE)
    assert images.image(0).equal(toy_photos().image(3))


def test_a_missing_image_is_named(folder):
    (folder / "005.png").unlink()
    with pytest.raises(ConfigError, match=r"no image for 1 of the 10 photos.*'005.png'"):
        match_by_name(folder, NAMES, SIDE)


def test_photos_that_take_no_part_need_no_image(folder):
    (folder / "005.png").unlink()
    images = match_by_name(folder, NAMES, SIDE, only=[2, 6])
    assert images.image(6).equal(toy_photos().image(6))
    with pytest.raises(ConfigError, match=r"no image for 1 of the 2 photos.*'005.png'"):
        match_by_name(folder, NAMES, SIDE, only=[5, 6])


def test_a_folder_of_other_names_is_refused(folder):
    with pytest.raises(ConfigError, match=r"no image for 2 of the 2 photos.*like '000.png'"):
        match_by_name(folder, ["a.png", "b.png"], SIDE)


def test_images_of_another_size_are_refused(folder):
    with pytest.raises(ConfigError, match="are 8 x 8, the photos are measured at 16 x 16"):
        match_by_name(folder, NAMES, 16)


def test_one_image_of_another_size_costs_one_row(folder, tmp_path):
    Image.new("RGB", (12, 12)).save(folder / "006.png")
    images = match_by_name(folder, NAMES, SIDE)
    with pytest.raises(PhotoError, match="12 x 12, not 8 x 8"):
        images.image(6)
    result = evaluate_images("files", images, toy_evaluation(tmp_path / "run"))
    assert result.count == 9
    assert "006.png" in result.errors[0]
    assert result.values["l2"].value == 0


def test_one_damaged_image_costs_one_row(folder, tmp_path):
    (folder / "000.png").write_bytes(b"no picture")
    result = evaluate_images(
        "files", match_by_name(folder, NAMES, SIDE), toy_evaluation(tmp_path / "run")
    )
    assert result.count == 9
    assert len(result.errors) == 1
