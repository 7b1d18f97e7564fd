"""StyleGAN2 generator G: what Eq. 2, 4, 5 and 7 ask of it; its numbers are in test_released.py."""

import copy

import pytest
import torch
from torch.nn import functional

from seeded import draw
from stylefeatureeditor.errors import ConfigError, ShapeError
from stylefeatureeditor.generator.stylegan2 import Generator, GeneratorConfig
from stylefeatureeditor.records import Codes, StyleSpace
from stylefeatureeditor.weights.checkpoint import assign_state
from tiny import randomize

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = GeneratorConfig(size=32, style_dim=12, mapping_layers=2, channel_base=128, channel_max=16)
LAYERS = range(1, TINY.num_layers + 1)


def generator(config=TINY):
    return randomize(Generator(config), "stylegan2").requires_grad_(requires_grad=False)


def codes(batch=1, config=TINY, name="stylegan2.w"):
    return Codes(draw(name, (batch, config.num_styles, config.style_dim)))


def offsets(config=TINY, rows=1):
    layout = config.style_layout()
    return StyleSpace(
        tuple(draw(f"stylegan2.conv{i}", (rows, width)) for i, width in enumerate(layout.conv)),
        tuple(draw(f"stylegan2.rgb{i}", (rows, width)) for i, width in enumerate(layout.rgb)),
    )


G = generator()


@pytest.mark.parametrize("size", [8, 16, 64])
@pytest.mark.parametrize(("base", "top"), [(64, 4), (256, 8), (4096, 5)])
def test_any_power_of_two_and_any_width(size, base, top):
    config = GeneratorConfig(
        size=size, style_dim=5, mapping_layers=1, channel_base=base, channel_max=top
    )
    network = generator(config)
    assert config.num_styles == {8: 4, 16: 6, 64: 10}[size]
    assert network.synthesize(codes(2, config)).shape == (2, 3, size, size)
    for layer in range(1, config.num_layers + 1):
        channels, side = config.layer_shape(layer)
        assert network.features(codes(1, config), layer).shape == (1, channels, side, side)


def test_the_defaults_have_the_released_sizes():
    config = GeneratorConfig()
    assert (config.num_styles, config.num_layers) == (18, 17)
    assert config.layer_shape(9) == (512, 64)
    assert config.layer_shape(11) == (256, 128)
    assert config.layer_shape(17) == (32, 1024)
    assert config.style_layout().conv[14:] == (64, 64, 32)
    assert config.style_layout().rgb[-2:] == (64, 32)


def test_a_layer_that_the_last_style_drives_exists_and_all_styles_count():
    still = codes()
    image = G.synthesize(still)
    for style in range(TINY.num_styles):
        moved = still.wplus.clone()
        moved[:, style] += 1
        assert not torch.allclose(G.synthesize(Codes(moved)), image)


def test_truncation_leads_to_the_mean_code():
    z = draw("stylegan2.z", (3, TINY.style_dim))
    whole, none = G.map(z).wplus, G.map(z, truncation=0).wplus
    assert torch.equal(none, G.latent_avg.expand(3, TINY.num_styles, -1))
    half = G.map(z, truncation=0.5).wplus
    torch.testing.assert_close(half, (whole + none) / 2)
    assert (whole[:, :1] == whole).all()  # one w for every layer
    torch.testing.assert_close(whole[:, 0], G.mapping(z))


def test_the_same_codes_draw_the_same_image_twice():
    assert torch.equal(G.synthesize(codes()), G.synthesize(codes()))


def test_random_noise_is_another_image():
    fixed = G.synthesize(codes())
    first, second = (G.synthesize(codes(), random_noise=True) for _ in range(2))
    assert not torch.allclose(first, fixed)
    assert not torch.allclose(first, second)


def test_the_stored_noise_is_drawn():
    other = copy.deepcopy(G)
    other.layers[4].noise.add_(1.0)
    assert not torch.allclose(other.synthesize(codes()), G.synthesize(codes()))


