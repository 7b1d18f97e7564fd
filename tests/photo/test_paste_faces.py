"""Several crops back into one photo."""

import tracemalloc

import numpy as np
import torch

from stylefeatureeditor.photo.paste_back import paste_faces
from stylefeatureeditor.records import AlignedFace
from synthetic_face import soft_photo, square

SIDE = 16


def faces_at(*centres, photo):
    still = torch.zeros(1, 3, SIDE, SIDE)
    return [AlignedFace(still, photo, square(centre, SIDE)) for centre in centres]


def test_overlapping_edits_do_not_paint_over_each_other():
    photo = np.full((40, 60, 3), 100, dtype=np.uint8)
    faces = faces_at((24, 20), (34, 20), photo=photo)
    edited = torch.cat([torch.full((1, 3, SIDE, SIDE), value) for value in (1.0, -1.0)])
    result = paste_faces(faces, edited, None, blend="feather", masks=[None, None])
    swapped = paste_faces(faces[::-1], edited.flip(0), None, blend="feather", masks=[None, None])
    assert np.array_equal(result, swapped)  # whichever comes first
    assert (result[20, 22] > 200).all()
    assert (result[20, 36] < 20).all()


def test_faces_apart_are_pasted_as_if_alone():
    photo = soft_photo(80, 40)
    faces = faces_at((20, 20), (60, 20), photo=photo)
    edited = torch.rand(2, 3, SIDE, SIDE) * 2 - 1
    both = paste_faces(faces, edited, None, blend="feather", masks=[None, None])
    left = paste_faces(faces[:1], edited[:1], None, blend="feather", masks=[None])
    right = paste_faces(faces[1:], edited[1:], None, blend="feather", masks=[None])
    assert np.array_equal(both[:, :40], left[:, :40])
    assert np.array_equal(both[:, 40:], right[:, 40:])


def test_nothing_outside_the_crops_changes():
    photo = soft_photo(80, 40)
    faces = faces_at((20, 20), (30, 22), photo=photo)
    edited = torch.rand(2, 3, SIDE, SIDE) * 2 - 1
    result = paste_faces(faces, edited, None, blend="feather", masks=[None, None])
    assert np.array_equal(result[:, 40:], photo[:, 40:])
    assert not np.array_equal(result, photo)


def most_memory(count: int) -> float:
    """Bytes a photo pixel that pasting `count` small faces takes at most."""
    photo = np.full((1500, 2000, 3), 100, dtype=np.uint8)
    centres = [(100 + 90 * number, 700) for number in range(count)]
    edited = torch.ones(count, 3, SIDE, SIDE)
    tracemalloc.start()
    paste_faces(
        faces_at(*centres, photo=photo), edited, None, blend="feather", masks=[None] * count
    )
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / photo[..., 0].size


def test_memory_follows_the_crops_and_not_the_photo():
    few, many = most_memory(2), most_memory(20)
    assert many < 16  # bytes a pixel: an int16 photo, a plane of depths, the result
    assert many - few < 1
