"""Published checkpoints become one model: which file gives what, and what is refused.

Files of the real layouts and sizes, but each tensor is one number repeated: a few kilobytes that
take milliseconds. That the numbers then mean the same is for test_golden_release.py.
"""

import re
import sys
from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

import nvidia_pickle
from released import layouts
from seeded import draw
from stylefeatureeditor.cli.main import main
from stylefeatureeditor.editing.e4e import E4eConfig
from stylefeatureeditor.errors import ShapeError, WeightsError
from stylefeatureeditor.generator.layers import EqualizedLinear, PixelNorm, activate, blur_kernel
from stylefeatureeditor.generator.stylegan2 import Generator, GeneratorConfig
from stylefeatureeditor.model import ModelConfig
from stylefeatureeditor.records import Codes
from stylefeatureeditor.weights.checkpoint import assign_state
from stylefeatureeditor.weights.convert import (
    ReleasedFiles,
    convert_released,
    fitting_catalog,
    read_generator,
)
from stylefeatureeditor.weights.released import nvidia_generator_state
from stylefeatureeditor.weights.storage import load_tensors

pytestmark = pytest.mark.usefixtures("one_thread")

MEAN = draw("convert.latent_avg", (512,))


def number(name, shape):
    """A tensor of the shape whose values are all one number that the name decides."""
    if name.endswith("num_batches_tracked"):
        return torch.tensor(3)
    if name.endswith(".kernel"):
        return blur_kernel(gain=4.0)
    return draw(name, (1,)).expand(shape)


def flat(layout, prefix=""):
    """The state of a layout; `prefix` is taken off the names."""
    return {
        key[len(prefix) :]: number(key, shape)
        for key, shape in layouts()[layout]
        if key.startswith(prefix)
    }


SFE = flat("sfe")
LIGHT = {key: value for key, value in SFE.items() if key.startswith(("inverter.", "encoder."))}
GENERATOR = {"g_ema": flat("sfe", "decoder."), "latent_avg": MEAN}
E4E = {
    "state_dict": {f"encoder.{key}": value for key, value in flat("sfe", "e4e_encoder.").items()}
}


@pytest.fixture
def convert(tmp_path):
    """Write the given contents to files and convert them."""

    def run(sfe, generator=None, e4e=None):
        paths = {}
        for name, content in (("sfe", sfe), ("generator", generator), ("e4e", e4e)):
            if content is not None:
                paths[name] = tmp_path / f"{name}.pt"
                torch.save(content, paths[name])
        return convert_released(ReleasedFiles(**paths), name="test", catalog="ffhq")

    return run


def first(tensor):
    """The number that a tensor repeats."""
    return tensor[(0,) * tensor.ndim].item()


def moved(state):
    """The state with every number one larger."""
    return {
        key: value if "kernel" in key else torch.tensor(first(value) + 1).expand(value.shape)
        for key, value in state.items()
    }


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("inverter.encoder.trunk.stem.0.weight", "inverter.fs_backbone.conv.0.weight"),
        (
            "inverter.encoder.trunk.stages.2.13.branch.norm3.running_var",
            "inverter.fs_backbone.block_3.13.bn3.running_var",
        ),
        (
            "inverter.encoder.trunk.stages.0.0.skip.0.weight",
            "inverter.fs_backbone.block_1.0.downsample.0.weight",
        ),
        ("inverter.encoder.content.3.weight", "inverter.fs_backbone.content_layer.3.weight"),
        ("inverter.encoder.styles.17.bias", "inverter.fs_backbone.styles.17.bias"),
        ("inverter.fuser.body.merge.weight", "inverter.fuser.conv.weight"),
        ("inverter.fuser.body.branches.4.activation.weight", "inverter.fuser.body.4.body.3.weight"),
        ("feature_editor.body.merge.bias", "encoder.conv.bias"),
        ("feature_editor.body.branches.0.conv2.weight", "encoder.body.0.body.4.weight"),
        ("feature_editor.body.branches.0.norm1.weight", "encoder.body.0.body.0.weight"),
        ("e4e.trunk.stem.1.running_mean", "e4e_encoder.input_layer.1.running_mean"),
        ("e4e.trunk.blocks.23.excite.fc2.weight", "e4e_encoder.body.23.res_layer.5.fc2.weight"),
        ("e4e.heads.7.convs.3.weight", "e4e_encoder.styles.7.convs.6.weight"),
        ("e4e.heads.0.linear.bias", "e4e_encoder.styles.0.linear.bias"),
        ("e4e.lateral_middle.weight", "e4e_encoder.latlayer1.weight"),
        ("e4e.lateral_fine.weight", "e4e_encoder.latlayer2.weight"),
        ("generator.constant", "decoder.input.input"),
        ("generator.mapping.8.weight", "decoder.style.8.weight"),
        ("generator.layers.0.conv.affine.bias", "decoder.conv1.conv.modulation.bias"),
        ("generator.layers.16.conv.weight", "decoder.convs.15.conv.weight"),
        ("generator.layers.16.noise_strength", "decoder.convs.15.noise.weight"),
        ("generator.layers.16.noise", "decoder.noises.noise_16"),
        ("generator.to_rgb.0.bias", "decoder.to_rgb1.bias"),
        ("generator.to_rgb.8.conv.weight", "decoder.to_rgbs.7.conv.weight"),
    ],
)
def test_a_tensor_finds_its_place(full_model, ours, theirs):
    assert first(full_model.state_dict()[ours]) == first(SFE[theirs])


