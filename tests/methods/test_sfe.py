"""SFE: Eq. 1-7 on tensors, and that nothing known is computed again."""

import copy
import pickle
from collections import Counter
from contextlib import contextmanager

import pytest
import torch

from seeded import draw
from stylefeatureeditor.editing.delta import masked
from stylefeatureeditor.editing.direction import EditDirection, PcaDirection, StyleSpaceDirection
from stylefeatureeditor.errors import DirectionError, MaskError, PhotoError, ShapeError
from stylefeatureeditor.inversion.record import Inversion
from stylefeatureeditor.methods.sfe import Sfe
from stylefeatureeditor.records import Codes
from tiny import FEATURE_LAYER, SIZE, STYLES, WIDTH, tiny_cars_model, tiny_model, tiny_photos

pytestmark = pytest.mark.usefixtures("one_thread")

SMILE = EditDirection.linear(draw("sfe.smile", (WIDTH,)), "smile")
AGE = EditDirection.linear(draw("sfe.age", (STYLES, WIDTH)), "age")
PCA = PcaDirection(
    "axis",
    component=torch.nn.functional.normalize(draw("sfe.axis", (WIDTH,)), dim=0),
    mean=draw("sfe.mean", (WIDTH,)),
    std=0.5,
    layers=(2, 6),
)


@pytest.fixture(scope="module", params=["faces", "cars"])
def sfe(request):
    return Sfe(tiny_model() if request.param == "faces" else tiny_cars_model())


@pytest.fixture(scope="module")
def channel(sfe):
    layout = sfe.model.config.generator.style_layout()
    return StyleSpaceDirection.of_channels("channel", ((2, 5), (3, 1), (9, 2)), layout)


def assert_close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-5)


@contextmanager
def counted(model):
    """Count, while the block runs, the calls of E, I and H and the rows that layers see."""
    seen, hooks = Counter(), []

    def count(module, name, *, rows):
        def hook(_module, inputs, _output):
            seen[name] += len(inputs[0]) if rows else 1
            seen[f"{name} calls"] += rows

        hooks.append(module.register_forward_hook(hook))

    for name in ("e4e", "inverter", "feature_editor"):
        count(getattr(model, name), name, rows=False)
    count(model.generator.layers[0], "low", rows=True)
    count(model.generator.layers[-1], "high", rows=True)
    yield seen
    for hook in hooks:
        hook.remove()


def by_hand(model, photos, directions, region=None):
    """Eq. 1-7 in their plainest form: every pass on its own, photo by photo."""
    config, generator = model.config, model.generator
    k, layer = config.feature_layer, config.delta_layer
    edited = []
    with torch.no_grad():
        for photo in photos.split(1):
            output = model.inverter(photo, generator, k)
            w, w_e = output.codes, Codes(generator.latent_avg + model.e4e(photo))
            after, after_e = w, w_e
            for direction, strength in directions.items():
                after = after + direction.shift(w, strength)
                after_e = after_e + direction.shift(w_e, strength)
            delta = generator.features(w_e, layer) - generator.features(after_e, layer)
            if model.delta_downsampler is not None:
                delta = model.delta_downsampler(delta)
            if region is not None:
                delta = masked(delta, region)
            features = model.feature_editor(output.features, delta)
            edited.append(generator.synthesize_from(features, after, k))
    return torch.cat(edited)


def test_an_inversion_is_the_decoded_reconstruction(sfe):
    model = sfe.model
    inversion = sfe.invert(tiny_photos(2))
    output = model.inverter(tiny_photos(2), model.generator, FEATURE_LAYER)
    assert inversion.pixels is None
    assert inversion.anchor is None
    assert_close(inversion.codes.wplus, output.codes.wplus)
    assert_close(inversion.features, output.features)
    features = model.feature_editor(output.features, torch.zeros_like(output.features))
    expected = model.generator.synthesize_from(features, output.codes, FEATURE_LAYER)
    assert_close(sfe.reconstruct(inversion), expected)


def test_an_edit_is_equations_5_to_7(sfe, channel):
    for directions in (
        {SMILE: 2.0},
        {SMILE: -1.0, AGE: 0.5},
        {channel: 1.5},
        {PCA: -2.0, channel: -1.0, AGE: 1.0},
    ):
        edited = sfe.edit(sfe.invert(tiny_photos(2)), directions)
        assert_close(edited, by_hand(sfe.model, tiny_photos(2), directions))
        plain = sfe.reconstruct(sfe.invert(tiny_photos(2)))
        assert (edited - plain).abs().mean() > 0.05


