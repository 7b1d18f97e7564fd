"""Edit directions: the published formulas, on seeded vectors."""

import pytest
import torch

from seeded import seeded_input
from stylefeatureeditor.editing.direction import (
    EditDirection,
    LinearDirection,
    PcaDirection,
    StyleSpaceDirection,
    combine,
    conv_of_style_layers,
    style_layers_of_convs,
)
from stylefeatureeditor.errors import DirectionError
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.records import Codes, CodeShift, StyleLayout

N, D = 6, 8
LAYOUT = StyleLayout(conv=(8, 8, 8, 8, 4), rgb=(8, 8, 4))
CODES = Codes(seeded_input("direction.codes", (2, N, D)))
VECTOR = seeded_input("direction.vector", (D,))
PCA = PcaDirection(
    "axis",
    component=torch.nn.functional.normalize(seeded_input("direction.axis", (D,)), dim=0),
    mean=seeded_input("direction.mean", (D,)),
    std=0.4,
    layers=(2, 5),
)


def moved(direction, strength, codes=CODES):
    return direction.apply(codes, strength).wplus


@pytest.mark.parametrize("shape", [(D,), (N, D)])
def test_linear_adds_strength_times_the_vector(shape):
    vector = seeded_input("direction.linear", shape)
    expected = CODES.wplus + 2.5 * vector
    torch.testing.assert_close(moved(EditDirection.linear(vector), 2.5), expected)


def test_the_interfacegan_scale_halves_a_strength():
    direction = LinearDirection("age", VECTOR, scale=0.5)
    torch.testing.assert_close(moved(direction, -3.0), CODES.wplus - 1.5 * VECTOR)


@pytest.mark.parametrize("shape", [(D,), (N, D)])
def test_a_layer_range_leaves_other_style_vectors_alone(shape):
    direction = LinearDirection("part", seeded_input("direction.part", shape), layers=(1, 3))
    changed = (moved(direction, 1.0) != CODES.wplus).any(dim=-1)
    assert changed.tolist() == [[False, True, True, False, False, False]] * 2


def test_every_row_may_have_its_own_strength():
    strengths = torch.tensor([1.0, -2.0])
    style = StyleSpaceDirection.of_channels("channel", ((2, 5),), LAYOUT)
    for direction in (LinearDirection("v", VECTOR), PCA, style):
        both = direction.apply(CODES, strengths)
        for row, strength in enumerate(strengths.tolist()):
            alone = direction.apply(Codes(CODES.wplus[row : row + 1]), strength)
            torch.testing.assert_close(both.wplus[row : row + 1], alone.wplus)
            if both.styles and alone.styles:
                assert torch.equal(both.styles.conv[1][row : row + 1], alone.styles.conv[1])


def test_one_code_takes_several_strengths():
    one = Codes(CODES.wplus[:1])
    assert moved(PCA, torch.tensor([-1.0, 0.0, 1.0]), one).shape == (3, N, D)


def test_pca_sets_the_coordinate_read_off_style_0():
    expected = CODES.wplus.clone()
    for row in range(2):
        coordinate = sum((CODES.wplus[row, 0] - PCA.mean) * PCA.component) / 0.4
        for style in range(2, 5):
            expected[row, style] += (7.0 - coordinate) * 0.4 * PCA.component
    torch.testing.assert_close(moved(PCA, 7.0), expected)


def test_pca_on_style_0_reaches_the_coordinate():
    everywhere = PcaDirection("axis", PCA.component, PCA.mean, PCA.std)
    reached = (moved(everywhere, 3.0)[:, 0] - PCA.mean) @ PCA.component / PCA.std
    torch.testing.assert_close(reached, torch.tensor([3.0, 3.0]))


def test_stylespace_moves_named_channels_by_three_per_strength():
    direction = StyleSpaceDirection.of_channels("channels", ((0, 3), (3, 1)), LAYOUT)
    codes = direction.apply(CODES, 2.0)
    assert torch.equal(codes.wplus, CODES.wplus)
    assert codes.styles is not None
    for number, row in enumerate(codes.styles.conv):
        expected = torch.zeros(2, LAYOUT.conv[number])
        if number in (0, 2):
            expected[:, {0: 3, 2: 1}[number]] = 6.0
        assert torch.equal(row, expected)
    assert not any(row.any() for row in codes.styles.rgb)


def test_stylespace_adds_to_offsets_that_are_there_already():
    direction = StyleSpaceDirection.of_channels("channel", ((0, 3),), LAYOUT)
    twice = direction.apply(direction.apply(CODES, 1.0), 0.5)
    assert twice.styles is not None
    assert twice.styles.conv[0][:, 3].tolist() == [4.5, 4.5]