@pytest.fixture(scope="module")
def full_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("full") / "sfe.pt"
    torch.save({"state_dict": SFE, "latent_avg": MEAN, "opts": {"lr": 1e-4}}, path)
    return convert_released(ReleasedFiles(path), name="test", catalog="ffhq")


def test_a_full_checkpoint_is_enough(full_model):
    assert full_model.config == ModelConfig(name="test", catalog="ffhq")
    assert torch.equal(full_model.generator.latent_avg, MEAN)
    numbers = {first(value) for key, value in SFE.items() if "discriminator" not in key}
    for key, tensor in full_model.state_dict().items():
        assert tensor.dtype == (torch.int64 if "tracked" in key else torch.float32)
        assert key == "generator.latent_avg" or first(tensor) in numbers
    kernels = [m.blur_kernel for m in full_model.modules() if hasattr(m, "blur_kernel")]
    assert all(torch.equal(kernel, blur_kernel(gain=4.0)) for kernel in kernels)
    assert not any(weight.requires_grad for weight in full_model.parameters())


def test_a_light_checkpoint_takes_g_and_e_from_their_files(convert, full_model):
    model = convert({"state_dict": LIGHT}, GENERATOR, E4E)
    assert model.config == full_model.config
    ours, expected = model.state_dict(), full_model.state_dict()
    assert ours.keys() == expected.keys()
    assert all(first(ours[key]) == first(tensor) for key, tensor in expected.items())


def test_the_files_of_g_and_e_come_before_the_copies_in_a_full_checkpoint(convert):
    model = convert(
        {"state_dict": SFE, "latent_avg": MEAN - 1},
        {"g_ema": moved(GENERATOR["g_ema"]), "latent_avg": MEAN + 1},
        {"state_dict": moved(E4E["state_dict"]), "latent_avg": MEAN + 2},
    )
    assert torch.equal(model.generator.latent_avg, MEAN + 1)
    for network, ours, theirs in (
        (model.generator, "layers.0.bias", "decoder.conv1.activate.bias"),
        (model.e4e, "heads.0.linear.bias", "e4e_encoder.styles.0.linear.bias"),
    ):
        assert first(network.state_dict()[ours]) == pytest.approx(first(SFE[theirs]) + 1)


@pytest.mark.parametrize("shape", [(512,), (1, 512), (18, 512)])
def test_the_mean_code_may_be_one_vector_or_one_per_style(convert, shape):
    model = convert({"state_dict": LIGHT}, {**GENERATOR, "latent_avg": MEAN.expand(shape)}, E4E)
    assert torch.equal(model.generator.latent_avg, MEAN)


def test_a_generator_without_its_mean_code_takes_the_checkpoints(convert):
    model = convert({"state_dict": LIGHT, "latent_avg": MEAN}, {"g_ema": GENERATOR["g_ema"]}, E4E)
    assert torch.equal(model.generator.latent_avg, MEAN)