def test_inverting_does_not_run_e_and_draws_w_once(sfe):
    with counted(sfe.model) as seen:
        inversion = sfe.invert(tiny_photos(2))
        first = sfe.reconstruct(inversion)
        assert sfe.reconstruct(inversion) is first
    assert seen["e4e"] == 0
    assert seen["inverter"] == seen["feature_editor"] == seen["low calls"] == 1
    assert seen["low"] == seen["high"] == 2


def test_the_first_edit_runs_e_once_and_every_distinct_code_once(sfe):
    inversion = sfe.invert(tiny_photos(2))
    is_cars = sfe.model.delta_downsampler is not None
    with counted(sfe.model) as seen:
        sfe.edit(inversion, {SMILE: 1.0, AGE: 2.0})
    assert seen["inverter"] == 0
    assert seen["e4e"] == seen["feature_editor"] == 1
    assert seen["low"] == 2 * 3  # w', w_E and w_E'; not w
    assert seen["low calls"] == (2 if is_cars else 1)
    assert seen["high"] == 2


def test_a_second_edit_runs_neither_e_nor_i_nor_the_known_codes(sfe):
    inversion = sfe.invert(tiny_photos(2))
    sfe.edit(inversion, {SMILE: 1.0})
    is_cars = sfe.model.delta_downsampler is not None
    with counted(sfe.model) as seen:
        second = sfe.edit(inversion, {AGE: -2.0})
    assert seen["e4e"] == seen["inverter"] == 0
    assert seen["low"] == 2 * 2  # w' and w_E'
    assert seen["low calls"] == (2 if is_cars else 1)
    assert_close(second, by_hand(sfe.model, tiny_photos(2), {AGE: -2.0}))


def test_a_found_anchor_is_the_one_of_an_edit(sfe):
    edited, found = (sfe.invert(tiny_photos(2)) for _ in range(2))
    sfe.edit(edited, {SMILE: 1.0})
    with counted(sfe.model) as seen:
        sfe.find_anchor(found)
        sfe.find_anchor(found)
    assert seen["e4e"] == 1
    assert_close(found.anchor.codes.wplus, edited.anchor.codes.wplus)
    assert_close(found.anchor.features, edited.anchor.features)


def test_several_edits_act_through_one_delta(sfe):
    """Not through the sum of two Deltas: the generator is not linear."""
    inversion = sfe.invert(tiny_photos())
    with counted(sfe.model) as seen:
        both = sfe.edit(inversion, {SMILE: 2.0, AGE: 1.0})
    assert seen["feature_editor"] == 1
    summed = EditDirection.linear(2 * SMILE.vector + AGE.vector)
    assert_close(both, sfe.edit(inversion, {summed: 1.0}))


def test_the_order_of_edits_does_not_matter(sfe, channel):
    inversion = sfe.invert(tiny_photos())
    edits = [(SMILE, 2.0), (PCA, 1.0), (channel, -1.0)]
    assert_close(sfe.edit(inversion, dict(edits)), sfe.edit(inversion, dict(reversed(edits))))


def test_no_edit_is_the_inversion(sfe):
    inversion = sfe.invert(tiny_photos(2))
    with counted(sfe.model) as seen:
        assert sfe.edit(inversion, {}) is sfe.reconstruct(inversion)
    assert seen["e4e"] == 0
    if sfe.model.delta_downsampler is None:  # which makes something of a Delta of zero too
        assert_close(sfe.edit(inversion, {SMILE: 0.0}), inversion.pixels)


def test_a_region_of_ones_is_no_region(sfe):
    inversion = sfe.invert(tiny_photos(2))
    free = sfe.edit(inversion, {SMILE: 2.0})
    for region in (torch.ones(1, 1, SIZE, SIZE), torch.ones(2, 1, 8, 8, dtype=torch.bool)):
        assert_close(sfe.edit(inversion, {SMILE: 2.0}, region), free)


def test_a_region_of_zeros_empties_delta_but_the_codes_still_move(sfe):
    inversion = sfe.invert(tiny_photos())
    kept = sfe.edit(inversion, {SMILE: 2.0}, torch.zeros(1, 1, SIZE, SIZE))
    model = sfe.model
    features = model.feature_editor(inversion.features, torch.zeros_like(inversion.features))
    moved = SMILE.apply(inversion.codes, 2.0)
    assert_close(kept, model.generator.synthesize_from(features, moved, FEATURE_LAYER))
    assert not torch.allclose(kept, sfe.reconstruct(inversion), atol=0.1)
    assert not torch.allclose(kept, sfe.edit(inversion, {SMILE: 2.0}), atol=0.1)