def test_a_style_offset_equals_a_moved_affine_bias():
    shift = offsets()
    moved = copy.deepcopy(G)
    for layer, offset in zip(moved.layers, shift.conv, strict=True):
        layer.conv.affine.bias.add_(offset[0])
    for layer, offset in zip(moved.to_rgb, shift.rgb, strict=True):
        layer.conv.affine.bias.add_(offset[0])
    with_offset = G.synthesize(Codes(codes().wplus, shift))
    torch.testing.assert_close(with_offset, moved.synthesize(codes()))
    assert not torch.allclose(with_offset, G.synthesize(codes()))
    for layer in LAYERS:
        torch.testing.assert_close(
            G.features(Codes(codes().wplus, shift), layer), moved.features(codes(), layer)
        )


@pytest.mark.parametrize("layer", LAYERS)
def test_its_own_features_draw_its_own_image(layer):
    """For odd k the image of F_k's resolution is there already, for even k it is not."""
    whole = G.synthesize(codes(2))
    halfway = G.run_to(codes(2), layer)
    torch.testing.assert_close(halfway.features, G.features(codes(2), layer), rtol=0, atol=0)
    for rgb in (None, halfway.rgb):
        drawn = G.synthesize_from(halfway.features, codes(2), layer, rgb)
        torch.testing.assert_close(drawn, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layer", LAYERS)
def test_own_features_draw_the_own_image_under_style_offsets(layer):
    styled = Codes(codes().wplus, offsets())
    drawn = G.synthesize_from(G.features(styled, layer), styled, layer)
    torch.testing.assert_close(drawn, G.synthesize(styled), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layer", LAYERS[:-1])  # nothing is drawn after the last one
def test_injected_features_change_the_image(layer):
    features = G.features(codes(), layer)
    drawn = G.synthesize_from(features + 0.5, codes(), layer)
    assert (drawn - G.synthesize(codes())).abs().mean() > 0.01


@pytest.mark.parametrize("layer", [2, 3, 4, 5])
def test_codes_below_the_features_still_draw_the_low_image(layer):
    features = G.features(codes(), layer)
    other = codes().wplus.clone()
    other[:, :layer] += draw("stylegan2.low", (layer, TINY.style_dim))
    moved = G.synthesize_from(features, Codes(other), layer) - G.synthesize(codes())
    assert moved.abs().mean() > 0.01
    # All that differs is the image the low layers have drawn, twice as large at each resolution.
    rgb = G.run_to(codes(), layer).rgb
    same = G.synthesize_from(features, Codes(other), layer, rgb)
    if layer % 2:  # for even k the style of the next RGB layer is k + 1, above the features
        torch.testing.assert_close(same, G.synthesize(codes()), rtol=1e-5, atol=1e-5)


def test_a_row_of_a_batch_is_what_it_is_alone():
    many = Codes(codes(3).wplus, offsets(rows=3))
    together = G.synthesize(many)
    for row in range(3):
        alone = G.synthesize(many.map(lambda tensor, row=row: tensor[row : row + 1]))
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-5, atol=1e-5)


def test_every_style_and_the_features_get_a_gradient():
    w = codes(2).wplus.requires_grad_()
    features = G.features(codes(2), 4).requires_grad_()
    G.synthesize(Codes(w)).square().mean().backward()
    assert (w.grad.abs().amax(dim=-1) > 0).all()
    G.synthesize_from(features, codes(2), 4).square().mean().backward()
    assert (features.grad.abs() > 0).float().mean() > 0.99


def test_every_weight_gets_a_gradient_in_training():
    network = generator().requires_grad_()
    z = draw("stylegan2.z", (2, TINY.style_dim))
    network.synthesize(network.map(z), random_noise=True).square().mean().backward()
    without = [
        name
        for name, weight in network.named_parameters()
        if weight.grad is None or not weight.grad.abs().sum() > 0
    ]
    assert not without


def test_the_image_of_a_gradient_pass_is_the_image_without_one():
    with torch.no_grad():
        still = G.synthesize(codes())
    moved = G.synthesize(Codes(codes().wplus.requires_grad_()))
    torch.testing.assert_close(moved.detach(), still, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 0.15), (torch.float16, 0.02)])