def test_a_generator_without_its_mean_code_takes_the_encoders(convert):
    model = convert(
        {"state_dict": LIGHT}, {"g_ema": GENERATOR["g_ema"]}, {**E4E, "latent_avg": MEAN}
    )
    assert torch.equal(model.generator.latent_avg, MEAN)


def test_a_smaller_generator_brings_fewer_styles(convert):
    """The style count follows the generator; the encoders must have as many."""
    few = {
        key: value
        for key, value in LIGHT.items()
        if ".styles." not in key or int(key.split(".styles.")[1].split(".")[0]) < 14
    }
    encoder = {
        key: value
        for key, value in E4E["state_dict"].items()
        if ".styles." not in key or int(key.split(".styles.")[1].split(".")[0]) < 14
    }
    small = {"g_ema": flat("generator_256"), "latent_avg": MEAN}
    model = convert({"state_dict": few}, small, {"state_dict": encoder})
    assert model.config.generator.size == 256
    assert model.config.e4e == E4eConfig(num_styles=14)
    with pytest.raises(WeightsError, match=r"e4e.pt \(e4e\): 0 tensors are missing and .* unknown"):
        convert({"state_dict": few}, small, E4E)
    with pytest.raises(WeightsError, match=r"sfe.pt \(Inverter\): 0 tensors are missing and 8 unk"):
        convert({"state_dict": LIGHT}, small, {"state_dict": encoder})


PHASE_1 = {
    key.replace("inverter.", "encoder."): value
    for key, value in LIGHT.items()
    if key.startswith("inverter.")
}


def without(table, key):
    return {name: value for name, value in table.items() if name != key}


@pytest.mark.parametrize(
    ("sfe", "generator", "e4e", "sentence"),
    [
        ({"state_dict": PHASE_1}, GENERATOR, E4E, "phase-1 file .Inverter only.; take the phase-2"),
        ({"state_dict": {}}, GENERATOR, E4E, "no StyleFeatureEditor checkpoint: expected keys"),
        (E4E, GENERATOR, E4E, "no StyleFeatureEditor checkpoint"),
        (GENERATOR, GENERATOR, E4E, "a checkpoint of another method or kind"),
        ([1, 2], GENERATOR, E4E, "holds list, expected a checkpoint's table"),
        ({"state_dict": {"inverter.a": 3}}, GENERATOR, E4E, "no table of tensors"),
        ({"state_dict": {3: MEAN}}, GENERATOR, E4E, "no table of tensors"),
        ({"state_dict": LIGHT}, None, E4E, "holds no generator; pass its file with --generator"),
        ({"state_dict": LIGHT}, GENERATOR, None, "holds no e4e encoder; pass its file with --e4e"),
        ({"state_dict": LIGHT}, E4E, E4E, "'g_ema'"),
        ({"state_dict": LIGHT}, GENERATOR, GENERATOR, "'state_dict'"),
        ({"state_dict": SFE}, None, None, "holds no 'latent_avg'"),
        (
            {"state_dict": LIGHT},
            {**GENERATOR, "latent_avg": torch.tensor(0.5)},
            E4E,
            r"latent_avg should be \(D,\) or \(N, D\)",
        ),
        (
            {"state_dict": LIGHT},
            {**GENERATOR, "latent_avg": torch.stack([MEAN, MEAN + 1])},
            E4E,
            "latent_avg differs between styles",
        ),
        (
            {"state_dict": LIGHT},
            {**GENERATOR, "latent_avg": MEAN[:256]},
            E4E,
            r"latent_avg should be \(512,\), got \(256,\)",
        ),
        (
            {"state_dict": without(LIGHT, "inverter.fuser.conv.bias")},
            GENERATOR,
            E4E,
            r"\(Inverter\): 1 tensors are missing and 0 unknown \(first: fuser.body.merge.bias",
        ),
        (
            {"state_dict": {k: v for k, v in LIGHT.items() if k.startswith("inverter.")}},
            GENERATOR,
            E4E,
            r"\(Feature Editor\): \d+ tensors are missing",
        ),
        (
            {"state_dict": {**LIGHT, "inverter.fs_backbone.extra": MEAN}},
            GENERATOR,
            E4E,
            "released Inverter: the checkpoint holds 'fs_backbone.extra'",
        ),
        (
            {"state_dict": {**LIGHT, "encoder.conv.bias": MEAN[:5]}},
            GENERATOR,
            E4E,
            r"merge.bias should be \(512,\), got \(5,\)",
        ),
        (
            {"state_dict": LIGHT},
            {**GENERATOR, "g_ema": without(GENERATOR["g_ema"], "noises.noise_4")},
            E4E,
            "noise_4 is missing",
        ),
        (
            {"state_dict": LIGHT},
            {**GENERATOR, "g_ema": without(GENERATOR["g_ema"], "to_rgb1.bias")},
            E4E,
            r"\(generator\): 1 tensors are missing",
        ),
        (
            {"state_dict": LIGHT},
            GENERATOR,
            {"state_dict": without(E4E["state_dict"], "encoder.latlayer1.bias")},
            r"\(e4e\): 1 tensors are missing",
        ),
    ],
)
def test_files_that_make_no_model_are_refused(convert, sfe, generator, e4e, sentence):
    with pytest.raises(WeightsError, match=sentence):
        convert(sfe, generator, e4e)