def test_a_region_keeps_delta_to_its_part(sfe):
    half = torch.zeros(2, 1, SIZE, SIZE)
    half[0, :, : SIZE // 2] = 1
    inversion = sfe.invert(tiny_photos(2))
    edited = sfe.edit(inversion, {AGE: 1.0}, half)
    for row in (0, 1):
        photo = tiny_photos(2)[row : row + 1]
        alone = by_hand(sfe.model, photo, {AGE: 1.0}, half[row : row + 1])
        assert_close(edited[row : row + 1], alone)


def test_several_strengths_are_separate_edits(sfe, channel):
    strengths = torch.tensor([-2.0, 0.0, 1.5])
    for direction in (SMILE, PCA, channel):
        edits = {direction: strengths, AGE: 0.5}
        together = sfe.edit(sfe.invert(tiny_photos()), edits)
        alone = sfe.invert(tiny_photos())
        for row, strength in enumerate(strengths.tolist()):
            edited = sfe.edit(alone, {direction: strength, AGE: 0.5})
            assert_close(together[row : row + 1], edited)


def test_several_strengths_of_one_face_run_its_e_once(sfe):
    inversion = sfe.invert(tiny_photos())
    with counted(sfe.model) as seen:
        sfe.edit(inversion, {SMILE: torch.tensor([1.0, 2.0, 3.0])})
    assert seen["e4e"] == 1
    assert seen["low"] == 3 + 3 + 1  # w' and w_E' for each strength, w_E once
    assert len(inversion.anchor.codes) == 1


def test_a_face_of_a_batch_is_edited_as_if_alone(sfe, channel):
    strengths = torch.tensor([1.0, -1.0, 2.0])
    edits = {SMILE: strengths, channel: 1.0}
    inversion = sfe.invert(tiny_photos(3))
    together = sfe.edit(inversion, edits)
    for row in range(3):
        alone = sfe.invert(tiny_photos(3)[row : row + 1])
        edited = sfe.edit(alone, {SMILE: float(strengths[row]), channel: 1.0})
        assert_close(together[row : row + 1], edited)
        part = sfe.edit(inversion[row], {SMILE: float(strengths[row]), channel: 1.0})
        assert_close(part, edited)


def test_parts_and_joins_of_inversions_are_edited_like_the_whole(sfe):
    whole = sfe.invert(tiny_photos(3))
    expected = sfe.edit(whole, {SMILE: 1.0})
    joined = Inversion.cat([whole.rows(0, 1), whole.rows(1, 3)])
    with counted(sfe.model) as seen:
        assert_close(sfe.edit(joined, {SMILE: 1.0}), expected)
    assert seen["e4e"] == 0
    assert_close(sfe.edit(whole.rows(1, 3), {SMILE: 1.0}), expected[1:])


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))]
)
def test_a_copy_of_an_inversion_knows_what_the_original_knew(sfe, again):
    inversion = sfe.invert(tiny_photos())
    expected = sfe.edit(inversion, {SMILE: 1.0})
    with counted(sfe.model) as seen:
        assert_close(sfe.edit(again(inversion), {SMILE: 1.0}), expected)
    assert seen["e4e"] == seen["inverter"] == 0


def test_an_edit_leaves_the_inversion_as_it_was(sfe, channel):
    inversion = sfe.invert(tiny_photos())
    sfe.edit(inversion, {SMILE: 1.0})
    sfe.reconstruct(inversion)
    before = copy.deepcopy(inversion)
    sfe.edit(inversion, {SMILE: 2.0, channel: 1.0}, torch.zeros(1, 1, 8, 8))
    for name in ("features", "rgb", "encoder_pixels", "pixels"):
        assert torch.equal(getattr(inversion, name), getattr(before, name))
    assert torch.equal(inversion.codes.wplus, before.codes.wplus)
    assert torch.equal(inversion.anchor.features, before.anchor.features)


def test_photos_are_seen_at_the_encoders_size():
    larger = tiny_model(encoder_size=SIZE)
    assert Sfe(larger).invert(tiny_photos()).encoder_pixels.shape[-1] == SIZE
    with pytest.raises(ShapeError, match=r"photos: expected shape \(any, 3, 32, 32\)"):
        Sfe(larger).invert(torch.zeros(1, 3, 64, 64))


