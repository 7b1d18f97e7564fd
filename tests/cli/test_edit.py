from __future__ import annotations

import logging
import os
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from stylefeatureeditor.cli.edit import Grid, grid
from stylefeatureeditor.cli.options import strength
from stylefeatureeditor.editor import Editor
from stylefeatureeditor.photo.contact_sheet import MIN_TILE
from stylefeatureeditor.photo.image import read_photo
from stylefeatureeditor.photo.landmarks import find_faces
from stylefeatureeditor.photo.session_file import (
    FaceEdits,
    SavedPhoto,
    load_session,
    save_session,
)
from stylefeatureeditor.weights.inversion_file import save_inversion
from tiny import SIZE, tiny_photos

SMILE = ("-e", "smile=2")


def pixels(path) -> np.ndarray:
    return read_photo(path).pixels


def save_as(mode: str, path, photo: Image.Image) -> None:
    """Write a photo in one of the ways in which files store their colours."""
    if mode == "alpha":
        photo.putalpha(Image.linear_gradient("L").resize(photo.size))
    elif mode == "16 bit":
        levels = np.asarray(photo.convert("L")).astype(np.uint16) * 257
        photo = Image.fromarray(levels)
    elif mode == "palette":
        photo = photo.quantize(64)
    elif mode in ("CMYK", "L"):
        photo = photo.convert(mode)
    exif = Image.Exif()
    if mode == "rotated":
        photo = photo.transpose(Image.Transpose.ROTATE_90)
        exif[0x0112] = 6  # turn by 90 degrees clockwise to show it upright
    photo.save(path, exif=exif)


@pytest.fixture
def two(portrait):
    """A photo of two faces."""
    one = pixels(portrait)
    path = portrait.with_name("two.png")
    Image.fromarray(np.concatenate([one, one[:, ::-1]], axis=1)).save(path)
    return path


class TestEachFace:
    def test_each_can_have_edits_of_its_own(self, two, model, sfe):
        out = two.with_name("out.png")
        words = ("-e", "1:smile=2", "-e", "2:age=-3", "--mask", "face", "--model", model)
        assert sfe("edit", two, *words, "-o", out).code == 0
        editor = Editor.from_pretrained(model, device="cpu")
        edits = {1: {"smile": 2.0}, 2: {"age": -3.0}}
        expected = editor.edit_faces(two, edits, masks={1: "face", 2: "face"}).photo
        assert np.abs(pixels(out).astype(int) - np.asarray(expected)).max() <= 1

    def test_an_edit_without_a_number_is_of_the_face_that_is_chosen(self, two, model, sfe):
        outs = [two.with_name(f"{name}.png") for name in ("one", "other")]
        words = ("-e", "1:smile=2", "--face", "all", "--model", model)
        assert sfe("edit", two, "-e", "age=1", *words, "-o", outs[0]).code == 0
        each = ("-e", "1:age=1", "-e", "2:age=1", *words)
        assert sfe("edit", two, *each, "-o", outs[1]).code == 0
        assert np.abs(pixels(outs[0]).astype(int) - pixels(outs[1])).max() <= 1

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("-e", "3:smile=1"), "face 3 was asked for"),
            (("-e", "2:smile=1", "-e", "2:smile=2"), "smile is given twice"),
            (("-e", "2:smile=1", "--grid", "age=-1:1:3"), "a strip shows one face"),
            (("-e", "0:smile=1"), "unknown direction '0:smile'"),
            (("-e", "2:smile=1e30"), "must be a finite number"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, two, model, sfe, words, says):
        ran = sfe("edit", two, *words, "--model", model, "-o", two.with_name("out.png"))
        assert ran.code == 2
        assert says in ran.err


