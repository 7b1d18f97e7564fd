"""What `runs/builtin_keep.py` keeps of a run: enough to go on elsewhere, in small files."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from phase_training import prepared, tiny_discriminator
from stylefeatureeditor.generator.discriminator import DiscriminatorConfig
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.training.augment import AugmentConfig
from stylefeatureeditor.training.checkpoints import load_checkpoint, save_checkpoint
from stylefeatureeditor.training.generator import (
    GeneratorPhase,
    GeneratorTrainingConfig,
    begin_from,
)
from stylefeatureeditor.training.run_folder import (
    find_discriminator,
    finish_model,
    load_generator,
    own_strengths,
    read_record,
)
from stylefeatureeditor.weights.checkpoint import load_model
from stylefeatureeditor.weights.storage import load_tensors, save_tensors
from tiny import SIZE, tiny_editor, tiny_model

pytest.importorskip("accelerate")
pytestmark = pytest.mark.usefixtures("one_thread")

SCRIPT = Path(__file__).parents[1] / "runs" / "builtin_keep.py"


@pytest.fixture
def keeping():
    spec = importlib.util.spec_from_file_location("builtin_keep", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def generator_config(size):
    return GeneratorTrainingConfig(
        network=GeneratorConfig(
            size=size, style_dim=8, mapping_layers=2, channel_base=64, channel_max=8
        ),
        discriminator=DiscriminatorConfig(size=size, channel_base=64, channel_max=8),
        path_weight=0.0,
        augment="ada",
        ada=AugmentConfig(start=0.25),
    )


def trained(size, steps=1):
    torch.manual_seed(size)
    phase = prepared(GeneratorPhase(generator_config(size)))
    for step in range(steps):
        phase.train_step(torch.rand(4, 3, size, size) * 2 - 1, step)
    return phase


def checkpoint(run, step, state):
    save_checkpoint(run / "checkpoints", step, {"phase": state, "scaler": None}, lambda _: None, 1)


@pytest.fixture
def e4e_done(tmp_path):
    """A run in which e4e is finished; its directions and a newer D than G's are there."""
    model = tmp_path / "out" / "e4e" / "model"
    tiny_editor().save_pretrained(model)
    finish_model(model, None, "e4e", 7, tiny_discriminator())
    (model / "training.json").write_text(json.dumps({"steps": {"generator": 3, "e4e": 7}}))
    return tmp_path / "out"