def test_autocast_draws_nearly_the_same_image(dtype, bound):
    whole = G.synthesize(codes(2))
    with torch.autocast("cpu", dtype):
        z = draw("stylegan2.z", (2, TINY.style_dim))
        assert G.map(z, truncation=0.7).wplus.isfinite().all()
        drawn = G.synthesize(codes(2)).float()
        halfway = G.run_to(codes(2), 3)
        from_features = G.synthesize_from(halfway.features, codes(2), 3, halfway.rgb).float()
    for image in (drawn, from_features):
        assert (image - whole).square().mean().sqrt() < bound * whole.std()


def test_a_model_in_half_precision_draws():
    half = copy.deepcopy(G).bfloat16()
    image = half.synthesize(codes().map(lambda tensor: tensor.bfloat16()))
    assert image.dtype == torch.bfloat16
    whole = G.synthesize(codes())
    assert (image - whole).square().mean().sqrt() < 0.15 * whole.std()


def test_built_on_the_meta_device_and_filled_it_draws_the_same():
    with torch.device("meta"):
        empty = Generator(TINY).eval()
    assert empty.latent_avg.is_meta
    assign_state(empty, G.state_dict(), "test")
    assert torch.equal(empty.synthesize(codes()), G.synthesize(codes()))


def test_the_kernel_of_the_low_pass_is_in_no_checkpoint():
    assert not [key for key in G.state_dict() if "kernel" in key]


def test_clamp_bounds_every_layer_and_a_wide_one_changes_nothing():
    peaks = [G.features(codes(), layer).abs().max().item() for layer in LAYERS]
    for clamp in (0.5 * min(peaks), 2 * max(peaks)):
        config = GeneratorConfig(
            size=32, style_dim=12, mapping_layers=2, channel_base=128, channel_max=16, clamp=clamp
        )
        clamped = generator(config)
        for layer in LAYERS:
            assert clamped.features(codes(), layer).abs().max() <= clamp
        is_same = torch.equal(clamped.synthesize(codes()), G.synthesize(codes()))
        assert is_same == (clamp > max(peaks))


def test_a_smaller_picture_is_the_picture_averaged_down():
    halfway = G.run_to(codes(), 3)
    small = G.synthesize_from(halfway.features, codes(), 3, halfway.rgb, size=16)
    torch.testing.assert_close(small, functional.avg_pool2d(G.synthesize(codes()), 2))


@pytest.mark.parametrize("layer", [-1, 0, 8, 99])
def test_a_layer_that_is_not_there_is_refused(layer):
    with pytest.raises(ConfigError, match=f"between 1 and 7 for a 32 px generator, got {layer}"):
        G.features(codes(), layer)
    with pytest.raises(ConfigError, match="between 1 and 7"):
        G.synthesize_from(torch.zeros(1, 16, 4, 4), codes(), layer, torch.zeros(1, 3, 4, 4))


def test_wrong_shapes_are_refused():
    with pytest.raises(ShapeError, match=r"codes: expected shape \(any, 8, 12\)"):
        G.synthesize(Codes(torch.zeros(1, 6, 12)))
    with pytest.raises(ShapeError, match=r"z: expected shape \(any, 12\)"):
        G.map(torch.zeros(1, 8, 12))
    for shape in ((1, 16, 4, 4), (2, 16, 8, 8), (1, 8, 8, 8)):
        with pytest.raises(ShapeError, match=r"features: expected shape \(1, 16, 8, 8\)"):
            G.synthesize_from(torch.zeros(shape), codes(), 3)


def test_style_offsets_of_another_generator_are_refused():
    shift = offsets()
    for wrong in (
        StyleSpace(shift.conv[:-1], shift.rgb),
        StyleSpace(shift.conv, shift.rgb[:-1]),
        shift.map(lambda style: style[:, :-1]),
    ):
        with pytest.raises(ShapeError, match="made for another generator"):
            G.synthesize(Codes(codes().wplus, wrong))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"size": 48}, "power of two"),
        ({"size": 4}, "at least 8"),
        ({"style_dim": 0}, "at least 1"),
        ({"mapping_layers": 0}, "at least 1"),
        ({"mapping_layers": 1_000_000}, "at most 256, got 1000000"),
        ({"size": 1 << 40}, "at most 16384"),
        ({"channel_base": 512}, "leaves no channel at 1024"),
        ({"clamp": 0.0}, "clamp"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(change, sentence):
    with pytest.raises(ConfigError, match=sentence):
        GeneratorConfig(**change)