class TestBoxes:
    def test_a_box_shows_the_face_to_the_landmarks(self, portrait, model, sfe):
        """A box that is the detector's own gives what the detector gives."""
        (found,) = find_faces(pixels(portrait))
        left, top, right, bottom = map(round, found.box)
        box = ("--face-box", left, top, right - left, bottom - top)
        outs = [portrait.with_name(f"{name}.png") for name in ("found", "boxed")]
        words = (*SMILE, "--model", model, "-o")
        assert sfe("edit", portrait, *words, outs[0]).code == 0
        assert sfe("edit", portrait, *box, *words, outs[1]).code == 0
        assert np.array_equal(pixels(outs[0]), pixels(outs[1]))

    def test_with_aligned_it_is_the_crop_of_anything(self, portrait, model, sfe):
        out = portrait.with_name("out.png")
        box = ("--aligned", "--face-box", 20, 30, 100, 80)
        assert sfe("edit", portrait, *box, *SMILE, "--model", model, "-o", out).code == 0
        changed = (pixels(out) != pixels(portrait)).any(axis=2)
        assert changed[30:110, 30:110].mean() > 0.5
        changed[20:120, 20:120] = False
        assert not changed.any()

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("--face-box", 1, 2, 3), "expected 4 arguments"),
            (("--face-box", 1, 2, 30, 30, "--face", "2"), "leave --face out"),
            (("--face-box", 1, 2, 30, 30, "-e", "1:age=1"), "leave the number of FACE:NAME out"),
            (("--face-box", 1, 2, 3, 3), "this box is too small"),
            (("--aligned", "--face-box", 1, 2, 0, 0), "at least a pixel"),
            (("--aligned", "--face-box", 900, 900, 50, 50), "outside the photo"),
            (("--aligned", "--face-box", -1e9, -1e9, 3e9, 3e9), "at most four times the photo's"),
            (("--aligned", "--face-box", "1e300", 0, 10, 10), "outside the photo"),
        ],
    )
    def test_a_box_that_is_none_is_refused(self, portrait, model, sfe, words, says):
        ran = sfe("edit", portrait, *SMILE, *words, "--model", model)
        assert (ran.code, says in ran.err) == (2, True), ran.err


class TestSessions:
    @pytest.fixture
    def session(self, portrait, two, model):
        """A session with an untouched photo and one with an edit for each face."""
        landmarks = tuple(
            face.landmarks for face in Editor.from_pretrained(model).align(two, face="all")
        )
        faces = {1: FaceEdits(edits={"smile": 2.0}), 2: FaceEdits(edits={"age": 2.0}, mask="face")}
        photos = [
            SavedPhoto(name="a.png", content=portrait.read_bytes()),
            SavedPhoto(name="two.png", content=two.read_bytes(), landmarks=landmarks, faces=faces),
        ]
        return save_session(str(model), photos, portrait.with_name("work.sfe"))

    def test_are_written_as_the_page_left_them(self, session, two, model, sfe):
        ran = sfe("edit", session, "--model", model)
        out = session.with_name("work_edited.png")
        assert (ran.code, ran.out) == (0, f"{out}\n")
        editor = Editor.from_pretrained(model, device="cpu")
        edits = {1: {"smile": 2.0}, 2: {"age": 2.0}}
        expected = editor.edit_faces(two, edits, masks={2: "face"}).photo
        assert np.array_equal(pixels(out), np.asarray(expected))

    def test_named_twice_are_written_once(self, session, model, sfe):
        ran = sfe("edit", session, session, "--model", model)
        assert (ran.code, ran.out.count("work_edited.png")) == (0, 1)

    def test_of_several_photos_fill_a_folder(self, session, model, sfe):
        saved = load_session(session)
        again = save_session(saved.model, saved.photos[1:], session.with_name("again.sfe"))
        words = ("edit", session, again, "--model", model, "-o")
        assert "several photos need a folder" in sfe(*words, session.with_name("out.png")).err
        assert sfe(*words, session.with_name("out")).code == 0
        names = sorted(path.name for path in session.with_name("out").iterdir())
        assert names == ["again_1_two_edited.png", "work_2_two_edited.png"]

    def test_name_a_model_that_is_here_or_none(self, session, sfe):
        assert "name the model to use with --model" in sfe("edit", session).err

    def test_bring_their_own_edits(self, session, portrait, sfe):
        for words in (SMILE, ("--face", "2"), ("--mask", "face"), (portrait,)):
            ran = sfe("edit", session, *words)
            assert ran.code == 2
            assert "brings its own edits" in ran.err

    def test_without_edits_or_damaged_are_refused_before_torch(self, session, sfe):
        saved = load_session(session)
        save_session(saved.model, saved.photos[:1], session)
        assert "has an edit" in sfe("edit", session).err
        session.write_bytes(b"PK")
        assert "no session that the page saved" in sfe("edit", session).err


