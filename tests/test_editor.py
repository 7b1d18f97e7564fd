"""Editor: photos and tensors in, edited photos out."""

import importlib.util
import io
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from seeded import draw
from stylefeatureeditor.editing.catalog import Catalog, CatalogEntry, load_catalog
from stylefeatureeditor.editing.direction import EditDirection, StyleSpaceDirection
from stylefeatureeditor.editor import Editor, align
from stylefeatureeditor.errors import (
    ConfigError,
    DirectionError,
    FaceError,
    MaskError,
    PhotoError,
    ShapeError,
    WeightsError,
)
from stylefeatureeditor.generator.stylegan2 import Generator
from stylefeatureeditor.model import Framing
from stylefeatureeditor.photo.image import to_tensor, to_uint8
from stylefeatureeditor.photo.landmarks import Face
from stylefeatureeditor.photo.session_file import FaceEdits, SavedPhoto
from stylefeatureeditor.weights.direction_files import PUBLISHED, load_own_directions
from synthetic_face import frontal_face, soft_photo
from tiny import SIZE, STYLES, WIDTH, tiny_directions, tiny_editor, tiny_model, tiny_photos

pytestmark = pytest.mark.usefixtures("one_thread")

EDITS = {"smile": 2.0, "age": -3.0}
PHOTO = soft_photo(200, 150)
CENTRES = [(60, 60), (140, 70)]


@pytest.fixture(scope="module")
def editor():
    return tiny_editor()


@pytest.fixture
def two_faces(monkeypatch):
    """The photo shows two faces, the left one larger."""
    faces = [
        Face((0, 0, 1, 1), 1.0, frontal_face(centre, scale, 0.1))
        for centre, scale in zip(CENTRES, (12, 9), strict=True)
    ]
    monkeypatch.setattr("stylefeatureeditor.editor.find_faces", lambda _pixels, **_: faces)
    return faces


def assert_close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-5)


def count_calls(module):
    """A list that grows by one with every call of a network."""
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


def changed(result):
    """Where the result's photo differs from the photo, (H, W)."""
    return (np.asarray(result.photo) != PHOTO).any(axis=-1)


# tensors


def test_an_aligned_tensor_is_inverted_and_edited(editor):
    inversion = editor.invert(tiny_photos(2))
    assert inversion.pixels.shape == (2, 3, SIZE, SIZE)
    assert_close(inversion.pixels, editor.method.reconstruct(editor.method.invert(tiny_photos(2))))
    result = editor.edit(inversion, EDITS)
    assert result.inversion is inversion
    assert_close(result.pixels, editor.edit(tiny_photos(2), EDITS).pixels)
    assert [crop.size for crop in result.crops] == [(SIZE, SIZE)] * 2
    assert np.array_equal(np.asarray(result.photo), to_uint8(result.pixels)[0])


def test_pixels_are_what_the_network_drew_not_rounded_nor_cut(editor):
    inversion = editor.invert(tiny_photos())
    result = editor.edit(inversion, EDITS)
    for pixels in (inversion.pixels, result.pixels):
        assert pixels.dtype == torch.float32
        levels = (pixels + 1) * 127.5
        assert (levels - levels.round()).abs().mean() > 0.2
        assert pixels.abs().max() > 1


@pytest.mark.parametrize("shape", [(WIDTH,), (STYLES, WIDTH)])
def test_a_vector_of_ones_own_moves_the_code_by_strength_times_the_vector(editor, shape):
    vector = draw("editor.vector", shape)
    inversion = editor.invert(tiny_photos())
    own = EditDirection.linear(vector)
    assert_close(own.apply(inversion.codes, 1.5).wplus, inversion.codes.wplus + 1.5 * vector)
    edited = editor.edit(inversion, {own: 1.5}).pixels
    in_two_halves = {EditDirection.linear(0.5 * vector): 1.5, EditDirection.linear(vector): 0.75}
    assert_close(editor.edit(inversion, in_two_halves).pixels, edited)
    assert not torch.allclose(edited, inversion.pixels, atol=0.1)


def test_a_mask_tensor_says_where_the_features_may_change(editor):
    inversion = editor.invert(tiny_photos(2))
    free = editor.edit(inversion, EDITS)
    whole = editor.edit(inversion, EDITS, mask=torch.ones(2, 1, SIZE, SIZE))
    none = editor.edit(inversion, EDITS, mask=torch.zeros(1, 1, SIZE, SIZE))
    assert_close(whole.pixels, free.pixels)
    assert not torch.allclose(none.pixels, free.pixels, atol=0.1)
    assert free.region is None
    assert whole.region.shape == (2, 1, SIZE, SIZE)


