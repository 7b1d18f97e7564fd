"""What phases hand on: files are found by run, folder or name; a record says what is trained."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from phase_training import changed, snapshot, tiny_discriminator
from seeded_critics import seeded_critic
from stylefeatureeditor.editor import Editor
from stylefeatureeditor.errors import ConfigError, DirectionError, WeightsError
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.model import ModelConfig
from stylefeatureeditor.training.feature_editor import training_directions
from stylefeatureeditor.training.generator import GeneratorPhase, GeneratorTrainingConfig
from stylefeatureeditor.training.presets import sized
from stylefeatureeditor.training.run_folder import (
    RECORD,
    find_discriminator,
    finish_model,
    fresh_discriminator,
    load_generator,
    model_folder,
    open_start,
    own_strengths,
    read_record,
    save_discriminator,
    take_weights,
)
from stylefeatureeditor.weights import local_models
from stylefeatureeditor.weights.checkpoint import save_model
from stylefeatureeditor.weights.storage import save_tensors
from tiny import SIZE, tiny_directions, tiny_editor, tiny_model


@pytest.fixture
def folder(tmp_path):
    """A model folder in a run of e4e."""
    place = tmp_path / "run" / "model"
    tiny_editor().save_pretrained(place)
    finish_model(place, None, "e4e", 7, tiny_discriminator())
    return place


def test_a_model_is_found_by_its_folder_by_its_run_and_by_name(folder, monkeypatch):
    assert model_folder(folder) == model_folder(folder.parent) == folder
    monkeypatch.setattr(local_models, "builtin_folder", lambda: folder.parent)
    assert model_folder(Path("model")) == folder  # by name
    (folder.parent.parent / "stopped").mkdir()
    (folder.parent.parent / "stopped" / "config.toml").touch()
    with pytest.raises(WeightsError, match="has left no model yet"):
        model_folder(folder.parent.parent / "stopped")
    with pytest.raises(WeightsError, match="`sfe train e4e` makes the first one"):
        model_folder(folder.parent.parent)


def test_a_generator_is_read_from_a_model_and_from_its_own_run(folder, tmp_path):
    config = tiny_model().config.generator
    file = folder / "generator.safetensors"
    assert torch.equal(load_generator(file).constant, tiny_model().generator.constant)
    network = GeneratorTrainingConfig(
        network=config, discriminator=tiny_discriminator().config, samples=1
    )
    phase = GeneratorPhase(network)
    (tmp_path / "g" / "model").mkdir(parents=True)
    phase.save_model(tmp_path / "g" / "model")
    start = open_start(None, tmp_path / "g")
    assert start.generator.config == config
    assert not start.generator.training
    assert torch.equal(start.generator.constant, phase.average.constant)
    assert start.trained == {"generator": 0}


def test_a_generator_of_no_known_kind_is_told(tmp_path):
    save_tensors(tmp_path / "generator.safetensors", {"x": torch.ones(1)}, {"config": "[3]"})
    with pytest.raises(WeightsError, match="config must be an object"):
        load_generator(tmp_path / "generator.safetensors")
    with pytest.raises(WeightsError, match="`sfe train generator` makes a generator"):
        open_start(None, tmp_path / "nowhere")


def test_a_phase_starts_from_a_model_or_a_generator_not_both(folder):
    for given in ((None, None), (folder, folder)):
        with pytest.raises(ConfigError, match="either --model DIR or --generator"):
            open_start(*given)


def test_what_is_trained_is_kept_and_the_rest_begins_anew(folder):
    (folder / RECORD).write_text(json.dumps({"steps": {"generator": 3, "e4e": 7}}))
    start = open_start(folder, None)
    built = start.build(start.model.config, ("e4e", "inverter"))
    kept = tiny_model()
    assert torch.equal(built.e4e.heads[0].linear.weight, kept.e4e.heads[0].linear.weight)
    fresh = dict(built.inverter.named_parameters())
    same = [torch.equal(fresh[name], old) for name, old in kept.inverter.named_parameters()]
    assert not all(same)
    with pytest.raises(ConfigError, match="no trained inverter: `sfe train inverter` makes it"):
        start.need("e4e", "inverter")


def test_another_config_keeps_the_networks_it_is_told_to(folder):
    (folder / RECORD).unlink()  # all count as trained
    start, model = open_start(folder, None), tiny_model()
    config = replace(model.config, inverter=replace(model.config.inverter, fuser=None))
    fresh = start.build(config, ("e4e",))
    assert changed(fresh.generator, snapshot(model.generator)) == set()
    assert changed(fresh.e4e, snapshot(model.e4e)) == set()
    assert changed(fresh.feature_editor, snapshot(model.feature_editor))
    assert fresh.inverter.fuser is None
    with pytest.raises(ConfigError, match="inverter cannot change"):
        start.build(config, ("inverter",))


def test_a_bare_generator_gets_networks_of_its_sizes(folder):
    config = tiny_model().config
    start = open_start(None, folder)
    built = start.build(config, ("e4e",))
    assert torch.equal(built.generator.constant, tiny_model().generator.constant)
    with pytest.raises(ConfigError, match="sizes of the generator cannot change"):
        start.build(ModelConfig(), ())


def test_a_model_from_elsewhere_counts_as_trained(tmp_path):
    save_model(tiny_model(), tmp_path)
    assert set(read_record(tmp_path)) == {"generator", "e4e", "inverter", "feature_editor"}
    (tmp_path / RECORD).write_text('{"steps": 3}')
    with pytest.raises(WeightsError, match="'steps' by network"):
        read_record(tmp_path)


def published_trunk(trunk, table):
    """A trunk under ArcFace's names, each number one larger, and a classifier that is left out."""
    theirs = {"fc.weight": torch.ones(3, 2), "output_layer.3.weight": torch.ones(3, 2)}
    for key, value in trunk.state_dict().items():
        for pattern, name in table:
            key = re.sub(pattern, name, key)
        theirs[key] = value + 1
    return theirs