def assert_halved(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        near = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(found[name].to(near.dtype), near), name


def test_a_generator_under_way_goes_on_from_its_average(keeping, tmp_path):
    phase = trained(8)
    checkpoint(tmp_path / "out" / "generator-8", 3, phase.state_dict())
    keeping.pack(tmp_path / "out", tmp_path / "keep")
    record = keeping.unpack(tmp_path / "keep", tmp_path / "new")
    assert (record["stage"], record["step"]) == ("generator-8", 3)

    step, state = load_checkpoint(tmp_path / "new" / "generator-8" / "checkpoints")
    other = prepared(GeneratorPhase(generator_config(8)))
    other.load_state_dict(state["phase"])
    assert (step, other.images_seen) == (3, 4)
    assert_halved(other.augment.state_dict(), phase.augment.state_dict())
    assert_halved(other.discriminator.state_dict(), phase.discriminator.state_dict())
    for network in (other.generator, other.average):
        assert_halved(network.state_dict(), phase.average.state_dict())
    assert not other.generator_optimizer.state_dict()["state"]
    assert other.train_step(torch.rand(4, 3, 8, 8) * 2 - 1, step)["loss_d"] > 0


def test_a_finished_generator_is_grown_from_and_then_left_behind(keeping, tmp_path):
    phase = trained(8)
    out, run = tmp_path / "out", tmp_path / "out" / "generator-8"
    (run / "model").mkdir(parents=True)
    phase.save_model(run / "model")
    finish_model(run / "model", None, "generator", 3, phase.discriminator)
    keeping.pack(out, tmp_path / "keep")
    keeping.unpack(tmp_path / "keep", tmp_path / "new")
    model = tmp_path / "new" / "generator-8" / "model"
    assert_halved(
        load_generator(model / "generator.safetensors").state_dict(), phase.average.state_dict()
    )
    step, state = load_checkpoint(tmp_path / "new" / "generator-8" / "checkpoints")
    assert step == 3
    larger = prepared(begin_from(state["phase"], generator_config(16)))

    checkpoint(out / "generator-16", 1, larger.state_dict())
    keeping.pack(out, tmp_path / "keep")
    keeping.unpack(tmp_path / "keep", tmp_path / "newer")
    assert read_record(tmp_path / "newer" / "generator-8" / "model") == {"generator": 3}
    assert [p.name for p in (tmp_path / "newer").glob("generator-8/*/*")] == ["training.json"]


def test_a_phase_under_way_finds_its_model_and_the_newest_discriminator(
    keeping, e4e_done, tmp_path
):
    model, first = tiny_model(), tiny_discriminator()
    newer = {name: tensor + 1 for name, tensor in first.state_dict().items()}
    moments = {"step": 7, "exp_avg": torch.ones(2)}
    state = {
        "inverter": model.inverter.state_dict(),
        "discriminator": newer,
        "first_discriminator": first.state_dict(),
        "optimizer": {"state": {0: moments}, "param_groups": [{"lr": 0.1, "params": [0]}]},
    }
    checkpoint(e4e_done / "inverter", 9, state)
    keeping.pack(e4e_done, tmp_path / "keep")
    keeping.unpack(tmp_path / "keep", tmp_path / "new")

    folder = tmp_path / "new" / "e4e" / "model"
    loaded = load_model(folder)
    for name in ("generator", "e4e"):
        assert_halved(getattr(loaded, name).state_dict(), getattr(model, name).state_dict())
    assert read_record(folder) == {"generator": 3, "e4e": 7}
    assert own_strengths(folder) == own_strengths(e4e_done / "e4e" / "model")
    assert_halved(find_discriminator(None, folder, SIZE).state_dict(), newer)

    step, kept = load_checkpoint(tmp_path / "new" / "inverter" / "checkpoints")
    assert step == 9
    assert_halved(kept["phase"]["inverter"], model.inverter.state_dict())
    for name in ("discriminator", "first_discriminator"):
        assert_halved(kept["phase"][name], newer)
    groups = [{"lr": 0.1, "params": [0], "before": 7}]
    assert kept["phase"]["optimizer"] == {"state": {}, "param_groups": groups}


def test_e4e_under_way_looks_through_the_discriminator_of_its_generator(keeping, tmp_path):
    phase = trained(8)
    run = tmp_path / "out" / "generator-8"
    (run / "model").mkdir(parents=True)
    phase.save_model(run / "model")
    finish_model(run / "model", None, "generator", 3, phase.discriminator)
    state = {"e4e": {"a": torch.ones(2)}, "first_discriminator": {"b": torch.ones(2)}}
    checkpoint(tmp_path / "out" / "e4e", 2, state)
    keeping.pack(tmp_path / "out", tmp_path / "keep")
    keeping.unpack(tmp_path / "keep", tmp_path / "new")
    _, kept = load_checkpoint(tmp_path / "new" / "e4e" / "checkpoints")
    assert_halved(kept["phase"]["first_discriminator"], phase.discriminator.state_dict())


def test_untrained_networks_take_no_room(keeping, e4e_done, tmp_path):
    keeping.pack(e4e_done, tmp_path / "keep")
    tensors, _ = load_tensors(tmp_path / "keep" / "part-1.safetensors")
    files = {name.partition(":")[0] for name in tensors}
    kept = ("directions", "discriminator", "e4e", "generator")
    assert files == {f"e4e/model/{name}.safetensors" for name in kept}


def test_files_are_small_and_older_ones_go(keeping, e4e_done, tmp_path, monkeypatch):
    keep = tmp_path / "keep"
    monkeypatch.setattr(keeping, "PART_BYTES", 20_000)
    keeping.pack(e4e_done, keep)
    parts = sorted(keep.iterdir())
    assert 1 < len(parts) <= keeping.MOST_PARTS
    for part in parts:
        assert sum(t.nbytes for t in load_tensors(part)[0].values()) <= 20_000
    keeping.unpack(keep, tmp_path / "new")
    monkeypatch.setattr(keeping, "PART_BYTES", 10_000_000)
    keeping.pack(e4e_done, keep)
    assert [part.name for part in keep.iterdir()] == ["part-1.safetensors"]
    monkeypatch.setattr(keeping, "PART_BYTES", 1_000)
    with pytest.raises(SystemExit, match="more than 8"):
        keeping.pack(e4e_done, keep)


def test_files_of_two_saves_are_refused(keeping, e4e_done, tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "PART_BYTES", 20_000)
    for folder in ("one", "two"):
        keeping.pack(e4e_done, tmp_path / folder)
    (tmp_path / "one" / "part-2.safetensors").replace(tmp_path / "two" / "part-2.safetensors")
    with pytest.raises(SystemExit, match="not of the same save"):
        keeping.unpack(tmp_path / "two", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_no_file_outside_the_run_is_written(keeping, tmp_path):
    record = {"done": {}, "stage": None, "texts": {"../model/a.json": {}}, "files": {}}
    header = {"set": "a", "parts": "1", "record": json.dumps(record)}
    (tmp_path / "keep").mkdir()
    save_tensors(tmp_path / "keep" / "part-1.safetensors", {"a": torch.ones(1)}, header)
    with pytest.raises(SystemExit, match=r"no run has: \.\./model"):
        keeping.unpack(tmp_path / "keep", tmp_path / "new")