def test_an_inversion_is_taken_as_it_is(editor):
    inversion = editor.invert(tiny_photos())
    drawn = inversion.pixels
    assert editor.invert(inversion) is inversion
    assert inversion.pixels is drawn
    assert editor.edit(inversion, {}).pixels is drawn


def test_an_inversion_of_another_model_is_refused(editor):
    foreign = tiny_editor(model=tiny_model(name="other")).invert(tiny_photos())
    with pytest.raises(ShapeError, match="another model"):
        editor.edit(foreign, EDITS)
    with pytest.raises(ShapeError, match="another model"):
        list(editor.edit_batch([tiny_photos(), foreign], EDITS))


# photos


def test_a_photo_may_come_as_array_image_file_bytes_or_path(editor, tmp_path):
    path = tmp_path / "photo.png"
    image = Image.fromarray(PHOTO[:64, :64])
    image.save(path)
    expected = editor.invert(PHOTO[:64, :64], aligned=True).codes.wplus
    for source in (image, path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes())):
        assert torch.equal(editor.invert(source, aligned=True).codes.wplus, expected)


def test_an_aligned_photo_of_the_models_size_equals_its_tensor(editor):
    pixels = PHOTO[:SIZE, :SIZE]
    inversion = editor.invert(pixels, aligned=True)
    assert torch.equal(inversion.faces[0].pixels, to_tensor(pixels))
    assert_close(inversion.pixels, editor.invert(to_tensor(pixels)).pixels)


@pytest.mark.parametrize("side", [24, 64, 96])
def test_an_aligned_photo_of_another_size_comes_back_at_its_own(editor, side):
    pixels = PHOTO[:side, :side]
    result = editor.edit(pixels, EDITS, aligned=True)
    assert result.inversion.faces[0].pixels.shape == (1, 3, SIZE, SIZE)
    assert result.photo.size == (side, side)
    assert result.crop.size == (SIZE, SIZE)
    seen = np.asarray(Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BOX))
    difference = result.inversion.faces[0].pixels - to_tensor(seen)
    assert difference.abs().mean() < 0.1


@pytest.mark.parametrize("turns", [0, 1])
def test_a_photo_that_needs_no_aligning_may_have_any_shape(editor, turns, caplog):
    """Things other than faces have no detector: the middle is edited, as it was trained on."""
    photo = np.ascontiguousarray(np.rot90(PHOTO, turns))
    result = editor.edit(photo, {"smile": 3.0}, aligned=True, blend="feather")
    middle = np.ascontiguousarray(np.rot90(PHOTO[:, 25:175], turns))
    seen, alone = result.inversion.faces[0], editor.invert(middle, aligned=True).faces[0]
    assert (seen.pixels - alone.pixels).abs().max() < 0.05
    assert f"{photo.shape[1]} x {photo.shape[0]}: its middle square is the crop" in caplog.text
    there = np.rot90(np.asarray(result.photo), -turns)
    assert np.array_equal(there[:, :25], PHOTO[:, :25])
    assert np.array_equal(there[:, 175:], PHOTO[:, 175:])
    assert (there[60:90, 85:115] != PHOTO[60:90, 85:115]).any()


def test_what_is_no_photo_is_refused(editor, tmp_path):
    (tmp_path / "text.png").write_text("hello")
    for source in (tmp_path / "none.png", tmp_path / "text.png", 3):
        with pytest.raises(PhotoError):
            editor.invert(source, aligned=True)


@pytest.mark.parametrize("blend", ["feather", "residual"])
def test_the_face_is_pasted_into_the_whole_photo(editor, two_faces, blend):
    result = editor.edit(PHOTO, EDITS, blend=blend)
    (face,) = result.inversion.faces
    assert np.array_equal(face.landmarks, two_faces[0].landmarks)
    assert result.photo.size == (200, 150)
    x, y = np.meshgrid(np.arange(200) + 0.5, np.arange(150) + 0.5)
    low, high = face.quad.min(axis=0), face.quad.max(axis=0)
    inside = (x > low[0]) & (x < high[0]) & (y > low[1]) & (y < high[1])
    assert not changed(result)[~inside].any()
    assert changed(result)[CENTRES[0][1] - 5 : CENTRES[0][1] + 5].any()