# one generator alone


def tiny_rosinality(size=16, width=6, channels=5):
    """A generator of stylegan2-pytorch's layout; `channels` everywhere."""
    state = {"input.input": (1, channels, 4, 4)}
    for layer in (1, 2):
        state |= {f"style.{layer}.weight": (width, width), f"style.{layer}.bias": (width,)}

    def conv(at, out, side):
        state[f"{at}.conv.weight"] = (1, out, channels, side, side)
        state[f"{at}.conv.modulation.weight"] = (channels, width)
        state[f"{at}.conv.modulation.bias"] = (channels,)

    layers = 2 * (size.bit_length() - 3) + 1
    for layer in range(layers):
        at = "conv1" if layer == 0 else f"convs.{layer - 1}"
        conv(at, channels, 3)
        state |= {f"{at}.noise.weight": (1,), f"{at}.activate.bias": (channels,)}
        side = 4 << ((layer + 1) // 2)
        state[f"noises.noise_{layer}"] = (1, 1, side, side)
        if layer % 2 == 0:
            rgb = "to_rgb1" if layer == 0 else f"to_rgbs.{layer // 2 - 1}"
            conv(rgb, 3, 1)
            state[f"{rgb}.bias"] = (1, 3, 1, 1)
    return {key: draw(f"tiny.{key}", shape) for key, shape in state.items()}


@pytest.mark.parametrize("size", [8, 16, 64])
def test_a_generators_sizes_are_read_off_its_tensors(tmp_path, size):
    torch.save({"g_ema": tiny_rosinality(size), "latent_avg": MEAN[:6]}, tmp_path / "g.pt")
    config, state = read_generator(tmp_path / "g.pt")
    assert (config.size, config.style_dim, config.mapping_layers) == (size, 6, 2)
    assert config.layer_shape(config.num_layers) == (5, size)
    assert torch.equal(state["latent_avg"], MEAN[:6])


def trained(tmp_path, without=(), prefix=""):
    """A file as stylegan2-pytorch's training writes it: no mean, optimisers, maybe no noise."""
    state = {
        f"{prefix}{key}": value
        for key, value in tiny_rosinality().items()
        if not key.startswith(without)
    }
    optimiser = {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 2e-3}]}
    content = {"g": state, "d": {}, "g_ema": state, "g_optim": optimiser, "d_optim": optimiser}
    torch.save({**content, "args": Namespace(size=16), "ada_aug_p": 0.0}, tmp_path / "000100.pt")
    return tmp_path / "000100.pt"