def test_style_layers_at_1024_are_numbered_as_published():
    published = "0 1 1 2 2 3 4 4 5 6 6 7 8 8 9 10 10 11 12 12 13 14 14 15 16 16"
    convs = len(GeneratorConfig(size=1024).style_layout().conv)
    assert list(conv_of_style_layers(convs)) == [int(number) for number in published.split()]


@pytest.mark.parametrize("size", [8, 16, 256, 512])
def test_style_layer_numbers_follow_the_layer_pattern_at_any_size(size):
    layout = GeneratorConfig(size=size).style_layout()
    numbers = conv_of_style_layers(len(layout.conv))
    assert len(numbers) == len(layout.conv) + len(layout.rgb)
    own = style_layers_of_convs(len(layout.conv))
    assert [numbers[layer] for layer in own] == list(range(len(layout.conv)))
    assert numbers == conv_of_style_layers(17)[: len(numbers)]


def test_combining_does_not_depend_on_the_order():
    edits = {
        PCA: 2.0,
        LinearDirection("first", VECTOR): -1.0,
        StyleSpaceDirection.of_channels("channel", ((2, 5),), LAYOUT): 0.5,
    }
    forth = combine(CODES, edits)
    back = combine(CODES, dict(reversed(edits.items())))
    torch.testing.assert_close(forth.wplus, back.wplus)
    assert forth.styles is not None
    assert back.styles is not None
    for one, other in zip(forth.styles.conv, back.styles.conv, strict=True):
        torch.testing.assert_close(one, other)


def test_combining_computes_every_shift_from_the_unedited_codes():
    first = LinearDirection("first", VECTOR)
    together = combine(CODES, {first: 1.0, PCA: 2.0}).wplus
    torch.testing.assert_close(
        together - CODES.wplus, moved(first, 1.0) + moved(PCA, 2.0) - 2 * CODES.wplus
    )
    assert not torch.allclose(together, moved(PCA, 2.0, first.apply(CODES, 1.0)))


def test_no_edit_leaves_the_codes_as_they_are():
    assert torch.equal(combine(CODES, {}).wplus, CODES.wplus)
    assert combine(CODES, {}).styles is None


def test_a_shift_differentiates_with_respect_to_codes_and_strength():
    wplus = CODES.wplus.clone().requires_grad_()
    strength = torch.tensor([1.0, 2.0], requires_grad=True)
    moved(PCA, strength, Codes(wplus)).sum().backward()
    assert strength.grad is not None
    torch.testing.assert_close(strength.grad, (3 * PCA.std * PCA.component.sum()).expand(2))
    assert wplus.grad is not None
    assert not torch.allclose(wplus.grad[:, 0], torch.ones(2, D))


def test_a_shift_keeps_the_dtype_of_the_codes():
    codes = Codes(CODES.wplus.double())
    for direction in (LinearDirection("v", VECTOR), PCA):
        assert direction.shift(codes, 1.0).wplus.dtype == torch.float64


def test_a_direction_of_your_own_needs_only_a_shift():
    class Shrink(EditDirection):
        name = "shrink"

        def shift(self, codes, strength):
            return CodeShift(-strength * codes.wplus)

    torch.testing.assert_close(moved(Shrink(), 0.25), 0.75 * CODES.wplus)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LinearDirection("v", torch.zeros(1, N, D)), r"'v'.*\(D,\) or \(N, D\)"),
        (lambda: LinearDirection("v", torch.zeros(D, dtype=torch.int64)), "float"),
        (lambda: PcaDirection("p", VECTOR, VECTOR[:3], 1.0), "one shape"),
        (lambda: PcaDirection("p", VECTOR, VECTOR, 0.0), "std must be positive"),
        (lambda: StyleSpaceDirection.of_channels("s", ((99, 0),), LAYOUT), "style layer 99"),
        (lambda: StyleSpaceDirection.of_channels("s", ((0, 8),), LAYOUT), "channel 8"),
        (lambda: StyleSpaceDirection.of_channels("s", ((0, -1),), LAYOUT), "channel -1"),
        (lambda: moved(LinearDirection("v", torch.zeros(5)), 1.0), r"'v' has shape \(5,\)"),
        (lambda: moved(LinearDirection("v", torch.zeros(7, D)), 1.0), r"need \(6, 8\)"),
        (lambda: moved(LinearDirection("v", VECTOR, layers=(4, 7)), 1.0), "codes have 6"),
        (lambda: moved(LinearDirection("v", VECTOR, layers=(3, 3)), 1.0), "codes have 6"),
        (lambda: moved(PcaDirection("p", VECTOR[:4], VECTOR[:4], 1.0), 1.0), r"need \(8,\)"),
        (lambda: moved(PCA, float("nan")), "'axis' must be a finite number"),
        (lambda: moved(PCA, torch.zeros(3)), r"expected one number or \(2,\), got \(3,\)"),
        (lambda: moved(PCA, torch.zeros(2, 1)), "expected one number"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(build, message):
    with pytest.raises(DirectionError, match=message):
        build()