def test_every_face_of_a_photo_is_edited(editor, two_faces):
    both = editor.edit(PHOTO, EDITS, face="all")
    assert len(both.crops) == len(both.inversion.faces) == len(two_faces)
    for number, (x, y) in enumerate(CENTRES, start=1):
        assert changed(both)[y - 3 : y + 3, x - 3 : x + 3].all()
        alone = editor.edit(PHOTO, EDITS, face=number)
        assert_close(both.pixels[number - 1 : number], alone.pixels)
        assert changed(alone)[y - 3 : y + 3, x - 3 : x + 3].all()
    assert_close(editor.edit(PHOTO, EDITS).pixels, both.pixels[:1])


@pytest.mark.usefixtures("two_faces")
def test_each_face_is_edited_its_own_way(editor):
    left, right = (slice(None, 100), slice(100, None))
    alone = {n: editor.edit(PHOTO, {name: 2.0}, face=n) for n, name in ((1, "smile"), (2, "age"))}
    result = editor.edit_faces(PHOTO, {2: {"age": 2.0}, 1: {"smile": 2.0}})
    assert len(result.crops) == 2
    for number, part in alone.items():
        assert_close(result.pixels[number - 1 : number], part.pixels)
    one = np.asarray(editor.edit_faces(PHOTO, {2: {"age": 2.0}}).photo).astype(int)
    assert np.abs(one - np.asarray(alone[2].photo)).max() <= 1  # inverted beside another
    masks = {1: np.zeros((150, 200), np.uint8)}
    masked = np.asarray(editor.edit_faces(PHOTO, {1: {"smile": 2.0}, 2: {}}, masks=masks).photo)
    assert np.array_equal(masked[:, left][:, :40], PHOTO[:, left][:, :40])
    assert not np.array_equal(masked[:, right], PHOTO[:, right])


@pytest.mark.usefixtures("two_faces")
def test_a_face_that_nobody_has_is_not_edited(editor):
    for edits, error in (({3: {"smile": 1.0}}, FaceError), ({}, DirectionError)):
        with pytest.raises(error):
            editor.edit_faces(PHOTO, edits)


def test_a_saved_photo_is_edited_as_it_was_left(editor, two_faces, tmp_path):
    Image.fromarray(np.rot90(PHOTO)).save(tmp_path / "a.png")
    saved = SavedPhoto(
        name="a.png",
        content=(tmp_path / "a.png").read_bytes(),
        turns=3,
        landmarks=tuple(face.landmarks for face in two_faces),
        faces={2: FaceEdits(edits={"smile": 2.0}, mask="face")},
        blend="feather",
    )
    expected = editor.edit_faces(PHOTO, {2: {"smile": 2.0}}, masks={2: "face"}, blend="feather")
    assert np.array_equal(np.asarray(editor.edit_saved(saved).photo), np.asarray(expected.photo))


@pytest.mark.parametrize("blend", ["feather", "residual", "poisson", "none"])
@pytest.mark.usefixtures("two_faces")
def test_grey_stays_grey_to_the_bit_on_every_way_out(editor, blend, tmp_path):
    levels = PHOTO[:, :, 1]
    alpha = np.where(PHOTO[:, :, 0] > 128, 255, 0).astype(np.uint8)
    tinted = np.dstack([np.where(alpha[:, :, None] == 0, PHOTO, levels[:, :, None]), alpha])
    for source in (levels, np.dstack([levels] * 3), Image.fromarray(levels), tinted):
        result = editor.edit(source, EDITS, face="all", blend=blend)
        assert np.ptp(to_uint8(result.pixels), axis=3).max() > 20  # the model draws colours
        before = (
            levels if blend != "none" else to_uint8(result.inversion.faces[0].pixels)[0, ..., 0]
        )
        result.save(tmp_path / "out.png")
        result.save(tmp_path / "out.jpg")
        saved = [Image.open(tmp_path / name) for name in ("out.png", "out.jpg")]
        for picture in (result.photo, *result.crops, result.comparison(), *saved):
            shown = np.array(picture.convert("RGBA"))
            shown[shown[..., 3] == 0] = 0
            assert np.ptp(shown[..., :3], axis=2).max() == 0
        assert (np.asarray(result.photo)[..., 0] != before).any()


