"""The crop back into its photo: what may change, what may not, and where things land."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from stylefeatureeditor.errors import ConfigError, MaskError, ShapeError
from stylefeatureeditor.photo.align import crop, to_crop, whole_photo_as_face
from stylefeatureeditor.photo.image import to_tensor, to_uint8
from stylefeatureeditor.photo.paste_back import FADE, _harmonic
from stylefeatureeditor.records import AlignedFace, Photo
from synthetic_face import paste_back, soft_photo, square

SIZE = 96
# The crop finer than the photo, as fine, coarser, and leaving the photo at two sides.
QUADS = {
    "finer": square((110, 90), 60, angle=0.3),
    "even": square((108.3, 91.6), 96, angle=-0.2),
    "coarser": square((110, 95), 150, angle=0.15),
    "leaving": square((30, 40), 90, angle=0.1),
}


def face_at(quad: np.ndarray, photo: np.ndarray | None = None) -> AlignedFace:
    photo = soft_photo(220, 190) if photo is None else photo
    return AlignedFace(to_tensor(crop(photo, quad, SIZE)), photo, quad)


def position(face: AlignedFace) -> np.ndarray:
    """Where each photo pixel lies in the crop, (H, W, 2); inside from 0 to 1."""
    height, width = face.photo.shape[:2]
    return to_crop(np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1) + 0.5, face.quad)


def is_core(face: AlignedFace) -> np.ndarray:
    place = position(face)
    return ((place > FADE) & (place < 1 - FADE)).all(axis=-1)


@pytest.mark.parametrize("quad", QUADS.values(), ids=QUADS)
@pytest.mark.parametrize("blend", ["feather", "residual", "poisson"])
def test_outside_the_quad_every_byte_is_the_photos(quad, blend):
    face = face_at(quad)
    before = face.photo.copy()
    pasted = paste_back(face, -face.pixels, face.pixels, blend=blend)
    place = position(face)
    outside = ((place <= 0) | (place >= 1)).any(axis=-1)
    assert np.array_equal(pasted[outside], face.photo[outside])
    assert np.abs(pasted.astype(int) - face.photo)[is_core(face)].mean() > 20
    assert np.array_equal(face.photo, before)


@pytest.mark.parametrize("side", [SIZE // 2, SIZE, 2 * SIZE])
def test_a_crop_that_is_the_whole_photo_replaces_all_of_it(side):
    """There is no seam to hide: nothing of the original shines through at the rim."""
    face = whole_photo_as_face(Photo(np.full((side, side, 3), 200, np.uint8)), SIZE)
    dark = torch.full_like(face.pixels, 40 / 127.5 - 1)
    assert (paste_back(face, dark) == 40).all()
    assert (paste_back(face, dark, blend="poisson") == 40).all()
    lighter = paste_back(face, dark + 20 / 127.5, dark, blend="residual")
    assert (lighter == 220).all()
    moved = replace(face, quad=face.quad + 1e-6)
    assert (paste_back(moved, dark)[0] > 150).all()


def test_an_aligned_photo_of_the_models_size_becomes_what_the_model_drew():
    face = whole_photo_as_face(Photo(soft_photo(SIZE, SIZE)), SIZE)
    assert np.array_equal(paste_back(face, -face.pixels), to_uint8(-face.pixels)[0])


@pytest.mark.parametrize("quad", QUADS.values(), ids=QUADS)
def test_an_unedited_crop_leaves_the_photo_as_it_was(quad):
    face = face_at(quad)
    pasted = paste_back(face, face.pixels)
    inside = ((position(face) > 0) & (position(face) < 1)).all(axis=-1)
    error = (pasted.astype(float) - face.photo)[inside]
    assert 10 * np.log10(255**2 / (error**2).mean()) > 46
    assert np.abs(error).max() <= 8


def test_an_unedited_crop_of_a_noisy_photo_comes_back_sharp():
    noise = torch.rand(220, 220, generator=torch.Generator().manual_seed(0)) - 0.5
    photo = (soft_photo(220, 220) + (noise * 20).numpy()[:, :, None]).clip(0, 255).astype(np.uint8)
    face = face_at(square((110, 110), 60, angle=0.3), photo)
    error = (paste_back(face, face.pixels).astype(float) - photo)[is_core(face)]
    assert 10 * np.log10(255**2 / (error**2).mean()) > 42.5  # 37 without the steps back


def test_detail_finer_than_the_photo_is_averaged():
    face = face_at(square((110, 95), 40, angle=0.2))
    stripes = torch.ones(1, 3, SIZE, SIZE)
    stripes[..., ::2] = -1
    pasted = paste_back(face, stripes)[is_core(face)].astype(float)
    assert abs(pasted.mean() - 127.5) < 2
    assert pasted.std() < 10  # sampling single crop pixels gives about 60


@pytest.mark.parametrize("quad", QUADS.values(), ids=QUADS)
def test_what_is_pasted_does_not_drift(quad):
    face = face_at(quad)
    pasted = paste_back(replace(face, photo=np.full_like(face.photo, 128)), face.pixels)
    core = is_core(face)
    if quad is QUADS["leaving"]:
        core[:, :60] = core[:60] = False  # there the change of the crop is added, not the crop
    expected = face.photo[:, :, 0].astype(float)
    slope_y, slope_x = np.gradient(expected)
    slopes = np.stack([slope_x[core], slope_y[core], np.ones(core.sum())], axis=1)
    shift, *_ = np.linalg.lstsq(slopes, (pasted[:, :, 0] - expected)[core], rcond=None)
    assert np.abs(shift[:2]).max() < 0.02  # photo pixels
    assert abs(shift[2]) < 0.8  # levels: sampling the crop drops half of one


@pytest.mark.parametrize("quad", QUADS.values(), ids=QUADS)
def test_an_empty_residual_changes_nothing_at_all(quad):
    face = face_at(quad)
    drawn = torch.rand(1, 3, SIZE, SIZE) * 2 - 1
    assert np.array_equal(paste_back(face, drawn, drawn, blend="residual"), face.photo)


def test_a_residual_is_added_to_the_photo_whatever_the_inversion_lost():
    photo = np.full((190, 220, 3), 100, dtype=np.uint8)
    face = face_at(QUADS["finer"], photo)
    blurred = torch.rand(1, 3, SIZE, SIZE)
    pasted = paste_back(face, blurred + 20 / 127.5, blurred, blend="residual")
    assert np.all(pasted[is_core(face)] == 120)


@pytest.mark.parametrize("quad", QUADS.values(), ids=QUADS)
def test_poisson_takes_a_wrong_light_out_of_the_crop(quad):
    """A crop that is too bright, on one side more, shows the photo again, without a seam."""
    face = face_at(quad)
    slope = torch.linspace(0, 10, SIZE) / 127.5
    off = face.pixels + 30 / 127.5 + slope
    inside = is_core(face)
    error = {
        blend: np.abs(paste_back(face, off, blend=blend).astype(float) - face.photo)[inside]
        for blend in ("feather", "poisson")
    }
    assert error["feather"].mean() > 25
    assert error["poisson"].mean() < 2
    jump = np.abs(np.diff(paste_back(face, off, blend="poisson").astype(float), axis=1)).max()
    assert jump < np.abs(np.diff(face.photo.astype(float), axis=1)).max() + 5


def test_poisson_keeps_what_was_drawn_inside():
    face = face_at(QUADS["even"])
    spot = torch.zeros_like(face.pixels)
    spot[..., 40:56, 40:56] = 40 / 127.5
    change = paste_back(face, face.pixels + spot, blend="poisson").astype(float)
    change -= paste_back(face, face.pixels, blend="poisson")
    place = position(face)
    middle = ((place > 0.45) & (place < 0.55)).all(axis=-1)
    assert np.abs(change[middle] - 40).mean() < 1


def test_the_harmonic_part_solves_its_equation():
    """At each free pixel it is the mean of its neighbours, elsewhere it is given."""
    values = torch.rand(1, 3, 75, 102, generator=torch.Generator().manual_seed(0)) * 255
    free = torch.zeros(1, 1, 75, 102)
    free[..., 10:60, 20:] = 1  # up to the planes' edge on one side
    free[..., 30:33, 40:50] = 0
    found = _harmonic(values, free)
    assert torch.equal(found * (1 - free), values * (1 - free))
    wide = torch.nn.functional.pad(found, (1, 1, 1, 1), mode="replicate")
    around = wide[..., 1:-1, 2:] + wide[..., 1:-1, :-2] + wide[..., 2:, 1:-1] + wide[..., :-2, 1:-1]
    assert (free * (around / 4 - found)).abs().max() < 0.05
    assert not _harmonic(values, torch.ones_like(free)).any()


def test_values_beyond_white_are_clipped():
    face = face_at(QUADS["finer"])
    pasted = paste_back(face, torch.full((1, 3, SIZE, SIZE), 5.0))
    assert np.all(pasted[is_core(face)] == 255)


def test_the_soft_border_rises_without_a_step():
    face = face_at(square((110, 95), 100), np.zeros((190, 220, 3), dtype=np.uint8))
    row = paste_back(face, torch.ones(1, 3, SIZE, SIZE))[95, :, 0].astype(int)
    assert row[59] == 0
    assert row[75] == 255
    assert 0 < np.diff(row[58:76]).max() < 60


@pytest.mark.parametrize("quad", QUADS.values(), ids=QUADS)
def test_where_the_mask_is_black_nothing_changes(quad):
    face = face_at(quad)
    mask = torch.zeros(1, 1, SIZE, SIZE)
    mask[..., SIZE // 2 :] = 1
    pasted = paste_back(face, -face.pixels, mask=mask)
    place = position(face)[..., 0]
    reach = 2 / SIZE + 2 / 60  # two pixels of either grid
    assert np.array_equal(pasted[place < 0.5 - reach], face.photo[place < 0.5 - reach])
    whole = paste_back(face, -face.pixels)
    assert np.array_equal(pasted[place > 0.5 + reach], whole[place > 0.5 + reach])
    assert not np.array_equal(whole, face.photo)


def test_a_mask_of_the_photo_is_kept_to_the_pixel():
    face = face_at(QUADS["even"])
    mask = torch.zeros(1, 1, *face.photo.shape[:2])
    mask[..., 100:] = 1
    pasted = paste_back(face, -face.pixels, photo_mask=mask)
    assert np.array_equal(pasted[:, :100], face.photo[:, :100])
    assert np.array_equal(pasted[:, 100:], paste_back(face, -face.pixels)[:, 100:])


def test_faces_can_be_pasted_one_after_another():
    first, second = face_at(square((60, 95), 80)), face_at(square((165, 95), 80))
    one = paste_back(first, -first.pixels)
    both = paste_back(replace(second, photo=one), -second.pixels)
    assert np.array_equal(both[:, :105], one[:, :105])
    assert np.array_equal(both[:, 115:], paste_back(second, -second.pixels)[:, 115:])


def test_half_precision_and_inference_mode_are_fine():
    face = face_at(QUADS["finer"])
    expected = paste_back(face, face.pixels)
    with torch.inference_mode():
        inferred = paste_back(face, face.pixels * 1.0)
    assert np.array_equal(inferred, expected)
    coarse = paste_back(face, face.pixels.half())
    assert np.abs(coarse.astype(int) - expected).max() <= 1


def test_only_the_face_of_a_large_photo_costs_memory():
    photo = np.zeros((3000, 4000, 3), dtype=np.uint8)
    face = AlignedFace(torch.zeros(1, 3, SIZE, SIZE), photo, square((3000, 400), 120))
    tracemalloc.start()
    paste_back(face, face.pixels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.2 * photo.nbytes  # the result, and little more


def test_what_does_not_fit_is_refused_in_one_sentence():
    face = face_at(QUADS["finer"])
    with pytest.raises(ShapeError, match="edited: expected"):
        paste_back(face, torch.zeros(1, 3, 8, 8))
    with pytest.raises(ShapeError, match="inversion: expected"):
        paste_back(face, face.pixels, torch.zeros(1, 3, 8, 8), blend="residual")
    with pytest.raises(ConfigError, match="needs the inversion"):
        paste_back(face, face.pixels, blend="residual")
    with pytest.raises(ConfigError, match="must be"):
        paste_back(face, face.pixels, blend="mix")
    with pytest.raises(MaskError, match=r"mask: expected shape \(1, 1, 96, 96\)"):
        paste_back(face, face.pixels, mask=torch.zeros(1, 1, 8, 8))
    with pytest.raises(MaskError, match="photo_mask"):
        paste_back(face, face.pixels, photo_mask=torch.zeros(1, 1, 8, 8))