@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_mean_of_a_generator_in_training_is_estimated(tmp_path, caplog, prefix):
    """Against the mean of other z, within five standard errors of 10,000."""
    config, state = read_generator(trained(tmp_path, prefix=prefix))
    assert "estimated from 10,000 seeded z" in caplog.text
    theirs = tiny_rosinality()
    x = draw("other.z", (40_000, 6))
    x = x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for layer in (1, 2):  # EqualLinear: weight * lr_mul / sqrt(D), bias * lr_mul, fused_leaky_relu
        weight, bias = (theirs[f"style.{layer}.{leaf}"] * 0.01 for leaf in ("weight", "bias"))
        x = torch.nn.functional.leaky_relu(x @ weight.T / 6**0.5 + bias, 0.2) * 2**0.5
    error = (state["latent_avg"] - x.mean(0)).abs() / x.std(0)
    assert (config.size, config.style_dim) == (16, 6)
    assert error.max() < 5 * (1 / 10_000 + 1 / 40_000) ** 0.5
    assert torch.equal(state["latent_avg"], read_generator(tmp_path / "000100.pt")[1]["latent_avg"])
    words = [f"--generator={tmp_path / '000100.pt'}", f"--output={tmp_path / 'parts'}"]
    assert main(["models", "convert", *words]) == 0
    _, header = load_tensors(tmp_path / "parts" / "generator.safetensors")
    assert header["latent_avg"] == "estimated from 10,000 seeded z"


def test_missing_noise_is_drawn_by_a_flag_alone(tmp_path, capsys):
    file = trained(tmp_path, without="noises.")
    words = ["models", "convert", f"--generator={file}", f"--output={tmp_path / 'parts'}"]
    assert main(words) == 2
    assert "--draw-noise" in capsys.readouterr().err
    assert main([*words, "--draw-noise"]) == 0
    tensors, _ = load_tensors(tmp_path / "parts" / "generator.safetensors")
    noise = [tensors[f"layers.{layer}.noise"] for layer in range(5)]
    assert [tuple(each.shape) for each in noise] == [(1, 1, s, s) for s in (4, 8, 8, 16, 16)]
    assert torch.cat([each.flatten() for each in noise]).std() == pytest.approx(1, abs=0.1)
    _, again = read_generator(file, draw_noise=True)
    assert all(torch.equal(again[f"layers.{layer}.noise"], noise[layer]) for layer in range(5))
    _, kept = read_generator(trained(tmp_path, without="noises.noise_4"), draw_noise=True)
    assert torch.equal(kept["layers.3.noise"], tiny_rosinality()["noises.noise_3"])


class Synthesis(nvidia_pickle.Persistent):
    """A module that holds others and tensors by name."""


def nvidia_names(theirs):
    """Our rosinality tensors under NVIDIA's names."""
    yield "synthesis.b4.const", theirs["input.input"][0]
    yield "mapping.w_avg", MEAN[:6]
    for layer in (1, 2):
        for leaf in ("weight", "bias"):
            yield f"mapping.fc{layer - 1}.{leaf}", theirs[f"style.{layer}.{leaf}"]
    convs = ["conv1", "convs.0", "convs.1", "convs.2", "convs.3"]
    places = ["b4.conv1", "b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1"]
    for layer, (at, place) in enumerate(zip(convs, places, strict=True)):
        yield f"synthesis.{place}.noise_const", theirs[f"noises.noise_{layer}"][0, 0]
        yield f"synthesis.{place}.noise_strength", theirs[f"{at}.noise.weight"][0]
        yield f"synthesis.{place}.bias", theirs[f"{at}.activate.bias"]
    rgbs = {"to_rgb1": "b4.torgb", "to_rgbs.0": "b8.torgb", "to_rgbs.1": "b16.torgb"}
    for at, place in rgbs.items():
        yield f"synthesis.{place}.bias", theirs[f"{at}.bias"].reshape(3)
    for at, place in [*zip(convs, places, strict=True), *rgbs.items()]:
        yield f"synthesis.{place}.weight", theirs[f"{at}.conv.weight"][0]
        for leaf in ("weight", "bias"):
            yield f"synthesis.{place}.affine.{leaf}", theirs[f"{at}.conv.modulation.{leaf}"]


def tiny_nvidia(**kwargs):
    """The rosinality generator above, in NVIDIA's layout."""
    network = Synthesis(**kwargs)
    for key, value in nvidia_names(tiny_rosinality()):
        *modules, leaf = key.split(".")
        inner = network
        for name in modules:
            if name not in dict(inner.named_children()):
                inner.add_module(name, Synthesis())
            inner = getattr(inner, name)
        inner.register_parameter(leaf, nn.Parameter(value))
    return network