def test_grey_tensors_give_grey_crops_and_colours_stay(editor):
    both = tiny_photos(2)
    both[0] = both[0].mean(dim=0)
    grey, colour = editor.edit(both, EDITS).crops
    assert np.ptp(np.asarray(grey), axis=2).max() == 0
    assert np.ptp(np.asarray(colour), axis=2).max() > 20


def test_hidden_pixels_are_not_seen_and_do_not_come_back(editor, monkeypatch, tmp_path):
    """Two photos that differ under alpha 0 alone are one for detector, networks and pictures."""
    faces = [Face((0, 0, 1, 1), 1.0, frontal_face(CENTRES[0], 12, 0.1))]
    seen = []

    def find(pixels, **_):
        seen.append(pixels.copy())
        return faces

    monkeypatch.setattr("stylefeatureeditor.editor.find_faces", find)
    alpha = np.full(PHOTO.shape[:2], 255, np.uint8)
    alpha[:, :60] = 0  # half of the face
    hidden = alpha == 0
    secret = np.random.default_rng(3).integers(0, 256, PHOTO.shape, dtype=np.uint8)
    drawn = []
    for under in (PHOTO, secret):
        pixels = np.where(hidden[:, :, None], under, PHOTO)
        source = np.dstack([pixels, alpha])
        result = editor.edit(source, EDITS)
        drawn.append(result)
        assert np.array_equal(np.asarray(result.photo)[hidden], source[hidden])
        assert np.all(np.asarray(result.crop)[:, 0, 3] == 0)
        assert np.array_equal(np.asarray(result.comparison())[..., 3], np.tile(alpha, 2))
    assert np.all(seen[1][hidden] == 255)
    assert np.array_equal(*seen)
    one, other = drawn
    assert torch.equal(one.inversion.encoder_pixels, other.inversion.encoder_pixels)
    assert np.array_equal(np.asarray(one.crop), np.asarray(other.crop))
    assert np.array_equal(np.asarray(one.photo)[~hidden], np.asarray(other.photo)[~hidden])
    one.photo.save(tmp_path / "out.jpg")
    assert (
        np.asarray(Image.open(tmp_path / "out.jpg"))[:, :48].min() > 245
    )  # whole blocks of a JPEG


def test_a_face_that_is_not_there_is_refused(editor, two_faces, monkeypatch):
    with pytest.raises(FaceError, match="face 3 was asked for, but 2 were found"):
        editor.invert(PHOTO, face=len(two_faces) + 1)
    monkeypatch.setattr("stylefeatureeditor.editor.find_faces", lambda _pixels, **_: [])
    with pytest.raises(FaceError, match="no face was found"):
        editor.invert(PHOTO)


@pytest.mark.usefixtures("two_faces")
def test_a_photo_without_a_change_comes_back_as_it_was(editor):
    """Residual adds what the edit changed: nothing."""
    result = editor.edit(PHOTO, {}, blend="residual", face="all")
    assert not changed(result).any()


@pytest.mark.usefixtures("two_faces")
def test_the_mask_bounds_what_changes_in_the_photo(editor):
    hull = editor.edit(PHOTO, EDITS, mask="face")
    free = editor.edit(PHOTO, EDITS)
    assert 0 < changed(hull).sum() < changed(free).sum()
    left = np.zeros((150, 200), np.uint8)
    left[:, : CENTRES[0][0]] = 255
    half = editor.edit(PHOTO, EDITS, mask=left)
    assert changed(half)[:, : CENTRES[0][0] - 3].any()
    assert not changed(half)[:, CENTRES[0][0] + 6 :].any()  # two cells of the crop


@pytest.mark.usefixtures("two_faces")
def test_a_mask_tensor_of_another_side_bounds_the_paste_too(editor):
    region = torch.zeros(1, 1, 8, 8)
    region[..., :4] = 1
    result = editor.edit(PHOTO, EDITS, mask=region)
    columns = np.flatnonzero(changed(result).any(axis=0))
    assert columns.size
    assert columns.max() < CENTRES[0][0] + 15
    as_bool = editor.edit(PHOTO, EDITS, mask=region.bool())
    assert np.array_equal(np.asarray(as_bool.photo), np.asarray(result.photo))


def test_the_models_preference_decides_how_faces_return(two_faces):
    assert two_faces
    crops_only = tiny_editor(model=tiny_model(blend="none"))
    assert crops_only.edit(PHOTO, EDITS).photo.size == (SIZE, SIZE)
    assert crops_only.edit(PHOTO, EDITS, blend="feather").photo.size == (200, 150)


