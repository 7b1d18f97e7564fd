"""Phase 1: what the Inverter learns from, and that nothing else moves."""

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
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.training.adversary import AdversarialConfig
from stylefeatureeditor.training.image_losses import LossNetworks
from stylefeatureeditor.training.inverter import InverterPhase, InverterTrainingConfig
from stylefeatureeditor.training.losses import R1Config
from stylefeatureeditor.training.ranger import RangerConfig
from stylefeatureeditor.weights.checkpoint import load_model
from tiny import SIZE, tiny_model, tiny_photos

NO_ADVERSARY = AdversarialConfig(weight=0.0)
CONFIG = InverterTrainingConfig(
    image=PIXELS, adversarial=NO_ADVERSARY, ranger=RangerConfig(lr=2e-3)
)
WITH_ADVERSARY = replace(
    CONFIG, adversarial=AdversarialConfig(start=2, r1=R1Config(weight=1.0, every=2))
)


def make(config=CONFIG, model=None, held_out=None):
    chosen = tiny_model() if model is None else model
    return InverterPhase(config, chosen, tiny_discriminator(), LossNetworks(), held_out)


def test_loss_falls_on_one_batch():
    phase = prepared(make(replace(CONFIG, ranger=RangerConfig(lr=5e-3))))
    metrics = run_steps(phase, tiny_photos(2), 0, 10)
    assert metrics[-1]["l2"] < 0.9 * metrics[0]["l2"]
    assert metrics[-1]["loss"] < metrics[0]["loss"]


def test_only_the_inverter_moves_its_batch_norm_included():
    phase = prepared(make(WITH_ADVERSARY))
    model = phase.model
    parts = ("generator", "e4e", "feature_editor")
    before = {part: snapshot(getattr(model, part)) for part in (*parts, "inverter")}
    run_steps(phase, tiny_photos(4), 0, 4)
    for part in parts:
        assert changed(getattr(model, part), before[part]) == set()
        assert all(p.grad is None for p in getattr(model, part).parameters())
        assert not getattr(model, part).training
    moved = changed(model.inverter, before["inverter"])
    assert set(before["inverter"]) - moved == set()


def test_frozen_batch_norm_keeps_its_statistics_and_trains_its_weights():
    phase = prepared(make(replace(CONFIG, batch_norm="frozen")))
    before = snapshot(phase.model.inverter)
    run_steps(phase, tiny_photos(2), 0, 2)
    still = set(before) - changed(phase.model.inverter, before)
    statistics = {n for n in before if n.endswith(("running_mean", "running_var", "_tracked"))}
    assert still == statistics


@pytest.mark.parametrize("form", ["norm", "distance", "l1"])
@pytest.mark.parametrize("pair", ["sum", "mean"])
def test_gradient_is_that_of_the_equation_written_by_hand(pair, form):
    config = replace(
        CONFIG, pair=pair, feature_form=form, features=0.5, blend_steps=10, batch_norm="frozen"
    )
    model = tiny_model().double()
    phase = prepared(make(config, model))
    plain_gradients(phase, model.inverter.parameters())
    photos = tiny_photos(2).double()

    def loss():
        offsets, predicted = model.inverter.encoder(photos)
        codes = type(found.codes)(model.generator.latent_avg + offsets)
        code_features = model.generator.features(codes, 3)
        features = model.inverter.fuser(predicted, code_features)
        mixed = 0.6 * code_features + 0.4 * features  # step 4 of 10
        drawn = model.generator.synthesize_from(mixed, codes, 3)
        error = ((drawn - photos) ** 2).mean() + (
            (model.generator.synthesize(codes) - photos) ** 2
        ).mean()
        if form == "norm":
            held = (features**2).sum(dim=(1, 2, 3)).sqrt().mean()
        elif form == "l1":
            held = (features - code_features).abs().mean()
        else:
            held = ((features - code_features) ** 2).mean()
        return (1.0 if pair == "sum" else 0.5) * error + 0.5 * held

    with torch.no_grad():
        found = model.inverter(photos, model.generator, 3)
    chosen = [
        (model.inverter.fuser.body.merge.weight, (3, 1, 0, 0)),
        (model.inverter.encoder.styles[5].weight, (2, 7)),
        (model.inverter.encoder.trunk.stem[0].weight, (1, 2, 1, 0)),
    ]
    expected = [finite_difference(loss, p, place, 1e-5) for p, place in chosen]
    before = [p[place].item() for p, place in chosen]
    run_steps(phase, photos, 4, 5)
    steps = [old - p[place].item() for (p, place), old in zip(chosen, before, strict=True)]
    assert steps == pytest.approx(expected, rel=1e-5)
    assert min(map(abs, expected)) > 1e-5