@pytest.mark.parametrize(
    ("kwargs", "clamp"),
    [
        ({}, None),
        ({"conv_clamp": 256}, 256.0),
        ({"synthesis_kwargs": {"conv_clamp": 128, "channel_base": 80}}, 128.0),
        ({"synthesis_kwargs": {}, "conv_clamp": None}, None),
        ({"synthesis_kwargs": None}, None),
    ],
)
def test_an_nvidia_pickle_gives_the_same_generator(tmp_path, kwargs, clamp):
    (tmp_path / "g.pkl").write_bytes(nvidia_pickle.dump({"G_ema": tiny_nvidia(**kwargs)}))
    torch.save({"g_ema": tiny_rosinality(), "latent_avg": MEAN[:6]}, tmp_path / "g.pt")
    config, state = read_generator(tmp_path / "g.pkl")
    assert config.clamp == clamp
    expected_config, expected = read_generator(tmp_path / "g.pt")
    assert config.size == expected_config.size == 16
    assert state.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(state[key], value), key


def test_a_pickle_without_a_generator_is_refused(tmp_path):
    (tmp_path / "d.pkl").write_bytes(nvidia_pickle.dump({"D": tiny_nvidia()}))
    with pytest.raises(WeightsError, match="holds no generator 'G_ema'"):
        read_generator(tmp_path / "d.pkl")
    for clamp in ("256", [256], -1):
        content = {"G_ema": tiny_nvidia(conv_clamp=clamp)}
        (tmp_path / "g.pkl").write_bytes(nvidia_pickle.dump(content))
        with pytest.raises(WeightsError, match="clamp"):
            read_generator(tmp_path / "g.pkl")


class Own(nn.Module):
    """As a user's own code has it: its class cannot be known here."""

    __module__ = "model"


def other_channels(state, count):
    """The state of a generator that draws `count` channels."""
    return {
        key: value[:, :1].repeat_interleave(count, 1) if "rgb" in key and value.shape[:2] == (1, 3)
        else value
        for key, value in state.items()
    }  # fmt: skip


@torch.no_grad()
def drawn(path, z, **options):
    """What a generator file draws of z."""
    config, state = read_generator(path, **options)
    network = Generator(config)
    assign_state(network, state, str(path))
    return network.synthesize(network.map(z))


def saved(path, state):
    torch.save({"g_ema": state, "latent_avg": MEAN[:6]}, path)
    return path


def test_a_grey_generator_draws_grey_and_an_rgba_one_its_colours(tmp_path):
    z = torch.randn(2, 6)
    grey = drawn(saved(tmp_path / "1.pt", other_channels(tiny_rosinality(), 1)), z)
    assert torch.equal(grey[:, :1].expand_as(grey), grey)
    rgba = other_channels(tiny_rosinality(), 4)
    torch.testing.assert_close(drawn(saved(tmp_path / "4.pt", rgba), z), grey)
    two = other_channels(tiny_rosinality(), 2)
    with pytest.raises(WeightsError, match=r"draws 2 channels; 1 .grey., 3 .RGB. and 4 .RGBA"):
        read_generator(saved(tmp_path / "2.pt", two))


def test_z_may_be_wider_than_w(tmp_path):
    state = {**tiny_rosinality(), "style.1.weight": torch.randn(6, 9)}
    path = saved(tmp_path / "g.pt", state)
    assert read_generator(path)[0].latent_dim == 9
    assert drawn(path, torch.randn(2, 9)).shape == (2, 3, 16, 16)
    with pytest.raises(ShapeError):
        drawn(path, torch.randn(2, 6))


def test_a_network_saved_whole_is_the_same_generator(tmp_path, monkeypatch):
    """As PTI saves the generator that it tuned, and people theirs, by a class unknown here."""
    z = torch.randn(2, 6)
    expected = drawn(saved(tmp_path / "g.pt", tiny_rosinality()), z)
    network = tiny_nvidia(conv_clamp=256)
    (tmp_path / "g.pkl").write_bytes(nvidia_pickle.dump(network))
    torch.testing.assert_close(drawn(tmp_path / "g.pkl", z), expected)
    monkeypatch.setitem(sys.modules, "model", SimpleNamespace(Own=Own))
    whole = Own()
    for key, value in tiny_nvidia_state().items():
        *modules, leaf = key.split(".")
        inner = whole
        for name in modules:
            if name not in dict(inner.named_children()):
                inner.add_module(name, Own())
            inner = getattr(inner, name)
        inner.register_buffer(leaf, value)
    for content in (whole, {"G_ema": whole}, {"G": whole}):
        torch.save(content, tmp_path / "own.pt")
        torch.testing.assert_close(drawn(tmp_path / "own.pt", z), expected)
    torch.save(nn.Linear(2, 2), tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="'weight', which that layout lacks"):
        read_generator(tmp_path / "other.pt")