def test_the_crop_is_framed_as_the_model_was_trained(two_faces):
    wide = tiny_editor(model=tiny_model(framing=Framing(scale=1.5, shift=(0.1, 0.0))))
    plain = tiny_editor()
    (framed,), (usual,) = wide.align(PHOTO), plain.align(PHOTO)
    side = np.hypot(*(usual.quad[3] - usual.quad[0]))
    assert np.hypot(*(framed.quad[3] - framed.quad[0])) == pytest.approx(1.5 * side)
    moved = framed.quad.mean(axis=0) - usual.quad.mean(axis=0)
    assert np.hypot(*moved) == pytest.approx(0.1 * side)
    assert wide.invert(PHOTO).faces[0].pixels.shape[-1] == SIZE
    (alone,) = align(PHOTO, size=48)
    assert np.array_equal(alone.quad, usual.quad)
    assert alone.pixels.shape == (1, 3, 48, 48)
    assert len(align(PHOTO, face="all")) == len(two_faces)


# several photos, several strengths


@pytest.mark.usefixtures("two_faces")
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_a_batch_is_its_photos_one_by_one(editor, batch_size):
    photos = [tiny_photos(2), PHOTO, editor.invert(tiny_photos(name="third")), PHOTO[:, ::-1]]
    together = list(editor.edit_batch(photos, EDITS, batch_size=batch_size))
    assert [len(result.pixels) for result in together] == [2, 1, 1, 1]
    for photo, result in zip(photos, together, strict=True):
        alone = editor.edit(photo, EDITS)
        assert_close(result.pixels, alone.pixels)
        assert len(result.inversion.faces) == len(alone.inversion.faces)
        assert np.abs(np.asarray(result.photo, int) - np.asarray(alone.photo, int)).max() <= 1


@pytest.mark.usefixtures("two_faces")
@pytest.mark.parametrize("mask", ["face", "none", None, torch.zeros(1, 1, SIZE, SIZE)])
def test_a_batch_takes_the_masks_that_one_photo_takes(editor, mask):
    for face in ("largest", "all"):
        together = list(editor.edit_batch([PHOTO, PHOTO], EDITS, mask=mask, face=face))
        alone = editor.edit(PHOTO, EDITS, mask=mask, face=face)
        for result in together:
            assert_close(result.pixels, alone.pixels)
            assert (result.region is None) == (alone.region is None)


def test_a_mask_of_a_batch_that_fits_no_photo_is_refused(editor):
    with pytest.raises(MaskError, match=r"\(1, 1, S, S\), got \(2, 1, 8, 8\)"):
        list(editor.edit_batch([tiny_photos(), tiny_photos()], EDITS, mask=torch.ones(2, 1, 8, 8)))


def test_a_batch_is_read_as_it_is_needed(editor):
    given = []

    def photos():
        for number in range(5):
            given.append(number)
            yield tiny_photos()

    results = editor.edit_batch(photos(), EDITS, batch_size=2)
    assert not given
    next(results)
    assert len(given) == 2
    assert len(list(results)) == 4


def test_a_batch_computes_nothing_that_its_inversions_know(editor):
    own = tiny_editor()
    known, fresh = own.invert(tiny_photos()), own.invert(tiny_photos(name="fresh"))
    own.edit(known, {"smile": 1.0})
    before = known.anchor
    e, i = count_calls(own.model.e4e), count_calls(own.model.inverter)
    seen = []
    own.model.e4e.register_forward_hook(lambda _module, inputs, _out: seen.append(len(inputs[0])))
    results = list(own.edit_batch([known, fresh], {"age": 1.0}))
    assert (sum(seen), len(i)) == (1, 0)  # E sees the fresh one only
    assert known.anchor is before
    assert fresh.anchor is not None
    list(own.edit_batch([known, fresh], EDITS))
    assert len(e) == 1
    assert_close(results[1].pixels, editor.edit(tiny_photos(name="fresh"), {"age": 1.0}).pixels)


def test_after_a_batch_its_inversions_know_what_an_edit_teaches():
    own = tiny_editor()
    fresh = [own.invert(tiny_photos(name=name)) for name in ("first", "second")]
    e = count_calls(own.model.e4e)
    list(own.edit_batch(fresh, EDITS))
    again = [own.edit(inversion, {"age": 1.0}) for inversion in fresh]
    assert len(e) == 1
    for name, result in zip(("first", "second"), again, strict=True):
        assert_close(result.pixels, own.edit(tiny_photos(name=name), {"age": 1.0}).pixels)