def test_features_are_blended_in():
    config = replace(CONFIG, blend_steps=10)
    assert [config.blend(step) for step in (0, 5, 10, 99)] == [0.0, 0.5, 1.0, 1.0]
    assert CONFIG.blend(0) == 1.0
    photos = tiny_photos(2)
    phase = prepared(make(replace(config, batch_norm="frozen")))
    with torch.no_grad():
        drawn, from_codes, _, _ = phase.forward(photos, 0.0)
        assert torch.equal(drawn, from_codes)
        assert not torch.allclose(phase.forward(photos, 1.0)[0], from_codes, atol=1e-2)
    assert run_steps(phase, photos, 5, 6)[0]["blend"] == 0.5


def test_discriminator_starts_at_its_step():
    phase = prepared(make(WITH_ADVERSARY))
    photos = tiny_photos(4)
    before = snapshot(phase.adversary.discriminator)
    metrics = run_steps(phase, photos, 0, 2)
    assert changed(phase.adversary.discriminator, before) == set()
    assert "adversarial" not in metrics[-1]
    metrics = run_steps(phase, photos, 2, 3)
    assert changed(phase.adversary.discriminator, before)
    assert {"adversarial", "loss_d", "score_real"} <= metrics[0].keys()


def test_discriminator_learns_to_tell_photos_from_drawings():
    config = replace(
        CONFIG, adversarial=AdversarialConfig(lr=1e-2, r1=None), ranger=RangerConfig(lr=1e-9)
    )
    metrics = run_steps(prepared(make(config)), tiny_photos(4), 0, 8)
    assert metrics[-1]["loss_d"] < metrics[0]["loss_d"]
    assert metrics[-1]["score_real"] > metrics[-1]["score_fake"]


def test_resumes_exactly():
    assert_resumes(lambda: make(WITH_ADVERSARY), tiny_photos(4))


def test_resumes_exactly_with_a_frozen_copy_of_the_discriminator():
    image = replace(PIXELS, discriminator_features=0.5)
    phase = prepared(make(replace(WITH_ADVERSARY, image=image)))
    run_steps(phase, tiny_photos(2), 2, 3)
    state = phase.state_dict()
    ours = state["discriminator"]["logit.weight"]
    assert not torch.equal(ours, state["first_discriminator"]["logit.weight"])
    assert_resumes(lambda: make(replace(WITH_ADVERSARY, image=image)), tiny_photos(2))


def test_validates_and_shows_what_users_would_get_and_goes_on_training():
    held_out = tiny_photos(3)
    phase = prepared(make(replace(CONFIG, samples=2), held_out=held_out))
    before = snapshot(phase.model.inverter)
    metrics = phase.validate()
    assert set(metrics) == {"l2", "ssim", "l2_codes", "ssim_codes"}
    assert phase.samples().shape == (3, 3 * SIZE, 2 * SIZE)
    assert changed(phase.model.inverter, before) == set()
    assert phase.model.inverter.training
    with torch.no_grad():
        model = phase.model.eval()
        found = model.inverter(held_out, model.generator, 3)
        drawn = model.generator.synthesize_from(found.features, found.codes, 3)
    assert metrics["l2"] == pytest.approx((drawn.clamp(-1, 1) - held_out).square().mean().item())


def test_without_held_out_photos_there_is_nothing_to_validate():
    phase = prepared(make())
    assert phase.validate() == {}
    assert phase.samples() is None


def test_saves_a_model_that_loads(tmp_path):
    phase = prepared(make())
    run_steps(phase, tiny_photos(2), 0, 1)
    phase.save_model(tmp_path)
    loaded = load_model(tmp_path)
    assert changed(loaded, snapshot(phase.model)) == set()


def test_a_model_without_fuser_trains_too():
    config = tiny_model().config
    model = tiny_model(inverter=replace(config.inverter, fuser=None))
    metrics = run_steps(prepared(make(model=model)), tiny_photos(2), 0, 2)
    assert metrics[1]["loss"] != metrics[0]["loss"]


def test_refuses_negative_settings():
    with pytest.raises(ConfigError, match="blend_steps"):
        InverterTrainingConfig(blend_steps=-1)
    with pytest.raises(ConfigError, match="start"):
        AdversarialConfig(start=-1)


def test_a_run_may_begin_at_the_features_of_the_generator():
    phase = prepared(make(replace(CONFIG, begin="generator")))
    drawn, from_codes, features, code_features = phase.forward(tiny_photos(2), 1.0)
    torch.testing.assert_close(features, code_features, rtol=0, atol=0)
    torch.testing.assert_close(drawn, from_codes)
    before = snapshot(phase.model.inverter.fuser)
    run_steps(phase, tiny_photos(2), 0, 1)
    moved = changed(phase.model.inverter.fuser, before)
    assert {"body.merge.weight", "body.branches.0.norm3.weight"} <= moved