def test_doubles_and_halves_are_taken_integers_are_not(sfe):
    expected = sfe.invert(tiny_photos()).codes.wplus
    assert_close(sfe.invert(tiny_photos().double()).codes.wplus, expected)
    assert sfe.invert(tiny_photos().half()).codes.wplus.dtype == torch.float32
    with pytest.raises(PhotoError, match=r"floats in \[-1, 1\], got torch.uint8"):
        sfe.invert(torch.zeros(1, 3, SIZE, SIZE, dtype=torch.uint8))


def test_results_carry_no_graph(sfe):
    inversion = sfe.invert(tiny_photos().requires_grad_())
    vector = SMILE.vector.clone().requires_grad_()
    edited = sfe.edit(inversion, {EditDirection.linear(vector): 1.0})
    assert not edited.requires_grad
    assert not inversion.codes.wplus.requires_grad


def test_an_inversion_of_another_model_is_refused(sfe):
    other = Sfe(tiny_model(name="other"))
    inversion = other.invert(tiny_photos())
    for use in (
        sfe.reconstruct,
        sfe.find_anchor,
        lambda one: sfe.edit(one, {SMILE: 1.0}),
        lambda one: sfe.edit(one, {}),
    ):
        with pytest.raises(ShapeError, match="made by another model"):
            use(inversion)


def test_the_fingerprint_sees_config_and_every_network():
    model = tiny_model()
    known = model.fingerprint
    assert len(known) == 16
    assert tiny_model().fingerprint == known
    assert tiny_model(blend="residual").fingerprint != known
    assert copy.deepcopy(model).bfloat16().fingerprint != known
    for key, tensor in list(model.state_dict().items())[::7]:
        if tensor.is_floating_point():
            still = tensor.clone()
            tensor.add_(0.01)
            assert model.fingerprint != known, key
            tensor.copy_(still)


@pytest.mark.parametrize(
    ("region", "sentence"),
    [
        (torch.ones(3, 1, 8, 8), r"\(2, 1, S, S\), got \(3, 1, 8, 8\)"),
        (torch.ones(2, 3, 8, 8), "got"),
        (torch.ones(8, 8), "got"),
        (torch.ones(1, 1, 8, 4), "got"),
        (torch.full((1, 1, 8, 8), 255.0), "from 0"),
        (torch.full((1, 1, 8, 8), float("nan")), "from 0"),
        (-torch.ones(1, 1, 8, 8), "from 0"),
    ],
)
def test_a_region_that_does_not_fit_is_refused(sfe, region, sentence):
    with pytest.raises(MaskError, match=sentence):
        sfe.edit(sfe.invert(tiny_photos(2)), {SMILE: 1.0}, region)


def test_strengths_and_directions_that_do_not_fit_are_refused(sfe):
    one, two = sfe.invert(tiny_photos()), sfe.invert(tiny_photos(2))
    for inversion, edits in (
        (two, {SMILE: torch.ones(3)}),
        (one, {SMILE: torch.ones(3), AGE: torch.ones(2)}),
        (one, {SMILE: float("nan")}),
        (one, {EditDirection.linear(torch.zeros(5)): 1.0}),
    ):
        with pytest.raises(DirectionError):
            sfe.edit(inversion, edits)
        assert inversion.anchor is None


def test_a_direction_of_another_generator_is_refused(sfe):
    layout = tiny_model().config.generator.style_layout()
    fewer = StyleSpaceDirection.of_channels("c", ((2, 5),), layout).offset
    wrong = StyleSpaceDirection("c", type(fewer)(fewer.conv[:-2], fewer.rgb[:-1]))
    with pytest.raises(ShapeError, match="another generator"):
        sfe.edit(sfe.invert(tiny_photos()), {wrong: 1.0})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no second device here")
def test_an_inversion_follows_the_model_to_its_device():
    model = tiny_model()
    sfe = Sfe(model)
    inversion = sfe.invert(tiny_photos())
    expected = sfe.edit(inversion, {SMILE: 1.0})
    model.to("cuda")
    edited = sfe.edit(inversion, {SMILE: 1.0})
    assert edited.is_cuda
    torch.testing.assert_close(edited.cpu(), expected, rtol=1e-2, atol=1e-2)