def test_a_batch_without_edits_forgets_nothing_and_keeps_what_it_drew(editor):
    known = editor.invert(tiny_photos())
    editor.edit(known, EDITS)
    anchor = known.anchor
    fresh = editor.method.invert(tiny_photos(name="fresh"))
    results = list(editor.edit_batch([known, fresh], {}))
    assert known.anchor is anchor
    assert_close(results[0].pixels, known.pixels)
    assert_close(results[1].pixels, editor.method.reconstruct(fresh))


def test_a_strip_has_one_result_per_strength_in_order(editor):
    layout = editor.model.config.generator.style_layout()
    channel = StyleSpaceDirection.of_channels("channel", ((3, 1),), layout)
    strengths = [2.0, -1.0, 0.0, 3.0, 1.0]
    for direction in ("smile", channel):
        strip = list(editor.strip(tiny_photos(), direction, strengths, batch_size=2))
        inversion = editor.invert(tiny_photos())
        for strength, result in zip(strengths, strip, strict=True):
            assert result.pixels.shape == (1, 3, SIZE, SIZE)
            assert_close(result.pixels, editor.edit(inversion, {direction: strength}).pixels)
    assert not list(editor.strip(tiny_photos(), "smile", []))


def test_a_strip_inverts_once_and_takes_the_first_of_several_faces():
    own = tiny_editor()
    e, i = count_calls(own.model.e4e), count_calls(own.model.inverter)
    strip = list(own.strip(tiny_photos(3), "smile", [1.0, 2.0, 3.0], batch_size=1))
    assert (len(e), len(i)) == (1, 1)
    expected = own.edit(tiny_photos(3)[:1], {"smile": 3.0}).pixels
    assert_close(strip[2].pixels, expected)


# names and strengths


def test_an_unknown_name_is_met_with_the_nearest(editor):
    with pytest.raises(DirectionError, match="unknown direction 'smle': did you mean smile"):
        editor.edit(tiny_photos(), {"smle": 1.0})


def test_the_same_direction_twice_is_added_up(editor):
    smile = editor.direction("smile")
    resolved = editor.resolve({"smile": 1.0, "Grin": 0.5, smile: 2, "age": np.float32(1)})
    assert resolved == {smile: 3.5, editor.direction("age"): 1.0}
    together = editor.resolve({"smile": torch.tensor([1.0, 2.0]), "grin": 1.0})
    assert together[smile].tolist() == [2.0, 3.0]


def test_a_replaced_direction_is_the_one_that_is_used():
    editor = tiny_editor()
    before = editor.direction("smile")
    vector = draw("editor.other", (WIDTH,))
    entry = CatalogEntry(
        name="smile", kind="linear", useful_range=(-1.0, 1.0), tensors={"vector": vector}
    )
    editor.directions = editor.directions.with_entry(entry)
    assert editor.direction("smile") is not before
    assert torch.equal(editor.direction("smile").vector, vector)


def test_a_strength_outside_the_useful_range_is_a_warning_not_an_error(editor):
    edits = {"smile": 3.5, "age": 5, EditDirection.linear(torch.zeros(WIDTH)): 99.0}
    (sentence,) = editor.warnings(edits)
    assert sentence.startswith("smile=3.5 is outside the useful range -3 to 3")
    assert editor.edit(tiny_photos(), edits).pixels.isfinite().all()


@pytest.mark.parametrize(
    ("edits", "sentence"),
    [
        ("smile", "must be a mapping"),
        ({"smile": "2"}, "a strength must be a number, got '2'"),
        ({"smile": None}, "a strength must be a number"),
        ({"smile": [1.0, 2.0]}, "a strength must be a number"),
        ({"smile": float("inf")}, "finite"),
        ({"smile": 1e30}, "at most 10000"),
        ({"smile": 10**400}, "at most 10000"),
        ({"smile": torch.tensor([1.0, float("nan")])}, "finite"),
        ({EditDirection.linear(torch.zeros(WIDTH)): -1e30}, "at most 10000"),
        ({torch.zeros(WIDTH): 1.0}, "a name or an EditDirection, got Tensor"),
        ({EditDirection.linear(torch.zeros(WIDTH + 1)): 1.0}, "another generator"),
    ],
)
def test_edits_that_make_no_sense_are_refused(editor, edits, sentence):
    with pytest.raises(DirectionError, match=sentence):
        editor.edit(tiny_photos(), edits)