class TestOnePhoto:
    def test_comes_back_at_its_size_with_only_the_face_changed(self, portrait, model, sfe):
        out = portrait.with_name("out.png")
        ran = sfe("edit", portrait, *SMILE, "-o", out, "--model", model)
        assert (ran.code, ran.out, ran.err) == (0, f"{out}\n", "")
        before, after = pixels(portrait), pixels(out)
        changed = (before != after).any(axis=2)
        assert after.shape == before.shape
        assert 0.05 < changed.mean() < 0.95
        assert not changed[:, -3:].any()

    def test_equals_the_edit_in_python(self, portrait, model, sfe):
        out = portrait.with_name("out.png")
        words = ("-e", "age=-3", "--mask", "face", "--blend", "residual")
        assert sfe("edit", portrait, *SMILE, *words, "-o", out, "--model", model).code == 0
        editor = Editor.from_pretrained(model, device="cpu")
        edits = {"smile": 2.0, "age": -3.0}
        expected = editor.edit(portrait, edits, mask="face", blend="residual").photo
        assert np.array_equal(pixels(out), np.asarray(expected))

    def test_is_written_beside_the_photo_if_no_place_is_named(self, aligned, model, sfe):
        assert sfe("edit", aligned, "--aligned", *SMILE, "--model", model).code == 0
        assert aligned.with_name("aligned_edited.png").is_file()

    def test_goes_into_a_folder_that_exists_or_ends_in_a_slash(self, aligned, model, sfe):
        for output in (aligned.parent, f"{aligned.parent}/new/"):
            ran = sfe("edit", aligned, "--aligned", *SMILE, "-o", output, "--model", model)
            assert ran.code == 0
        assert (aligned.parent / "aligned_edited.png").is_file()
        assert (aligned.parent / "new" / "aligned_edited.png").is_file()

    @pytest.mark.parametrize("name", ["out.jpg", "out.webp", "out.tiff"])
    def test_has_the_format_that_its_suffix_names(self, name, aligned, model, sfe):
        out = aligned.with_name(name)
        assert sfe("edit", aligned, "--aligned", *SMILE, "-o", out, "--model", model).code == 0
        with Image.open(out) as image:
            assert image.format == {"jpg": "JPEG", "webp": "WEBP", "tiff": "TIFF"}[name[4:]]

    def test_gets_png_where_the_output_has_no_suffix(self, aligned, model, sfe):
        out = aligned.with_name("out")
        assert sfe("edit", aligned, "--aligned", *SMILE, "-o", out, "--model", model).code == 0
        assert out.with_suffix(".png").is_file()

    @pytest.mark.parametrize("mode", ["alpha", "CMYK", "16 bit", "L", "palette", "rotated"])
    def test_may_store_its_colours_in_any_way(self, mode, aligned, model, sfe):
        suffix = {"CMYK": "tif", "rotated": "jpg"}.get(mode, "png")
        photo, out = aligned.with_name(f"photo.{suffix}"), aligned.with_name("out.png")
        tall = Image.open(aligned).convert("RGB").resize((SIZE * 2, SIZE * 2))
        save_as(mode, photo, tall)
        assert sfe("edit", photo, "--aligned", *SMILE, "-o", out, "--model", model).code == 0
        made = read_photo(out)
        assert made.pixels.shape == (SIZE * 2, SIZE * 2, 3)
        assert (made.alpha is not None) == (mode == "alpha")

    def test_is_named_where_its_profile_is_of_no_use(self, aligned, model, sfe, monkeypatch):
        photo, out = aligned.with_name("print.tif"), aligned.with_name("out.png")
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        broken = profile[:16] + b"CMYK" + profile[20:200]
        Image.open(aligned).convert("CMYK").save(photo, icc_profile=broken)
        monkeypatch.setattr(logging.root, "handlers", [])  # as outside of tests
        ran = sfe("edit", photo, "--aligned", *SMILE, "-o", out, "--model", model)
        assert ran.code == 0
        assert ran.err.splitlines() == [
            "sfe: warning: print.tif: the CMYK profile is unreadable, a plain conversion is used"
        ]

    def test_of_a_turned_camera_comes_back_upright(self, portrait, model, sfe):
        photo, out = portrait.with_name("turned.tif"), portrait.with_name("out.png")
        save_as("rotated", photo, Image.open(portrait))
        assert sfe("edit", photo, *SMILE, "-o", out, "--model", model).code == 0
        assert np.array_equal(pixels(out)[:, -3:], pixels(portrait)[:, -3:])
        with Image.open(out) as image:
            assert 0x0112 not in image.getexif()

    def test_gets_a_warning_for_a_strength_outside_the_useful_range(self, aligned, model, sfe):
        words = ("--aligned", "-e", "smile=9", "-e", "age=1", "--model", model)
        ran = sfe("edit", aligned, *words)
        assert ran.code == 0
        assert ran.err.count("\n") == 1
        assert "warning: smile=9 is outside the useful range -3 to 3" in ran.err


