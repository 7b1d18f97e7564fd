"""Codes, shifts of codes and StyleSpace records."""

import dataclasses

import pytest
import torch

from seeded import draw
from stylefeatureeditor.records import Codes, CodeShift, StyleSpace

pytestmark = pytest.mark.usefixtures("one_thread")
N, D = 4, 3


def styles(rows=1, name="styles"):
    return StyleSpace(
        (draw(f"{name}.0", (rows, 3)), draw(f"{name}.1", (rows, 5))),
        (draw(f"{name}.rgb", (rows, 2)),),
    )


def codes(rows=2, *, styled=False):
    return Codes(draw("codes", (rows, N, D)), styles(rows) if styled else None)


def assert_same(one, other):
    torch.testing.assert_close(one.wplus, other.wplus)
    assert (one.styles is None) == (other.styles is None)
    if one.styles:
        for kind in ("conv", "rgb"):
            pairs = zip(getattr(one.styles, kind), getattr(other.styles, kind), strict=True)
            assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)


def test_an_empty_shift_moves_nothing():
    for still in (codes(), codes(styled=True)):
        assert_same(still + CodeShift(), still)


def test_shifts_add_up_in_any_order():
    parts = [
        CodeShift(wplus=draw("shift.a", (1, N, D))),
        CodeShift(styles=styles(name="shift.b")),
        CodeShift(draw("shift.c", (1, N, D)), styles(name="shift.d")),
    ]
    together = codes() + (parts[0] + parts[1] + parts[2])
    assert_same(together, codes() + parts[2] + parts[0] + parts[1])
    assert_same(together, codes() + (parts[2] + (parts[1] + parts[0])))


def test_one_row_of_a_shift_moves_every_row_of_codes():
    moved = codes(3) + CodeShift(torch.ones(1, N, D), styles())
    assert len(moved) == 3
    torch.testing.assert_close(moved.wplus, codes(3).wplus + 1)
    assert [style.shape[0] for style in (*moved.styles.conv, *moved.styles.rgb)] == [3, 3, 3]


@pytest.mark.parametrize("styled", [False, True])
def test_one_row_of_codes_takes_a_shift_of_several(styled):
    one = codes(1, styled=styled)
    by_wplus = one + CodeShift(wplus=draw("shift.rows", (3, N, D)))
    by_styles = one + CodeShift(styles=styles(3))
    for moved in (by_wplus, by_styles):
        assert moved.wplus.shape == (3, N, D)
        assert len(moved) == 3
    assert {style.shape[0] for style in by_styles.styles.conv} == {3}
    assert (by_styles.wplus == one.wplus).all()


def test_mapping_reaches_every_tensor():
    half = codes(styled=True).map(lambda tensor: tensor[:1] * 2)
    assert len(half) == 1
    torch.testing.assert_close(half.wplus, codes().wplus[:1] * 2)
    torch.testing.assert_close(half.styles.rgb[0], styles(2).rgb[0][:1] * 2)
    assert codes().map(torch.zeros_like).styles is None


def test_joined_rows_keep_their_order_and_their_offsets():
    plain, styled = codes(2), codes(1, styled=True)
    joined = Codes.cat([plain, styled, plain])
    assert len(joined) == 5
    assert torch.equal(joined.wplus, torch.cat([plain.wplus, styled.wplus, plain.wplus]))
    for layer, own in zip(joined.styles.conv, styled.styles.conv, strict=True):
        assert torch.equal(layer[2:3], own)
        assert not layer[[0, 1, 3, 4]].any()
    assert Codes.cat([plain, plain]).styles is None


def test_offsets_of_different_generators_do_not_add():
    with pytest.raises(ValueError, match="shorter"):
        styles() + StyleSpace(styles().conv[:1], styles().rgb)


def test_records_are_frozen():
    for record, name in ((codes(), "wplus"), (CodeShift(), "styles"), (styles(), "conv")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, name, None)