def test_pictures_that_are_not_finite_are_refused(editor):
    hole = tiny_photos()
    hole[0, 0, 3, 3] = torch.nan
    with pytest.raises(PhotoError, match="values that are not finite"):
        editor.edit(hole, EDITS)
    pixels = to_uint8(tiny_photos())[0]
    result = editor.edit(pixels, EDITS, aligned=True)
    result.pixels[0, 1, 5, 5] = torch.inf
    for picture in (lambda: result.photo, lambda: result.crops, result.comparison):
        with pytest.raises(PhotoError, match="drew values that are not finite"):
            picture()


def test_a_misspelt_name_and_a_bad_region_are_refused_before_the_networks_run():
    own = tiny_editor()
    i = count_calls(own.model.inverter)
    with pytest.raises(DirectionError, match="did you mean smile"):
        own.edit(tiny_photos(), {"smlie": 1.0})
    assert not i
    inversion = own.invert(tiny_photos())
    e = count_calls(own.model.e4e)
    with pytest.raises(MaskError):
        own.edit(inversion, EDITS, mask=torch.ones(1, 3, SIZE, SIZE))
    assert not e


def test_a_batch_refuses_several_strengths(editor):
    with pytest.raises(DirectionError, match="one strength per direction"):
        next(editor.edit_batch([tiny_photos()], {"smile": torch.tensor([1.0, 2.0])}))


def test_an_unknown_blend_is_refused(editor):
    with pytest.raises(ConfigError, match="feather, residual, poisson, none, got 'mix'"):
        editor.edit(tiny_photos(), EDITS, blend="mix")


# folders


def test_a_saved_editor_comes_back_bit_for_bit(editor, tmp_path):
    editor.save_pretrained(tmp_path / "model")
    again = Editor.from_pretrained(tmp_path / "model", device="cpu")
    assert again.model.config == editor.model.config
    own = editor.model.state_dict()
    assert own.keys() == again.model.state_dict().keys()
    assert all(torch.equal(own[key], value) for key, value in again.model.state_dict().items())
    assert [entry.name for entry in again.directions.entries] == ["smile", "age"]
    result, expected = again.edit(tiny_photos(), EDITS), editor.edit(tiny_photos(), EDITS)
    assert torch.equal(result.pixels, expected.pixels)
    assert again.warnings({"grin": 9.0})
    # and an inversion may travel between the two
    moved = again.edit(expected.inversion, EDITS).pixels
    assert torch.equal(moved, editor.edit(expected.inversion, EDITS).pixels)
    torch.testing.assert_close(moved, expected.pixels, rtol=0, atol=1e-5)  # batched otherwise


def test_half_precision_on_disk_is_half_the_size_and_close(editor, tmp_path):
    sizes = {}
    for half in (False, True):
        folder = tmp_path / str(half)
        editor.save_pretrained(folder, half=half)
        sizes[half] = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    assert sizes[True] < 0.75 * sizes[False]
    again = Editor.from_pretrained(str(tmp_path / "True"), device="cpu")
    assert {value.dtype for value in again.model.state_dict().values()} <= {
        torch.float32,
        torch.int64,
    }
    expected = editor.invert(tiny_photos()).pixels
    difference = (again.invert(tiny_photos()).pixels - expected).square().mean().sqrt()
    assert 0 < difference < 0.02 * expected.std()


def test_published_direction_files_travel_with_the_model(tmp_path):
    model = tiny_model(catalog="ffhq")
    tiny_editor(Catalog(), model).save_pretrained(tmp_path / "first")
    (tmp_path / "first" / PUBLISHED).mkdir()
    torch.save(draw("editor.age", (1, WIDTH)), tmp_path / "first" / PUBLISHED / "age.pt")
    first = Editor.from_pretrained(tmp_path / "first", device="cpu")
    expected = first.edit(tiny_photos(), {"age": 2.0}).pixels
    first.save_pretrained(tmp_path / "second")
    first.save_pretrained(tmp_path / "first")  # onto itself
    second = Editor.from_pretrained(tmp_path / "second", device="cpu")
    assert torch.equal(second.edit(tiny_photos(), {"age": 2.0}).pixels, expected)
    with pytest.raises(DirectionError, match="needs the file"):
        second.edit(tiny_photos(), {"lipstick": 2.0})


