"""Phase 2: what the Feature Editor learns from, and that nothing else moves."""

from dataclasses import replace

import pytest
import torch

from phase_training import (
    PIXELS,
    assert_resumes,
    changed,
    finite_difference,
    plain_gradients,
    prepared,
    run_steps,
    snapshot,
    tiny_discriminator,
)
from seeded import draw
from stylefeatureeditor.editing.direction import EditDirection
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.methods.sfe import Sfe
from stylefeatureeditor.metrics.attribute_classifier import (
    AttributeClassifier,
    AttributeClassifierConfig,
)
from stylefeatureeditor.records import Codes
from stylefeatureeditor.training import attribute_edits
from stylefeatureeditor.training.adversary import AdversarialConfig
from stylefeatureeditor.training.attribute_edits import AttributeEditConfig
from stylefeatureeditor.training.edit_pairs import TrainingDirection
from stylefeatureeditor.training.feature_editor import EditorPhase, EditorTrainingConfig
from stylefeatureeditor.training.image_losses import LossNetworks
from stylefeatureeditor.training.losses import R1Config
from stylefeatureeditor.training.ranger import RangerConfig
from stylefeatureeditor.weights.checkpoint import load_model
from tiny import FEATURE_LAYER, SIZE, WIDTH, tiny_cars_model, tiny_model, tiny_photos

SMILE = EditDirection.linear(draw("test.smile", (WIDTH,)), "smile")
AGE = EditDirection.linear(draw("test.age", (WIDTH,)), "age")
SMILE_BRINGS = TrainingDirection(SMILE, (-1.0, 2.0), "Smiling")
DIRECTIONS = (TrainingDirection(SMILE, (-1.0, 2.0)), TrainingDirection(AGE, (0.5,)))
CONFIG = EditorTrainingConfig(
    edit=PIXELS,
    inversion=PIXELS,
    adversarial=AdversarialConfig(weight=0.0),
    ranger=RangerConfig(lr=2e-3),
)
WITH_ADVERSARY = replace(CONFIG, adversarial=AdversarialConfig(r1=R1Config(weight=1.0, every=2)))


def make(config=CONFIG, model=None, directions=DIRECTIONS, held_out=None):
    chosen = tiny_model() if model is None else model
    networks = LossNetworks()
    return EditorPhase(config, chosen, directions, tiny_discriminator(), networks, held_out)


def test_both_losses_fall_on_one_batch():
    phase = prepared(make(directions=DIRECTIONS[1:]))
    metrics = run_steps(phase, tiny_photos(4), 0, 15)
    assert metrics[-1]["loss_edit"] < 0.9 * metrics[0]["loss_edit"]
    assert metrics[-1]["loss_inversion"] < 0.9 * metrics[0]["loss_inversion"]


def test_only_the_feature_editor_moves_its_batch_norm_included():
    phase = prepared(make(WITH_ADVERSARY))
    model = phase.model
    parts = ("generator", "e4e", "inverter")
    before = {part: snapshot(getattr(model, part)) for part in (*parts, "feature_editor")}
    run_steps(phase, tiny_photos(4), 0, 3)
    for part in parts:
        assert changed(getattr(model, part), before[part]) == set()
        assert all(p.grad is None for p in getattr(model, part).parameters())
        assert not getattr(model, part).training
    moved = changed(model.feature_editor, before["feature_editor"])
    assert moved == set(before["feature_editor"])


def test_layer_that_brings_delta_to_the_features_trains_too():
    phase = prepared(make(model=tiny_cars_model()))
    before = snapshot(phase.model.delta_downsampler)
    run_steps(phase, tiny_photos(4), 0, 2)
    assert changed(phase.model.delta_downsampler, before) == set(before)


