"""From class logits to the region an edit may change, and both parsers around their networks."""

from math import log

import pytest
import torch
from torch.nn import functional as f

from stylefeatureeditor.errors import MaskError, ShapeError
from stylefeatureeditor.masks.bisenet import BiSeNet, BiSeNetConfig, BiSeNetParser
from stylefeatureeditor.masks.face_frame import average_points
from stylefeatureeditor.masks.face_parser import (
    FaceParser,
    background_mask,
    class_mask,
)
from stylefeatureeditor.masks.farl import FarlConfig, FarlNetwork, FarlParser
from stylefeatureeditor.masks.labels import RELEASED_THRESHOLD, FaceLabels

SURE = log(RELEASED_THRESHOLD / (1 - RELEASED_THRESHOLD))  # logit of the threshold, 5.29


def tiny_bisenet():
    return BiSeNet(BiSeNetConfig(width=4, context_channels=4, fused_channels=4))


def tiny_farl():
    return FarlNetwork(
        FarlConfig(
            input_size=32,
            patch=8,
            width=8,
            layers=4,
            heads=2,
            taps=(0, 1, 2, 3),
            head_channels=4,
            output_size=40,
        )
    )


class Painted(FaceParser):
    """A parser whose logits are the first three channels of the picture, times 10."""

    def __init__(self):
        super().__init__(torch.nn.Dropout(0.5), FaceLabels(("skin", "background", "hair")))

    def logits(self, pixels, points=None):
        del points
        return self.network(pixels) * 10


def test_only_the_background_logit_decides():
    logits = torch.zeros(1, 3, 2, 2)
    logits[:, 0] = torch.tensor([[SURE - 0.01, SURE + 0.01], [-9.0, 9.0]])
    logits[:, 2] = 50.0  # a softmax would see no background at all
    assert background_mask(logits)[0, 0].tolist() == [[0, 1], [0, 1]]
    assert background_mask(logits, threshold=0.99)[0, 0].tolist() == [[1, 1], [0, 1]]


def test_the_background_class_need_not_be_the_first():
    logits = torch.zeros(1, 3, 1, 1)
    logits[:, 1] = 9.0
    assert float(background_mask(logits, background=1)) == 1
    assert float(background_mask(logits)) == 0


def test_a_pixel_belongs_to_its_most_likely_class():
    logits = torch.tensor([[1.0, 2.0, 0.0], [3.0, 2.0, 0.0], [0.0, 1.0, 4.0]]).T[None, :, None]
    assert class_mask(logits, (1,)).flatten().tolist() == [1, 0, 0]
    assert class_mask(logits, (0, 2)).flatten().tolist() == [0, 1, 1]


def test_one_minus_the_background_can_be_resized_before_or_after():
    mask = background_mask(torch.randn(1, 2, 64, 64) * 8)

    def small(x):
        return f.interpolate(x, (16, 16), mode="bilinear", align_corners=False)

    torch.testing.assert_close(small(1 - mask), 1 - small(mask))


def test_edit_region_is_all_but_background_or_the_named_regions():
    pixels = torch.full((1, 3, 4, 4), -1.0)
    pixels[:, 0, :, :2] = 1  # skin on the left
    pixels[:, 1, :2, 2:] = 1  # background top right
    pixels[:, 2, 2:, 2:] = 1  # hair bottom right
    parser = Painted()
    not_background = torch.ones(4, 4)
    not_background[:2, 2:] = 0
    assert parser.edit_region(pixels).shape == (1, 1, 4, 4)
    torch.testing.assert_close(parser.edit_region(pixels)[0, 0], not_background)
    hair = parser.edit_region(pixels, "hair")[0, 0]
    assert hair[2:, 2:].all()
    assert hair.sum() == 4
    torch.testing.assert_close(parser.edit_region(pixels, "hair", "skin")[0, 0], not_background)


def test_parsing_takes_no_gradient_and_no_dropout_even_in_training():
    pixels = torch.rand(1, 3, 8, 8, requires_grad=True)
    parser = Painted().train()
    region = parser.edit_region(pixels, "hair")
    assert not region.requires_grad
    torch.testing.assert_close(region, parser.edit_region(pixels, "hair"))


def test_batch_norm_statistics_do_not_drift():
    parser = BiSeNetParser(tiny_bisenet(), input_size=64).train()
    before = parser.network.cp.resnet.bn1.running_mean.clone()
    parser.edit_region(torch.rand(2, 3, 40, 40))
    torch.testing.assert_close(parser.network.cp.resnet.bn1.running_mean, before)


def test_an_unknown_region_and_a_crop_that_is_not_square_are_refused():
    with pytest.raises(MaskError, match="no region 'hat'"):
        Painted().edit_region(torch.zeros(1, 3, 4, 4), "hat")
    with pytest.raises(ShapeError, match="pixels"):
        Painted().edit_region(torch.zeros(1, 3, 4, 6))


@torch.no_grad()
def test_bisenet_sees_512_with_antialiasing_and_answers_at_the_size_of_the_crop():
    parser = BiSeNetParser(tiny_bisenet(), input_size=64).eval()
    seen = []
    parser.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    stripes = torch.ones(1, 3, 256, 256)
    stripes[..., 1::4] = stripes[..., 2::4] = -1  # grey on average, black where pixels are picked
    assert parser.logits(stripes).shape == (1, 19, 256, 256)
    assert seen[0].shape == (1, 3, 64, 64)
    assert float(seen[0][..., 8:-8].abs().max()) < 0.05
    assert BiSeNetParser(tiny_bisenet()).input_size == 512


@torch.no_grad()
def test_farl_answers_at_the_size_of_the_crop():
    parser = FarlParser(tiny_farl()).eval()
    assert parser.logits(torch.rand(2, 3, 48, 48) * 2 - 1).shape == (2, 11, 48, 48)
    assert parser.edit_region(torch.zeros(1, 3, 48, 48), "hair").unique().numel() <= 2


@torch.no_grad()
def test_farl_takes_an_average_crop_unless_told_the_points():
    parser = FarlParser(tiny_farl()).eval()
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3)) * 2 - 1
    points = average_points(pixels)
    average = parser.logits(pixels)
    torch.testing.assert_close(parser.logits(pixels, points), average)
    assert not torch.allclose(parser.logits(pixels, points + 8), average)
    with pytest.raises(ShapeError, match="points"):
        parser.logits(pixels, points[:, :4])
