"""e4e: the encoder E of Eq. 5."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from stylefeatureeditor.editing.e4e import E4e, E4eConfig, StyleHead
from stylefeatureeditor.errors import ConfigError, ShapeError
from tiny import randomize, tiny_config, tiny_photos

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = tiny_config().e4e


def encoder(config=TINY):
    return randomize(E4e(config), "e4e")


@pytest.mark.parametrize("styles", [1, 3, 4, 8, 18])
def test_any_number_of_styles(styles):
    offsets = encoder(replace(TINY, num_styles=styles))(tiny_photos(2))
    assert offsets.shape == (2, styles, 12)


def test_styles_are_offsets_from_style_zero_read_at_their_level():
    network = encoder()
    coarse, middle, fine, _ = vars(network.levels(tiny_photos(2))).values()
    base = network.heads[0](coarse)
    offsets = network(tiny_photos(2))
    torch.testing.assert_close(offsets[:, 0], base)
    for style in range(1, 8):
        level = coarse if style < 3 else middle if style < 7 else fine
        torch.testing.assert_close(offsets[:, style], base + network.heads[style](level))


def test_the_pyramid_adds_the_coarser_level_to_a_lateral_one():
    network = encoder()
    _, c1, c2, c3 = network.trunk(tiny_photos())
    coarse, middle, fine, shallow = vars(network.levels(tiny_photos())).values()
    assert torch.equal(coarse, c3)
    assert torch.equal(shallow, c1)
    for finer, coarser, lateral, above in (
        (c2, c3, network.lateral_middle, middle),
        (c1, middle, network.lateral_fine, fine),
    ):
        side = finer.shape[-1]
        upsampled = functional.interpolate(
            coarser, size=(side, side), mode="bilinear", align_corners=True
        )
        torch.testing.assert_close(above, upsampled + lateral(finer))
    assert [level.shape[-1] for level in (coarse, middle, fine)] == [2, 4, 8]


def test_styles_that_are_not_yet_trained_repeat_style_zero():
    network = encoder()
    whole = network(tiny_photos())
    for active in (1, 4, 8):
        some = network(tiny_photos(), active)
        torch.testing.assert_close(some[:, :active], whole[:, :active])
        assert (some[:, active:] == some[:, :1]).all()


@pytest.mark.parametrize("side", [2, 16])
def test_a_head_strides_down_to_one_cell(side):
    head = randomize(StyleHead(5, 7, side), "head")
    assert len(head.convs) == {2: 1, 16: 4}[side]
    x = torch.linspace(-1, 1, 2 * 5 * side * side).reshape(2, 5, side, side)
    hidden = x
    for conv in head.convs:
        hidden = conv(hidden)
        hidden = torch.where(hidden > 0, hidden, 0.01 * hidden)
    assert hidden.shape == (2, 7, 1, 1)
    expected = hidden[..., 0, 0] @ head.linear.weight.t() / 7**0.5 + head.linear.bias
    torch.testing.assert_close(head(x), expected, rtol=1e-4, atol=1e-5)


def test_every_weight_gets_a_gradient():
    network = encoder()
    network(tiny_photos(2)).square().mean().backward()
    unreached = [name for name, w in network.named_parameters() if not w.grad.abs().sum() > 0]
    assert all("excite" in name for name in unreached)  # whose few ReLUs may all be off


def test_photos_of_another_side_are_refused():
    with pytest.raises(ShapeError, match=r"photos: expected shape \(any, 3, 32, 32\)"):
        encoder()(torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"size": 48}, "power of two"),
        ({"size": 16}, "at least 32"),
        ({"middle_from": 0}, "middle_from"),
        ({"middle_from": 8, "fine_from": 7}, "middle_from <= fine_from"),
        ({"num_styles": 0}, "at least 1"),
        ({"style_dim": 0}, "at least 1"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(change, sentence):
    with pytest.raises(ConfigError, match=sentence):
        E4eConfig(**change)