IRESNET = [
    (r"^stem\.0", "conv1"), (r"^stem\.1", "bn1"), (r"^stem\.2", "prelu"),
    (r"^stages\.(\d)", lambda found: f"layer{int(found[1]) + 1}"), ("skip", "downsample"),
    (r"branch\.norm", "bn"), (r"branch\.conv", "conv"), (r"branch\.activation", "prelu"),
]  # fmt: skip
IR = [
    ("^stem", "input_layer"), (r"^blocks\.(\d+)\.shortcut", r"body.\1.shortcut_layer"),
    *(
        (rf"^blocks\.(\d+)\.{name}\.", rf"body.\1.res_layer.{index}.")
        for index, name in enumerate(["norm1", "conv1", "activation", "conv2", "norm2", "excite"])
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("part", "place", "table", "foreign"),
    [
        ("inverter", "encoder.trunk", IRESNET, "output_layer.3.weight"),
        ("e4e", "trunk", IR, "fc.weight"),
    ],
)
def test_a_trunk_starts_from_arcfaces_file(part, place, table, foreign, tmp_path):
    model, before = tiny_model(), tiny_model()
    trunk = getattr(before, part).get_submodule(place)
    theirs = published_trunk(trunk, table)
    del theirs[foreign]
    torch.save(theirs, tmp_path / "arcface.pth")
    assert not take_weights(model, part, tmp_path / "arcface.pth")
    moved = getattr(model, part).state_dict()
    for key, value in getattr(before, part).state_dict().items():
        assert torch.equal(moved[key], value + key.startswith(f"{place}.")), key
    torch.save({**theirs, "more": torch.ones(1)}, tmp_path / "arcface.pth")
    with pytest.raises(WeightsError, match="holds 'more', which that layout lacks"):
        take_weights(model, part, tmp_path / "arcface.pth")


def test_phase_1_starts_from_the_released_one(tmp_path):
    model, inverter = tiny_model(), tiny_model().inverter
    names = [
        ("^encoder.trunk.stem", "encoder.fs_backbone.conv"),
        (r"^encoder\.(content|styles)", r"encoder.fs_backbone.\1"), ("content", "content_layer"),
        (r"^encoder\.trunk\.stages\.(\d)",
         lambda found: f"encoder.fs_backbone.block_{int(found[1]) + 1}"),
        (r"skip\.", "downsample."), (r"branch\.norm", "bn"), (r"branch\.conv", "conv"),
        (r"branch\.activation", "prelu"), ("^fuser.body.merge", "encoder.fuser.conv"),
    ]  # fmt: skip
    order = ["norm1", "conv1", "norm2", "activation", "conv2", "norm3"]
    names += [
        (rf"^fuser\.body\.branches\.(\d)\.{name}", rf"encoder.fuser.body.\1.body.{index}")
        for index, name in enumerate(order)
    ]
    theirs = published_trunk(inverter, names)
    theirs = {key: value for key, value in theirs.items() if key.startswith("encoder.")}
    torch.save({"state_dict": theirs, "latent_avg": torch.zeros(3)}, tmp_path / "phase_1.pt")
    assert take_weights(model, "inverter", tmp_path / "phase_1.pt")
    for key, value in inverter.state_dict().items():
        assert torch.equal(model.inverter.state_dict()[key], value + 1), key


def test_finishing_hands_on_directions_discriminator_and_record(folder, tmp_path):
    start = open_start(folder, None)
    save_model(start.model, tmp_path / "next")
    finish_model(tmp_path / "next", start, "inverter", 9, tiny_discriminator())
    assert read_record(tmp_path / "next") == {"e4e": 7, "inverter": 9}
    editor = Editor.from_pretrained(tmp_path / "next", device="cpu", method="e4e")
    assert [e.name for e in editor.directions.entries] == ["smile", "age"]
    assert find_discriminator(None, tmp_path / "next", SIZE) is not None


class TestDiscriminator:
    def test_comes_back_bit_for_bit(self, tmp_path):
        saved = tiny_discriminator()
        save_discriminator(saved, tmp_path)
        for found in (
            find_discriminator(None, tmp_path, SIZE),
            find_discriminator(tmp_path / "discriminator.safetensors", tmp_path / "x", SIZE),
        ):
            assert found.config == saved.config
            assert all(
                torch.equal(a, b)
                for a, b in zip(found.parameters(), saved.parameters(), strict=True)
            )

    def test_may_be_absent_unless_it_was_named(self, tmp_path):
        assert find_discriminator(None, tmp_path, SIZE) is None
        with pytest.raises(WeightsError, match="`sfe train generator` makes a discriminator"):
            find_discriminator(tmp_path, tmp_path, SIZE)

    def test_may_be_a_published_one(self, tmp_path):
        state = seeded_critic("rosinality_256")
        torch.save({"d": state}, tmp_path / "d.pt")
        found = find_discriminator(tmp_path / "d.pt", tmp_path, 256)
        assert torch.equal(found.logit.bias, state["final_linear.1.bias"])
        with pytest.raises(ConfigError, match="looks at 256 px, G draws 32"):
            find_discriminator(tmp_path / "d.pt", tmp_path, SIZE)

    def test_of_another_size_is_refused(self, tmp_path):
        save_discriminator(tiny_discriminator(), tmp_path)
        with pytest.raises(ConfigError, match="looks at 32 px, G draws 64"):
            find_discriminator(None, tmp_path, 64)

    def test_that_is_fresh_is_as_wide_as_the_generator(self):
        made = fresh_discriminator(GeneratorConfig(size=16, channel_base=64, channel_max=8))
        assert (made.config.size, made.config.channel_max) == (16, 8)


def test_own_directions_train_at_the_ends_and_middles_of_their_ranges(folder, tmp_path):
    assert own_strengths(folder)["smile"] == (-3.0, -1.5, 3.0, 1.5)
    with pytest.raises(DirectionError, match="`sfe directions fit"):
        own_strengths(tmp_path)


def test_directions_are_read_with_their_strengths(folder):
    config = tiny_model().config
    found = training_directions(folder, config, {"grin": (1.0, 2.0)})
    assert torch.equal(found[0].direction.vector, tiny_directions().entries[0].tensors["vector"])
    assert found[0].strengths == (1.0, 2.0)
    with pytest.raises(DirectionError, match="unknown direction 'beard'"):
        training_directions(folder, config, {"beard": (1.0,)})


def test_the_published_sizes_fit_other_generators():
    config = sized(ModelConfig(), GeneratorConfig(size=256, channel_base=16384))
    assert config.e4e.num_styles == config.inverter.encoder.num_styles == 14
    assert config.feature_editor.channels == config.generator.channels(64) == 256
    narrow = replace(GeneratorConfig(size=512), style_dim=128)
    assert sized(ModelConfig(), narrow).e4e.style_dim == 128
    with pytest.raises(ConfigError, match="a 32 px generator ends at 7: use --preset small"):
        sized(ModelConfig(), GeneratorConfig(size=32))