@dataclass
class TwoFaces:
    """A photo of two faces, the second smaller."""

    path: object
    width: int


@pytest.fixture
def two_faces(portrait):
    one = Image.open(portrait)
    small = one.resize((195, 180), Image.Resampling.LANCZOS)
    both = Image.new("RGB", (one.width + small.width, one.height), (90, 90, 90))
    both.paste(one, (0, 0))
    both.paste(small, (one.width, 20))
    path = portrait.with_name("both.png")
    both.save(path)
    return TwoFaces(path, one.width)


class TestFaces:
    @pytest.mark.parametrize(
        ("which", "left", "right"),
        [("largest", True, False), ("1", True, False), ("2", False, True), ("all", True, True)],
    )
    def test_only_the_chosen_ones_change(self, which, left, right, two_faces, model, sfe):
        out = two_faces.path.with_name("out.png")
        words = ("--face", which, "--mask", "face", "-o", out, "--model", model)
        assert sfe("edit", two_faces.path, *SMILE, *words).code == 0
        changed = (pixels(out) != pixels(two_faces.path)).any(axis=2)
        assert changed[:, : two_faces.width].any() == left
        assert changed[:, two_faces.width :].any() == right

    def test_parts_of_each_are_saved_beside_the_photo(self, two_faces, model, sfe):
        out = two_faces.path.with_name("out.jpg")
        words = ("--face", "all", "--mask", "face", "--save-parts", "-o", out, "--model", model)
        assert sfe("edit", two_faces.path, *SMILE, *words).code == 0
        for stem in ("out", "out_face2"):
            parts = [out.with_name(f"{stem}_{part}.png") for part in ("aligned", "mask", "edited")]
            before, mask, after = (pixels(path) for path in parts)
            assert before.shape[:2] == mask.shape[:2] == after.shape[:2] == (SIZE, SIZE)
            assert (before != after).any()
            assert 0 < (mask > 127).mean() < 1

    def test_crops_of_several_get_a_file_each(self, two_faces, model, sfe):
        out = two_faces.path.with_name("out.png")
        words = ("--face", "all", "--crop-only", "-o", out, "--model", model)
        assert sfe("edit", two_faces.path, *SMILE, *words).code == 0
        first, second = pixels(out), pixels(out.with_name("out_face2.png"))
        assert first.shape == second.shape == (SIZE, SIZE, 3)
        assert (first != second).any()