def test_gradient_is_that_of_the_equations_written_by_hand():
    config = replace(CONFIG, edit_weight=0.7, inversion_weight=1.3, batch_norm="frozen")
    model = tiny_model().double()
    phase = prepared(make(config, model, DIRECTIONS[1:]))  # age by 0.5, whatever the step
    plain_gradients(phase, model.feature_editor.parameters())
    photos, generator, k = tiny_photos(2).double(), model.generator, FEATURE_LAYER
    shift = 0.5 * AGE.vector.double()

    def inverted(pixels):
        offsets, predicted = model.inverter.encoder(pixels)
        wplus = generator.latent_avg + offsets
        return wplus, model.inverter.fuser(predicted, generator.features(Codes(wplus), k))

    def loss():
        before = generator.latent_avg + model.e4e(photos)
        source, target = (generator.synthesize(Codes(w)) for w in (before, before + shift))
        delta = generator.features(Codes(before), k) - generator.features(Codes(before + shift), k)
        wplus, features = inverted(source)
        changed_features = model.feature_editor(features, delta)
        edited = generator.synthesize_from(changed_features, Codes(wplus + shift), k)
        wplus, features = inverted(photos)
        redrawn = generator.synthesize_from(
            model.feature_editor(features, torch.zeros_like(features)), Codes(wplus), k
        )
        return 0.7 * ((edited - target) ** 2).mean() + 1.3 * ((redrawn - photos) ** 2).mean()

    body = model.feature_editor.body
    chosen = [
        (body.merge.weight, (3, 1, 0, 0)),  # reads F_k
        (body.merge.weight, (3, 20, 0, 0)),  # reads Delta
        (body.branches[1].conv2.weight, (4, 2, 1, 1)),
    ]
    expected = [finite_difference(loss, p, place, 1e-5) for p, place in chosen]
    before = [p[place].item() for p, place in chosen]
    run_steps(phase, photos, 0, 1)
    steps = [old - p[place].item() for (p, place), old in zip(chosen, before, strict=True)]
    assert steps == pytest.approx(expected, rel=1e-5)
    assert min(map(abs, expected)) > 1e-6


def test_each_step_has_its_own_direction_and_strength_and_all_occur():
    phase = make()
    chosen = [phase.choose(step) for step in range(60)]
    again = make()
    assert chosen == [again.choose(step) for step in range(60)]
    seen = {(of.direction.name, strength) for of, strength in chosen}
    assert seen == {("smile", -1.0), ("smile", 2.0), ("age", 0.5)}
    other = make(replace(CONFIG, seed=1))
    assert [other.choose(step) for step in range(60)] != chosen


@pytest.mark.parametrize("model", [tiny_model(), tiny_cars_model()], ids=["faces", "cars"])
def test_training_draws_what_the_pipeline_draws(model):
    photos = tiny_photos(2)
    phase = prepared(make(model=model))
    with phase.shown(), torch.no_grad():
        edited, _ = phase._edit(photos, SMILE, 2.0)
    model.eval()
    pipeline = Sfe(model)
    source = model.generator.synthesize(Codes(model.generator.latent_avg + model.e4e(photos)))
    inversion = pipeline.invert(source)
    inversion.encoder_pixels = photos  # in training Delta comes from X, not from X_E
    torch.testing.assert_close(edited, pipeline.edit(inversion, {SMILE: 2.0}), rtol=1e-4, atol=1e-4)


def test_without_e_training_runs_on_the_inverters_codes():
    phase = prepared(make(replace(CONFIG, edit_codes="inverter")))
    metrics = run_steps(phase, tiny_photos(2), 0, 1)[0]
    assert metrics["loss_edit"] != run_steps(prepared(make()), tiny_photos(2), 0, 1)[0]["loss_edit"]


def asked(directions=DIRECTIONS, model=None, config=CONFIG, **weights):
    """A phase that asks a classifier of random weights."""
    torch.manual_seed(3)
    classifier = AttributeClassifier(
        AttributeClassifierConfig(attributes=("Smiling", "Young"), size=SIZE, channels=(4,) * 4)
    )
    chosen = tiny_model() if model is None else model
    classifier.to(chosen.generator.latent_avg.dtype)
    config = replace(config, attributes=AttributeEditConfig(**weights))
    networks = LossNetworks(attributes=classifier)
    discriminator = tiny_discriminator().to(chosen.generator.latent_avg.dtype)
    return EditorPhase(config, chosen, directions, discriminator, networks)


