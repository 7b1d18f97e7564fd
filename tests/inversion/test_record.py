"""Inversion: rows, parts, joins, copies and pickles."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from seeded import draw
from stylefeatureeditor.inversion.record import Anchor, Inversion
from stylefeatureeditor.records import AlignedFace, Codes, Photo, StyleSpace


def inversion(rows=3, *, whole=True):
    """An inversion of random numbers; `whole` has everything that may be missing."""

    def some(name, *shape):
        return draw(f"record.{name}", (rows, *shape))

    photo = np.zeros((4, 5, 3), np.uint8)
    styles = StyleSpace((some("conv", 4), some("conv1", 6)), (some("style", 2),))
    anchor = Anchor(Codes(some("e", 4, 5)), some("anchor", 2, 3, 3))
    faces = tuple(
        AlignedFace(some("face", 3, 2, 2)[i : i + 1], photo, np.eye(4)[:, :2] + i)
        for i in range(rows)
    )
    return Inversion(
        codes=Codes(some("w", 4, 5), styles if whole else None),
        features=some("features", 2, 3, 3),
        rgb=some("rgb", 3, 3, 3),
        encoder_pixels=some("seen", 3, 4, 4),
        model="abc",
        faces=faces if whole else (),
        source=Photo(photo) if whole else None,
        pixels=some("pixels", 3, 8, 8) if whole else None,
        anchor=anchor if whole else None,
    )


def tensors(part):
    """Every tensor of an inversion, in a fixed order."""
    found = [part.codes.wplus, part.features, part.rgb, part.encoder_pixels]
    if part.codes.styles:
        found += [*part.codes.styles.conv, *part.codes.styles.rgb]
    if part.pixels is not None:
        found.append(part.pixels)
    if part.anchor:
        found += [part.anchor.codes.wplus, part.anchor.features]
    return found


def assert_same(one, other):
    assert len(tensors(one)) == len(tensors(other))
    assert all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))
    assert len(one.faces) == len(other.faces)
    for a, b in zip(one.faces, other.faces, strict=True):
        assert torch.equal(a.pixels, b.pixels)
        assert np.array_equal(a.quad, b.quad)
    assert one.model == other.model
    assert (one.source is None) == (other.source is None)


@pytest.mark.parametrize("whole", [True, False])
def test_one_face_is_a_batch_of_one_with_its_row_of_everything(whole):
    many = inversion(whole=whole)
    for index in (0, 2, -1):
        one = many[index]
        row = index % 3
        assert len(one) == 1
        assert [t.shape[0] for t in tensors(one)] == [1] * len(tensors(many))
        assert all(
            torch.equal(a[0], b[row]) for a, b in zip(tensors(one), tensors(many), strict=True)
        )
        assert [face.quad[0, 0] for face in one.faces] == ([1.0 + row] if whole else [])
        assert one.source is many.source


def test_a_face_that_is_not_there_is_an_index_error_so_iteration_ends():
    many = inversion()
    for index in (3, -4):
        with pytest.raises(IndexError, match=f"face {index} of 3"):
            many[index]
    assert [len(one) for one in many] == [1, 1, 1]


@pytest.mark.parametrize("whole", [True, False])
def test_parts_joined_again_are_the_whole(whole):
    many = inversion(whole=whole)
    assert_same(Inversion.cat([many.rows(0, 1), many.rows(1, 3)]), many)
    assert_same(Inversion.cat(list(many)), many)


def test_what_one_part_lacks_the_joined_lack():
    known, unknown = inversion(1), replace(inversion(1), anchor=None, pixels=None)
    for parts in ([known, unknown], [unknown, known]):
        joined = Inversion.cat(parts)
        assert len(joined) == 2
        assert joined.anchor is None
        assert joined.pixels is None


def test_a_face_stays_with_its_row_when_another_part_has_none():
    joined = Inversion.cat([inversion(1, whole=False), inversion(1)])
    assert joined.faces == ()  # a face in row 0 would be another's


def test_style_offsets_that_one_part_lacks_are_zero():
    with_styles, without = inversion(1), inversion(2, whole=False)
    joined = Inversion.cat([without, with_styles]).codes
    assert joined.styles is not None
    for layer, own in zip(joined.styles.conv, with_styles.codes.styles.conv, strict=True):
        assert torch.equal(layer, torch.cat([torch.zeros_like(own).expand(2, -1), own]))


@pytest.mark.parametrize(
    "again", [lambda one: pickle.loads(pickle.dumps(one)), copy.copy, copy.deepcopy]
)
@pytest.mark.parametrize("whole", [True, False])
def test_it_can_be_pickled_and_copied(again, whole):
    one = inversion(whole=whole)
    assert_same(again(one), one)


def test_a_pickled_face_does_not_bring_its_neighbours():
    many = inversion(3)
    alone = len(pickle.dumps(Inversion.cat([many[0]])))
    assert len(pickle.dumps(many[0])) == pytest.approx(alone, rel=0.05)


def test_moving_takes_every_tensor_along_in_place():
    one = inversion()
    one.move(torch.device("meta"))
    assert all(tensor.is_meta for tensor in tensors(one))
    assert not one.faces[0].pixels.is_meta


def test_an_anchor_found_for_a_copy_stays_there():
    one = inversion(whole=False)
    other = copy.copy(one)
    other.anchor = inversion().anchor
    assert one.anchor is None