class TestPictures:
    def test_grid_is_a_strip_of_the_photo_and_each_strength(self, aligned, model, sfe):
        out = aligned.with_name("strip.png")
        words = ("--aligned", "-e", "age=1", "--grid", "smile=-1:1:6", "-o", out, "--model", model)
        assert sfe("edit", aligned, *words).code == 0
        strip = pixels(out)
        editor = Editor.from_pretrained(model, device="cpu")
        last = editor.edit(aligned, {"age": 1.0, "smile": 1.0}, aligned=True, blend="none").crop
        side = MIN_TILE
        last = last.resize((side, side), Image.Resampling.LANCZOS)
        assert strip.shape[0] > side  # labels
        assert strip.shape[1] >= 7 * side
        rows = strip[-side:]
        places = np.lib.stride_tricks.sliding_window_view(rows, (side, side, 3))[0, :, 0]
        gaps = np.abs(places.astype(int) - np.asarray(last).astype(int)).max(axis=(1, 2, 3))
        assert gaps.min() <= 1  # batches of another size round differently
        assert gaps.argmin() > 6 * side

    def test_a_tile_of_the_grid_may_have_any_side(self, aligned, model, sfe):
        words = ("--aligned", "--grid", "smile=0:1:2", "--tile", "200", "--model", model)
        assert sfe("edit", aligned, *words).code == 0
        height, width, _ = pixels(aligned.with_name("aligned_grid.png")).shape
        assert (height > 200, 3 * 200 <= width < 3 * 210) == (True, True)

    def test_grid_warns_once_for_each_end_outside_the_range(self, aligned, model, sfe):
        ran = sfe("edit", aligned, "--aligned", "--grid", "smile=-9:2:2", "--model", model)
        assert ran.code == 0
        assert ran.err.count("warning") == 1
        assert aligned.with_name("aligned_grid.png").is_file()

    def test_compare_puts_before_and_after_side_by_side(self, aligned, model, sfe):
        assert sfe("edit", aligned, "--aligned", *SMILE, "--compare", "--model", model).code == 0
        both = pixels(aligned.with_name("aligned_compare.png"))
        assert both.shape == (2 * SIZE, 4 * SIZE, 3)
        assert np.array_equal(both[:, : 2 * SIZE], pixels(aligned))
        assert (both[:, 2 * SIZE :] != pixels(aligned)).any()

    def test_a_mask_file_confines_the_edit(self, aligned, model, sfe):
        mask, out = aligned.with_name("mask.png"), aligned.with_name("out.png")
        half = np.zeros((2 * SIZE, 2 * SIZE), np.uint8)
        half[:, SIZE:] = 255
        Image.fromarray(half).save(mask)
        words = ("--aligned", "--mask", mask, "-o", out, "--model", model)
        assert sfe("edit", aligned, *SMILE, *words).code == 0
        changed = (pixels(out) != pixels(aligned)).any(axis=2)
        assert not changed[:, : SIZE - 2].any()
        assert changed[:, SIZE + 2 :].any()


class TestBatch:
    @pytest.fixture
    def album(self, aligned):
        folder = aligned.with_name("album")
        folder.mkdir()
        for name in ("a.png", "b.png", "d.png"):
            (folder / name).write_bytes(aligned.read_bytes())
        (folder / "c.png").write_bytes(aligned.read_bytes()[:300])  # cut short
        (folder / "notes.txt").write_text("no photo")
        return folder

    def test_goes_on_after_a_bad_photo_and_tells_of_it(self, album, model, sfe):
        out = album.with_name("out")
        ran = sfe("edit", album, "--aligned", *SMILE, "-o", out, "--model", model)
        assert ran.code == 2
        assert sorted(path.name for path in out.iterdir()) == [
            "a_edited.png",
            "b_edited.png",
            "d_edited.png",
        ]
        skipped, first, last = ran.err.splitlines()
        assert skipped.startswith(f"sfe: {album}: skipped, no photos by their names (1): ")
        assert first.startswith(f"sfe: {album / 'c.png'}: c.png is damaged")
        assert last == "sfe: 1 of 4 photos failed"

    def test_skips_what_is_done_unless_told_otherwise(self, album, model, sfe):
        (album / "c.png").unlink()
        words = ("edit", album, "--aligned", *SMILE, "--model", model)
        assert sfe(*words).code == 0
        done = album / "a_edited.png"
        os.utime(done, (done.stat().st_mtime + 5,) * 2)
        stamp = done.stat().st_mtime_ns
        Image.open(album / "b.png").rotate(90).save(album / "b.png")
        os.utime(album / "b.png", (0, 0))  # another photo, with an older date
        os.utime(album / "d.png", (stamp / 1e9 + 60,) * 2)  # the same, newer than its output
        ran = sfe(*words)
        assert ran.out.splitlines() == [
            str(album / "b_edited.png"),
            "skipped 2 done before; --overwrite does them again",
        ]
        assert done.stat().st_mtime_ns == stamp
        assert len(sfe(*words, "--overwrite").out.splitlines()) == 3
        assert len(list(album.glob("*_edited.png"))) == 3  # outputs are not taken for photos
        assert not list(album.glob("*_edited_edited*"))

    def test_makes_no_folder_that_is_called_like_a_picture(self, album, model, sfe):
        out = album.with_name("out.png")
        ran = sfe("edit", album, "--aligned", *SMILE, "-o", out, "--model", model)
        assert ran.code == 2
        assert "several photos need a folder" in ran.err
        assert not out.exists()

    def test_photos_that_differ_in_their_suffix_alone_keep_apart(self, aligned, model, sfe):
        twin = aligned.with_suffix(".bmp")
        Image.open(aligned).save(twin)
        ran = sfe("edit", aligned, twin, "--aligned", *SMILE, "--model", model)
        assert ran.code == 0
        assert [line.rpartition("/")[2] for line in ran.out.splitlines()] == [
            "aligned.png_edited.png",
            "aligned.bmp_edited.png",
        ]