@pytest.mark.parametrize("realism", [0.0, 0.6])
def test_gradient_of_what_a_classifier_is_asked(monkeypatch, realism):
    monkeypatch.setattr(attribute_edits, "varied", lambda *versions: list(versions))
    monkeypatch.setattr(attribute_edits, "inside", lambda images: images)
    model, photos = tiny_model().double(), tiny_photos(2).double()
    config = WITH_ADVERSARY if realism else CONFIG
    config = replace(config, inversion_weight=0.0, edit_weight=1e-12, batch_norm="frozen")
    half = TrainingDirection(SMILE, (1.0, 1.0, -2.0), "-Smiling")  # 1 is its side's end
    weights = {"weight": 0.3, "others": 0.0, "near": 7.0, "realism": realism}
    phase = prepared(asked((half,), model, config, **weights))
    plain_gradients(phase, model.feature_editor.parameters())
    step = next(step for step in range(20) if phase.choose(step)[1] == 1.0)
    classifier, generator, k = phase.attribute_loss.classifier, model.generator, FEATURE_LAYER
    shift = SMILE.vector.double()

    def loss():
        before = generator.latent_avg + model.e4e(photos)
        delta = generator.features(Codes(before), k) - generator.features(Codes(before + shift), k)
        offsets, predicted = model.inverter.encoder(photos)
        wplus = generator.latent_avg + offsets
        features = model.inverter.fuser(predicted, generator.features(Codes(wplus), k))
        changed_features = model.feature_editor(features, delta)
        edited = generator.synthesize_from(changed_features, Codes(wplus + shift), k)
        said = classifier(edited)[:, 0]
        flip = torch.nn.functional.softplus(2 + said).mean()  # reach 2, and away from Smiling
        real = torch.nn.functional.softplus(-phase.adversary.discriminator(edited)).mean()
        return 0.3 * (flip + 7 * attribute_edits.change(edited - photos) + realism * real)

    merge = model.feature_editor.body.merge.weight
    chosen = [(merge, (3, 1, 0, 0)), (merge, (3, 20, 0, 0))]
    expected = [finite_difference(loss, p, place, 1e-6) for p, place in chosen]
    before = [p[place].item() for p, place in chosen]
    metrics = run_steps(phase, photos, step, step + 1)[0]
    steps = [old - p[place].item() for (p, place), old in zip(chosen, before, strict=True)]
    assert steps == pytest.approx(expected, rel=1e-4)
    assert min(map(abs, expected)) > 1e-6
    assert metrics["loss"] == pytest.approx(metrics["loss_attributes"], rel=1e-6)
    assert ("loss_d" in metrics) == bool(realism)  # D sees the edits that it is asked of
    parts = (classifier, generator, model.e4e)
    assert all(p.grad is None for part in parts for p in part.parameters())


def test_edits_and_inversions_take_turns_before_d(monkeypatch):
    phase = prepared(asked((SMILE_BRINGS,), config=WITH_ADVERSARY, weight=0.3, realism=1.0))
    drawn, shown, ask = [], [], phase.adversary.ask
    monkeypatch.setattr(phase.adversary, "ask", lambda x: drawn.append(x.detach()) or ask(x))
    monkeypatch.setattr(phase.adversary, "train", lambda *args: shown.append(args[1]) or {})
    run_steps(phase, tiny_photos(4), 0, 1)
    edits, inversions = drawn
    assert torch.equal(shown[0][0::2], edits)
    assert torch.equal(shown[0][1::2], inversions)
    assert not torch.equal(edits, inversions)


def test_resumes_exactly_where_d_is_asked_about_edits():
    def fresh():
        return asked((SMILE_BRINGS,), config=WITH_ADVERSARY, weight=0.3, realism=1.0)

    assert_resumes(fresh, tiny_photos(2), step=2)


def test_a_direction_without_attribute_is_not_asked_about():
    phase = prepared(asked((SMILE_BRINGS, DIRECTIONS[1]), weight=0.3))
    metrics = run_steps(phase, tiny_photos(2), 0, 12)
    asked_about = ["loss_attributes" in row for row in metrics]
    named = [phase.choose(step)[0].attribute == "Smiling" for step in range(12)]
    assert asked_about == named
    assert set(named) == {True, False}


