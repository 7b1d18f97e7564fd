"""DeltaEdit against the released implementation's numbers, and what it does with a photo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from seeded import draw, fixed_w, seeded_image, seeded_state
from stylefeatureeditor.editing.deltaedit import DeltaEdit, DeltaMapper, clip_pixels
from stylefeatureeditor.editor import Editor
from stylefeatureeditor.errors import DirectionError, WeightsError
from stylefeatureeditor.generator.layers import EqualizedLinear
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.inversion.record import Inversion
from stylefeatureeditor.methods.method import Method, MethodConfig
from stylefeatureeditor.records import Codes
from stylefeatureeditor.weights.released import delta_mapper_state
from tiny import randomize

GOLDEN = Path(__file__).parents[1] / "golden" / "deltaedit.npz"
WIDTHS = {"coarse": 512, "medium": 512, "fine": 2464}


def released_state():
    entries = []
    for group, width in WIDTHS.items():
        for module, before, first in (("sm", width, 1), ("cm", 1024, 1), ("fm", 2 * width, 0)):
            for number in range(4):
                name = f"{module}_{group}.mapping.{number + first}"
                entries.append((f"{name}.weight", (width, width if number else before)))
                entries.append((f"{name}.bias", (width,)))
    return seeded_state(entries, "delta_mapper.")


def released_modulation(layout):
    """The affine layers of the released generator, without the rest of it."""
    layers = []
    for number, width in enumerate(layout.conv):
        name = f"convs.{number - 1}" if number else "conv1"
        state = seeded_state(
            [
                (f"{name}.conv.modulation.weight", (width, 512)),
                (f"{name}.conv.modulation.bias", (width,)),
            ],
            "decoder.",
        )
        layer = EqualizedLinear(512, width)
        layer.load_state_dict({key.rpartition(".")[2]: value for key, value in state.items()})
        layers.append(layer)

    @torch.no_grad()
    def modulation(codes):
        pairs = zip(layers, codes.wplus.unbind(1), strict=False)
        return torch.cat([layer(row) for layer, row in pairs], dim=1)

    return modulation


def test_an_edit_equals_the_release():
    """Its fake CLIP left no record: the condition was solved for from these 6,048 numbers."""
    with np.load(GOLDEN) as arrays:
        golden = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    layout = GeneratorConfig().style_layout()
    edits = DeltaEdit(
        mapper=DeltaMapper.from_state(delta_mapper_state(released_state())),
        relevance=draw("fs3", (6048, 512)),
        layout=layout,
        modulation=released_modulation(layout),
        templates=("{}",),
        encode=None,
        look=lambda _photos: golden["image"][None],
    )
    direction = edits.along(golden["change"], 0.5).seeing(torch.zeros(1, 3, 8, 8))
    for strength, expected in zip(golden["degrees"], golden["delta_styles"], strict=True):
        shift = direction.shift(Codes(fixed_w("edits.w")), float(strength)).styles
        actual = torch.cat(shift.conv, dim=1)[0]
        assert torch.equal(actual == 0, expected == 0)
        assert (actual - expected).abs().max() <= 1e-4 * expected.std()
        assert not torch.cat(shift.rgb, dim=1).any()


class MeanCode(Method):
    """Draws every photo from the mean code: what differs then is the edit."""

    def __init__(self):
        network = GeneratorConfig(
            size=64, style_dim=12, mapping_layers=2, channel_base=1024, channel_max=16
        )
        super().__init__(MethodConfig(generator=network))
        randomize(self.generator, "deltaedit").requires_grad_(requires_grad=False)

    def encode(self, photos):
        return Inversion(Codes(self.generator.latent_avg.expand(len(photos), 10, -1)))


@pytest.fixture(scope="module")
def editor():
    return Editor(MeanCode())


def tiny_edits(editor, **changes):
    """DeltaEdit for the tiny generator: CLIP sees the mean colour, and words name one."""
    generator = editor.method.generator
    layout = generator.config.style_layout()
    fine = sum(layout.conv[7:])
    colours = {"red": (1.0, 0.0, 0.0), "blue": (0.0, 0.0, 1.0)}
    arguments = {
        "mapper": DeltaMapper(layout.conv[0], fine, 6).eval().requires_grad_(requires_grad=False),
        "relevance": draw("relevance", (sum(layout.conv), 3)),
        "layout": layout,
        "modulation": generator.modulation,
        "templates": ("{}",),
        "encode": lambda words: torch.tensor([colours[word] for word in words]),
        "look": lambda photos: photos.mean((2, 3)),
    }
    return DeltaEdit(**(arguments | changes))


def test_the_same_words_move_two_photos_differently(editor):
    direction = tiny_edits(editor).direction("red", "blue", 0.1)
    photos = torch.cat([seeded_image("a", 64), seeded_image("b", 64)])
    both = editor.edit(photos, {direction: 3.0}).pixels
    for number in range(2):
        alone = editor.edit(photos[number : number + 1], {direction: 3.0}).pixels
        torch.testing.assert_close(both[number : number + 1], alone, rtol=1e-4, atol=1e-4)
    first = editor.invert(photos).codes.rows(slice(0, 1))
    shifts = [direction.seeing(photo[None]).shift(first, 1.0).styles.conv[2] for photo in photos]
    assert (shifts[0] - shifts[1]).abs().max() > 1e-3


def test_a_channel_below_the_threshold_stays(editor):
    edits = tiny_edits(editor)
    direction = edits.direction("red", "blue", 0.5)
    kept = (edits.relevance @ torch.tensor([-1.0, 0.0, 1.0])).abs() >= 0.5
    assert torch.equal(direction.kept, kept)
    with pytest.raises(DirectionError, match="no channel reaches the threshold 99"):
        edits.direction("red", "blue", 99.0)
    with pytest.raises(DirectionError, match="mean the same"):
        edits.direction("red", "red", 0.5)


def test_without_a_photo_or_with_another_generator_it_is_refused(editor):
    codes = editor.invert(seeded_image("a", 64)).codes
    with pytest.raises(DirectionError, match="needs the photo"):
        tiny_edits(editor).direction("red", "blue", 0.1).shift(codes, 1.0)
    with pytest.raises(DirectionError, match="belong to another"):
        tiny_edits(editor, relevance=torch.ones(3, 3))


def test_a_mapper_file_that_lacks_a_weight_is_refused():
    state = delta_mapper_state({})
    with pytest.raises(WeightsError, match="not a DeltaEdit mapper"):
        DeltaMapper.from_state(state)


def test_clip_sees_the_pixels_as_the_release_shows_them_or_normalised():
    photo = seeded_image("clip", 256)
    raw, normalised = clip_pixels(photo), clip_pixels(photo, normalised=True)
    assert raw.shape == normalised.shape == (1, 3, 224, 224)
    assert raw.min() >= -1
    torch.testing.assert_close(normalised[:, 0] * 0.26862954 + 0.48145466, (raw[:, 0] + 1) / 2)


def test_the_generator_tells_its_modulation():
    generator = MeanCode().generator
    codes = Codes(draw("w", (2, 10, 12)))
    rows = generator.modulation(codes).split(generator.config.style_layout().conv, dim=1)
    torch.testing.assert_close(rows[3], generator.layers[3].conv.affine(codes.wplus[:, 3]))