class TestInversionFiles:
    def test_need_neither_the_photo_nor_the_detector(self, portrait, model, sfe, monkeypatch):
        file, out = portrait.with_name("inv.safetensors"), portrait.with_name("out.png")
        direct = portrait.with_name("direct.png")
        assert sfe("edit", portrait, *SMILE, "-o", direct, "--model", model).code == 0
        assert sfe("invert", portrait, "-o", file, "--model", model).code == 0
        portrait.unlink()
        monkeypatch.setattr("stylefeatureeditor.editor.find_faces", None)
        assert sfe("edit", file, *SMILE, "-o", out, "--model", model).code == 0
        assert np.array_equal(pixels(out), pixels(direct))

    def test_of_aligned_tensors_show_in_a_grid_too(self, tmp_path, model, sfe):
        editor = Editor.from_pretrained(model, device="cpu")
        file = save_inversion(editor.invert(tiny_photos()), tmp_path / "inv")
        out = tmp_path / "strip.png"
        ran = sfe("edit", file, "--grid", "smile=0:2:2", "-o", out, "--model", model)
        assert ran.code == 0
        assert out.is_file()

    def test_bring_their_own_faces(self, two_faces, model, sfe):
        file = two_faces.path.with_name("inv.safetensors")
        assert (
            sfe("invert", two_faces.path, "--face", "all", "-o", file, "--model", model).code == 0
        )
        out = file.with_name("out.png")
        words = ("--mask", "face", "--face", "2", "-o", out, "--model", model)
        assert sfe("edit", file, *SMILE, *words).code == 0
        changed = (pixels(out) != pixels(two_faces.path)).any(axis=2)
        assert changed[:, two_faces.width :].any()
        assert not changed[:, : two_faces.width].any()
        assert "not face 3" in sfe("edit", file, *SMILE, "--face", "3", "--model", model).err


@pytest.mark.parametrize(
    "words",
    [("--crop-only",), ("--compare",), ("--grid", "smile=-1:1:2"), ()],
    ids=["crop", "pair", "grid", "photo"],
)
def test_what_is_erased_stays_erased(words, aligned, model, sfe, tmp_path):
    pixels = np.asarray(Image.open(aligned))
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    side = len(alpha)
    alpha[:, : side // 2] = 0
    Image.fromarray(np.dstack([pixels, alpha])).save(aligned)
    out = tmp_path / "out.png"
    edits = () if "--grid" in words else ("-e", "smile=1")
    common = ("--aligned", "--model", model, "--device", "cpu", "-o", out)
    assert sfe("edit", aligned, *edits, *words, *common).code == 0
    picture = Image.open(out)
    if "--grid" in words:
        shown = np.asarray(picture)[-96:, :48]  # the left half of the first tile
        assert shown[:, :40].min() >= 250
        assert np.asarray(picture)[-96:, 60:96].min() < 230
    else:
        shown = np.asarray(picture)[..., 3]
        width = shown.shape[0]
        assert shown[:, : width // 2 - 1].max() <= 1  # a smaller crop rings
        assert shown[:, width // 2 + 1 : width].all()


def test_reads_edits_and_grids():
    assert strength("smile=-2.5") == ("smile", -2.5)
    assert strength("blond hair=1") == ("blond hair", 1.0)
    assert grid("age=-3:3:4") == Grid("age", -3.0, 3.0, 4)
    assert Grid("age", -3.0, 3.0, 4).strengths() == [-3.0, -1.0, 1.0, 3.0]


def test_the_same_edit_gives_the_same_file(aligned, model, sfe):
    first, second = aligned.with_name("1.png"), aligned.with_name("2.png")
    for out in (first, second):
        torch.manual_seed(hash(out.name))
        assert sfe("edit", aligned, "--aligned", *SMILE, "-o", out, "--model", model).code == 0
    assert first.read_bytes() == second.read_bytes()