def test_asking_needs_a_classifier_that_knows_and_an_edit():
    weights = AttributeEditConfig(weight=0.3)
    with pytest.raises(ConfigError, match="sfe train attributes"):
        make(replace(CONFIG, attributes=weights))
    with pytest.raises(ConfigError, match="edit_weight cannot be 0"):
        replace(CONFIG, attributes=weights, edit_weight=0.0)
    for weighs in (CONFIG, WITH_ADVERSARY):
        unheard = weights if weighs is CONFIG else AttributeEditConfig()
        with pytest.raises(ConfigError, match="asks D about edits"):
            replace(weighs, attributes=replace(unheard, realism=1.0))
    with pytest.raises(ConfigError, match="no direction names its attribute"):
        asked(weight=0.3)
    with pytest.raises(ConfigError, match="knows no attribute 'Old'"):
        asked((replace(DIRECTIONS[1], attribute="-Old"),), weight=0.3)


@pytest.mark.parametrize(("strength", "share"), [(2.0, 1.0), (-1.0, -1.0), (1.0, 0.5)])
def test_a_strength_is_a_share_of_its_side_of_the_range(strength, share):
    assert TrainingDirection(SMILE, (-1.0, 2.0, 1.0)).share(strength) == share


def test_without_inversion_loss_neither_it_nor_the_discriminator_runs():
    phase = prepared(make(replace(WITH_ADVERSARY, inversion_weight=0.0)))
    before = snapshot(phase.adversary.discriminator)
    metrics = run_steps(phase, tiny_photos(2), 0, 2)[1]
    assert "loss_inversion" not in metrics
    assert metrics["loss"] == metrics["loss_edit"]
    assert changed(phase.adversary.discriminator, before) == set()


def test_discriminator_starts_at_its_step():
    late = replace(WITH_ADVERSARY, adversarial=AdversarialConfig(start=1))
    first, second = run_steps(prepared(make(late)), tiny_photos(2), 0, 2)
    assert "adversarial" not in first
    assert {"adversarial", "loss_d"} <= second.keys()


@pytest.mark.parametrize("model", [tiny_model, tiny_cars_model], ids=["faces", "cars"])
def test_resumes_exactly(model):
    assert_resumes(lambda: make(WITH_ADVERSARY, model()), tiny_photos(2), step=2)


def test_validates_and_shows_and_goes_on_training():
    held_out = tiny_photos(3)
    phase = prepared(make(replace(CONFIG, samples=2), held_out=held_out))
    before = snapshot(phase.model)
    metrics = phase.validate()
    assert set(metrics) == {"l2", "ssim", "l2_e4e", "ssim_e4e", "l2_edit", "ssim_edit"}
    assert phase.samples().shape == (3, 4 * SIZE, 2 * SIZE)
    assert changed(phase.model, before) == set()
    assert phase.model.feature_editor.training
    pipeline = Sfe(phase.model.eval())
    drawn = pipeline.reconstruct(pipeline.invert(held_out)).clamp(-1, 1)
    assert metrics["l2"] == pytest.approx((drawn - held_out).square().mean().item(), rel=1e-4)


def test_saves_a_model_that_loads(tmp_path):
    phase = prepared(make())
    run_steps(phase, tiny_photos(2), 0, 1)
    phase.save_model(tmp_path)
    assert changed(load_model(tmp_path), snapshot(phase.model)) == set()


def test_refuses_what_cannot_be_trained():
    with pytest.raises(ConfigError, match="at least one direction"):
        make(directions=())
    with pytest.raises(ConfigError, match="both be 0"):
        EditorTrainingConfig(edit_weight=0.0, inversion_weight=0.0)


def test_a_run_may_begin_at_the_difference_of_the_features():
    phase = prepared(make(replace(CONFIG, begin="difference")))
    editor = phase.model.feature_editor
    features, delta = (draw(f"test.{name}", (2, 16, 8, 8)) for name in ("features", "delta"))
    for mode in (editor.eval(), editor.train()):
        torch.testing.assert_close(mode(features, delta), features - delta)
    before = snapshot(editor)
    run_steps(phase, tiny_photos(2), 0, 1)
    moved = changed(editor, before)
    assert {"body.merge.weight", "body.branches.0.norm3.weight"} <= moved
