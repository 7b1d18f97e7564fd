"""What holds for every method, on networks of a few channels."""

from __future__ import annotations

import pytest
import torch

from stylefeatureeditor.editing.direction import EditDirection, StyleSpaceDirection
from tiny_methods import GENERATOR, TINY

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=TINY)
def method(request):
    return TINY[request.param]().eval()


@pytest.fixture
def photos():
    return torch.rand(2, 3, 64, 64) * 2 - 1


def test_a_batch_is_its_photos_one_by_one(method, photos):
    together = method.invert(photos)
    direction = EditDirection.linear(torch.randn(8))
    edited = method.edit(together, {direction: 0.7})
    for row in range(2):
        alone = method.invert(photos[row : row + 1])
        torch.testing.assert_close(
            method.reconstruct(together)[row : row + 1],
            method.reconstruct(alone),
            atol=1e-3,
            rtol=1e-3,
        )
        torch.testing.assert_close(
            edited[row : row + 1], method.edit(alone, {direction: 0.7}), atol=1e-3, rtol=1e-3
        )


def test_no_edit_redraws_the_reconstruction(method, photos):
    inversion = method.invert(photos)
    unmoved = method.edit(inversion, {EditDirection.linear(torch.randn(8)): 0.0})
    torch.testing.assert_close(unmoved, method.reconstruct(inversion), atol=1e-4, rtol=1e-4)


def test_stylespace_directions_are_taken_and_edits_add_up(method, photos):
    channel = StyleSpaceDirection.of_channels("one channel", ((3, 2),), GENERATOR.style_layout())
    shift = EditDirection.linear(torch.randn(10, 8))
    inversion = method.invert(photos)
    both = method.edit(inversion, {channel: 5.0, shift: 0.5})
    assert torch.equal(both, method.edit(inversion, {shift: 0.5, channel: 5.0}))
    for one in ({channel: 5.0}, {shift: 0.5}):
        assert not torch.allclose(both, method.edit(inversion, one))


def test_a_larger_photo_is_brought_to_the_encoders_side(method):
    large = torch.rand(1, 3, 128, 128)
    inversion = method.invert(large)
    assert method.reconstruct(inversion).shape == (1, 3, 64, 64)


def test_inversion_leaves_no_graph(method, photos):
    inversion = method.invert(photos)
    assert not method.reconstruct(inversion).requires_grad
