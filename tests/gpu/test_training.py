"""Every phase on a GPU: no step waits for it, and a run waits where it writes a line."""

from dataclasses import replace

import pytest
import torch

from fake_gpu import FakeGpu
from phase_training import PIXELS, tiny_discriminator
from seeded import draw
from stylefeatureeditor.data.attribute_table import AttributeTable
from stylefeatureeditor.data.images import open_images
from stylefeatureeditor.editing.direction import EditDirection
from stylefeatureeditor.metrics.attribute_classifier import (
    AttributeClassifier,
    AttributeClassifierConfig,
)
from stylefeatureeditor.training.attribute_edits import AttributeEditConfig
from stylefeatureeditor.training.attributes import AttributePhase, AttributeTrainingConfig
from stylefeatureeditor.training.e4e import E4ePhase, E4eTrainingConfig, LatentDiscriminatorConfig
from stylefeatureeditor.training.edit_pairs import TrainingDirection
from stylefeatureeditor.training.feature_editor import EditorPhase, EditorTrainingConfig
from stylefeatureeditor.training.generator import GeneratorPhase, GeneratorTrainingConfig
from stylefeatureeditor.training.image_losses import LossNetworks
from stylefeatureeditor.training.inverter import InverterPhase, InverterTrainingConfig
from stylefeatureeditor.training.loop import LoopConfig, make_accelerator
from tiny import SIZE, WIDTH, tiny_model, tiny_photos
from toy_training import SIDE, ToyPhase, run, toy_config, write_pictures

pytest.importorskip("accelerate")
pytestmark = pytest.mark.usefixtures("one_thread")
ALL_LOSSES = replace(
    PIXELS, l1=1.0, pyramid=0.5, structure=0.5, discriminator_features=0.5, attribute_features=0.5
)
PHASES = ("generator", "diff", "e4e", "inverter", "editor", "attributes")


@pytest.fixture(autouse=True)
def _own_state():
    from accelerate import PartialState

    PartialState._reset_state()  # it would keep the device of the test before
    yield
    PartialState._reset_state()


def classifier():
    config = AttributeClassifierConfig(
        size=SIZE, channels=(4, 4, 6, 8), depths=(1, 1, 1, 1), attributes=("Smiling", "Young")
    )
    return AttributeClassifier(config)


def make_phase(name):
    """Return a phase with all that it may do at a step."""
    held_out = tiny_photos(3)
    networks = LossNetworks(attributes=classifier())
    if name in ("generator", "diff"):
        config = GeneratorTrainingConfig(
            network=tiny_model().config.generator,
            discriminator=tiny_discriminator().config,
            samples=2,
            path_every=1,
            r1_every=1,
            augment="diff" if name == "diff" else "ada",
        )
        return GeneratorPhase(config, held_out)
    if name == "e4e":
        latent = LatentDiscriminatorConfig(pool_size=4)
        config = E4eTrainingConfig(image=ALL_LOSSES, latent=latent, progressive_every=0)
        return E4ePhase(config, tiny_model(), networks, tiny_discriminator(), held_out)
    if name == "inverter":
        config = InverterTrainingConfig(image=ALL_LOSSES, blend_steps=9)
        config = replace(config, adversarial=replace(config.adversarial, start=0))
        return InverterPhase(config, tiny_model(), tiny_discriminator(), networks, held_out)
    if name == "editor":
        smile = EditDirection.linear(draw("test.smile", (WIDTH,)), "smile")
        directions = [TrainingDirection(smile, (-1.0, 2.0), "Smiling")]
        asked = AttributeEditConfig(weight=1.0, realism=1.0)
        config = EditorTrainingConfig(edit=ALL_LOSSES, inversion=ALL_LOSSES, attributes=asked)
        discriminator = tiny_discriminator()
        return EditorPhase(config, tiny_model(), directions, discriminator, networks, held_out)
    table = AttributeTable(("a", "b", "c"), ("x",), torch.tensor([[1.0], [-1.0], [0.0]]))
    config = AttributeTrainingConfig(network=replace(classifier().config, attributes=("x",)))
    return AttributePhase(config, table, held_out, table)


@pytest.mark.parametrize("kind", ["cuda", "mps"])
@pytest.mark.parametrize("name", PHASES)
def test_a_step_waits_for_nothing(kind, name):
    with FakeGpu(kind) as gpu:
        photos, phase = tiny_photos(4).to(kind), make_phase(name)
        phase.prepare(make_accelerator(LoopConfig(precision="fp32")))
        labels = () if phase.labels is None else (phase.labels[[0, 1, 2, 0]],)
        found = [phase.train_step(photos, step, *labels) for step in range(2)]
        with gpu.counting() as waits:
            found += [phase.train_step(photos, step, *labels) for step in (2, 3)]
        # MPS has no page-locked memory: what is drawn on the CPU is copied
        assert not [wait for wait in waits if kind == "cuda" or "copy to the GPU" not in wait]
        assert all(torch.as_tensor(x).isfinite() for each in found for x in each.values())
        assert phase.validate()
        phase.samples()
        phase.load_state_dict(phase.state_dict())
        phase.train_step(photos, 4, *labels)


def test_a_run_waits_once_a_line_of_its_log(tmp_path):
    write_pictures(tmp_path / "images", 8)
    config = toy_config(
        device="auto", steps=20, log_every=5, sample_every=0, validate_every=0, save_every=20
    )
    with FakeGpu("cuda") as gpu:
        run(ToyPhase(), config, open_images(tmp_path / "images", SIDE), tmp_path / "run")
    assert [n for wait, n in gpu.waits.items() if "tolist" in wait] == [4]
    assert max(gpu.waits.values()) < config.steps  # the others are of moving and saving