def test_own_directions_stand_beside_published_ones_and_before_them(tmp_path):
    model = tiny_model(catalog="ffhq")
    tiny_editor(tiny_directions(), model).save_pretrained(tmp_path)
    both = Editor.from_pretrained(tmp_path, device="cpu")
    assert torch.equal(both.direction("smile").vector, draw("tiny.smile", (WIDTH,)))
    assert len(both.directions.entries) > 20
    both.save_pretrained(tmp_path / "again")
    names = Editor.from_pretrained(tmp_path / "again", device="cpu").directions.entries
    assert [e.name for e in names] == [e.name for e in both.directions.entries]


def test_own_directions_without_tensors_are_saved_and_old_ones_go(tmp_path):
    tiny_editor().save_pretrained(tmp_path)
    own = CatalogEntry(name="lid", kind="stylespace", channels=((3, 1),), useful_range=(-5, 5))
    model = tiny_model(catalog="ffhq")
    tiny_editor(load_catalog("ffhq").with_entry(own), model).save_pretrained(tmp_path)
    again = Editor.from_pretrained(tmp_path, device="cpu")
    assert again.directions.find("lid").channels == ((3, 1),)
    assert [entry.name for entry in load_own_directions(tmp_path).entries] == ["lid"]
    tiny_editor(Catalog()).save_pretrained(tmp_path)
    assert not load_own_directions(tmp_path).entries


def test_a_name_that_no_model_has_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="there is no model 'nobody'"):
        Editor.from_pretrained("nobody")
    with pytest.raises(WeightsError, match="not a model folder"):
        Editor.from_pretrained(tmp_path)


def test_moving_an_editor_returns_it(editor):
    assert editor.to("cpu") is editor
    assert editor.size == SIZE


# dlib


def test_two_real_faces_in_one_photo(editor):
    for package in ("dlib", "face_recognition_models", "skimage"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    from skimage.data import astronaut

    face = astronaut()[:256, 96:352]
    small = np.asarray(Image.fromarray(face).resize((192, 192)))
    photo = np.full((256, 480, 3), 127, np.uint8)
    photo[:, :256] = face
    photo[32:224, 272:464] = small
    both = editor.edit(photo, EDITS, face="all")
    assert len(both.inversion.faces) == 2
    middles = [aligned.quad.mean(axis=0)[0] for aligned in both.inversion.faces]
    assert middles[0] < 256 < middles[1]  # the largest first
    touched = (np.asarray(both.photo) != photo).any(axis=(0, 2))
    assert touched[:256].any()
    assert touched[272:].any()
    (second,) = editor.invert(photo, face=2).faces
    assert np.array_equal(second.quad, both.inversion.faces[1].quad)


@pytest.mark.parametrize("blend", ["feather", "residual"])
def test_a_mask_drawn_on_the_photo_leaves_every_other_byte(blend):
    photo = soft_photo(48, 48)
    mask = np.zeros((48, 48), dtype=np.uint8)
    mask[20:40, 20:44] = 255
    direction = EditDirection.linear(torch.ones(WIDTH))
    result = tiny_editor().edit(photo, {direction: 3.0}, mask=mask, blend=blend, aligned=True)
    changed = (np.asarray(result.photo) != photo).any(axis=2)
    assert changed.any()
    assert not changed[mask == 0].any()


def test_few_functions_lie_between_the_editor_and_the_generator(monkeypatch):
    """Editor, method, generator: what docs/ARCHITECTURE.md says of every edit."""
    walks = []

    def draw(generator, *args, **options):
        names = [
            f"{type(frame.f_locals.get('self')).__name__}.{frame.f_code.co_name}"
            for frame in package_frames()
        ]
        walks.append(names[names.index(started) :])
        return drawn(generator, *args, **options)

    def package_frames():
        frame, found = sys._getframe(2), []
        while frame is not None:
            if frame.f_globals.get("__name__", "").startswith("stylefeatureeditor."):
                found.append(frame)
            frame = frame.f_back
        return found[::-1]

    drawn = Generator.synthesize_from
    monkeypatch.setattr(Generator, "synthesize_from", draw)
    editor = tiny_editor()
    started = "Editor.edit"
    editor.edit(tiny_photos(1), {"smile": 1.0})
    started = "Editor.edit_batch"
    list(editor.edit_batch([tiny_photos(1)], {"smile": 1.0}))
    assert walks == [["Editor.edit", "Sfe.edit"], ["Editor.edit_batch", "Sfe.edit"]]