def tiny_nvidia_state():
    return {key: value.detach() for key, value in tiny_nvidia().state_dict().items()}


def conditional(state, classes):
    """The state with a class embedding as wide as z, in the way of stylegan2-ada-pytorch."""
    chance = torch.Generator().manual_seed(3)
    return {
        **state,
        "mapping.embed.weight": torch.randn(6, classes, generator=chance),
        "mapping.embed.bias": torch.randn(6, generator=chance),
        "mapping.fc0.weight": torch.randn(6, 12, generator=chance) * 100,
    }


def test_one_class_of_a_conditional_generator_is_drawn_as_the_original_does():
    state = conditional(tiny_nvidia_state(), classes=3)
    _, ours = nvidia_generator_state(state, label=2)
    z = PixelNorm()(torch.randn(4, 6))
    label = functional.one_hot(torch.tensor([2] * 4), 3).float()
    embedding = label @ state["mapping.embed.weight"].t() / 3**0.5 + state["mapping.embed.bias"]
    seen = torch.cat([z, PixelNorm()(embedding)], dim=1)
    expected = seen @ state["mapping.fc0.weight"].t() * (0.01 / 12**0.5)
    expected = activate(expected + 0.01 * state["mapping.fc0.bias"])
    first = EqualizedLinear(6, 6, lr_multiplier=0.01, activation=True)
    first.load_state_dict({leaf: ours[f"mapping.1.{leaf}"] for leaf in ("weight", "bias")})
    torch.testing.assert_close(first(z), expected)
    for label in (None, 3):
        with pytest.raises(WeightsError, match=r"conditional: say which .*--class 0 to --class 2"):
            nvidia_generator_state(state, label=label)
    with pytest.raises(WeightsError, match="one class only"):
        nvidia_generator_state(tiny_nvidia_state(), label=0)


def test_an_orig_generator_draws_from_its_last_rgb_layer_alone():
    state = tiny_nvidia_state()
    kept = {key: value for key, value in state.items() if not re.search(r"b[48]\.torgb", key)}
    for key in [key for key in state if re.search(r"b[48]\.torgb\.(weight|bias)", key)]:
        state[key] = torch.zeros_like(state[key])
    codes, images = Codes(torch.randn(2, 6, 6)), []
    for each in (state, kept):
        config, ours = nvidia_generator_state(each)
        network = Generator(config)
        assign_state(network, ours, "")
        images.append(network.synthesize(codes).detach())
    torch.testing.assert_close(*images)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({"synthesis.b8.skip.weight": torch.zeros(2, 2)}, "architecture 'resnet'.* 'orig' can"),
        ({"synthesis.b4.const": None, "synthesis.input.transform": torch.eye(3)}, "StyleGAN3;"),
        (
            {
                "synthesis.b4.const": None,
                "synthesis.input.transform": torch.eye(3),
                "mapping.embed_proj.weight": torch.eye(3),
            },
            "StyleGAN-XL;",
        ),
        ({"synthesis.b4.const": None}, "not a StyleGAN2"),
        ({"mapping.w_avg": None}, "no mapping.w_avg"),
    ],
)
def test_an_nvidia_generator_of_another_kind_is_refused_in_words(state, sentence):
    changed = {**tiny_nvidia_state(), **state}
    with pytest.raises(WeightsError, match=sentence):
        nvidia_generator_state({key: value for key, value in changed.items() if value is not None})


@pytest.mark.parametrize(
    ("size", "width", "catalog"), [(1024, 512, "ffhq"), (512, 512, None), (1024, 256, None)]
)
def test_directions_of_faces_are_for_generators_of_ffhqs_sizes(size, width, catalog):
    generator = GeneratorConfig(size=size, style_dim=width)
    assert fitting_catalog("auto", generator) == catalog
    assert fitting_catalog("cars", generator) == "cars"
    assert fitting_catalog(None, generator) is None
