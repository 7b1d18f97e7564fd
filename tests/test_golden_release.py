"""The released face model at 1024 px: every golden case, through files and the command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from released import assert_close, assert_features, assert_image, golden, released_files
from seeded import background_mask, fixed_w, seeded_image, seeded_input
from stylefeatureeditor.cli.main import main
from stylefeatureeditor.editing.direction import (
    EditDirection,
    LinearDirection,
)
from stylefeatureeditor.editor import Editor
from stylefeatureeditor.records import Codes, StyleSpace
from stylefeatureeditor.weights.direction_files import read_direction_file

LAYER = 9


@pytest.fixture(scope="module")
def editor(tmp_path_factory):
    """The seeded checkpoint, converted by `sfe models convert` and loaded again."""
    folder = tmp_path_factory.mktemp("released")
    paths = released_files(folder)
    options = [f"--{name}={path}" for name, path in paths.items()]
    assert main(["models", "convert", *options, "-o", str(folder / "model")]) == 0
    for path in paths.values():
        path.unlink()  # two gigabytes
    editor = Editor.from_pretrained(folder / "model", device="cpu")
    yield editor
    for path in (folder / "model").iterdir():
        path.unlink()


@pytest.fixture(scope="module")
def generator(editor):
    return editor.model.generator


@pytest.fixture(scope="module")
def inversion(editor):
    return editor.invert(seeded_image("sfe", 1024))


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


class TestGenerator:
    numbers = golden("generator")

    def test_draws_w_plus_codes(self, generator):
        assert_image(generator.synthesize(Codes(fixed_w("generator.w"))), self.numbers, "wplus")

    @pytest.mark.parametrize("layer", [5, 9, 11])
    def test_gives_layer_outputs(self, generator, layer):
        features = generator.features(Codes(fixed_w("generator.w")), layer)
        assert_features(features, self.numbers, f"wplus/feature{layer}")

    def test_stops_after_the_64_px_block(self, generator):
        halfway = generator.run_to(Codes(fixed_w("generator.w")), LAYER)
        assert_close(halfway.rgb, self.numbers["early_stop64/skip_image"])
        assert_features(halfway.features, self.numbers, "early_stop64/feature9")

    def test_maps_latents(self, generator):
        codes = generator.map(seeded_input("generator.z", (2, 512)))
        assert_close(codes.wplus[:, 0], self.numbers["mapping/w"])

    def test_gives_stylespace_vectors(self, generator):
        codes = fixed_w("generator.w")
        layout = generator.config.style_layout()
        assert layout.conv == tuple(self.numbers["stylespace/widths"])
        assert layout.rgb == tuple(self.numbers["stylespace/rgb_widths"])
        conv = [layer.conv.affine(codes[:, i]) for i, layer in enumerate(generator.layers)]
        rgb = [layer.conv.affine(codes[:, 2 * i + 1]) for i, layer in enumerate(generator.to_rgb)]
        assert_close(torch.cat(conv, dim=1), self.numbers["stylespace/styles"])
        assert_close(torch.cat(rgb, dim=1), self.numbers["stylespace/rgb_styles"])

    def test_draws_moved_stylespace_vectors(self, generator):
        layout = generator.config.style_layout()
        moved = tuple(
            0.3 * seeded_input(f"generator.ds{index}", (1, width))
            for index, width in enumerate(layout.conv)
        )
        still = tuple(torch.zeros(1, width) for width in layout.rgb)
        codes = Codes(fixed_w("generator.w"), StyleSpace(moved, still))
        assert_image(generator.synthesize(codes), self.numbers, "stylespace")

    @pytest.mark.parametrize("blend", [1.0, 0.35])
    def test_takes_features_over(self, generator, blend):
        codes = Codes(fixed_w("generator.w"))
        start = generator.run_to(codes, LAYER)
        injected = 0.75 * seeded_input("generator.feature9", (1, 512, 64, 64))
        features = torch.lerp(start.features, injected, blend)
        pixels = generator.synthesize_from(features, codes, LAYER, start.rgb)
        assert_image(pixels, self.numbers, f"inject9_scale{blend}")


class TestEncoders:
    numbers = golden("encoders")

    def test_e4e(self, editor):
        photos = seeded_image("encoders", 256, batch=2)
        assert_close(editor.model.e4e(photos), self.numbers["e4e/w"])
        assert_features(editor.model.e4e.levels(photos).fine, self.numbers, "e4e/p1")

    def test_feature_style_encoder(self, editor):
        photos = seeded_image("encoders", 256, batch=2)
        offsets, predicted = editor.model.inverter.encoder(photos)
        assert_close(offsets, self.numbers["fs_backbone/w"])
        assert_features(predicted, self.numbers, "fs_backbone/predicted_feat")

    def test_fuser(self, editor):
        predicted, generated = seeded_input("fuser.in", (1, 1024, 64, 64)).chunk(2, dim=1)
        assert_features(
            editor.model.inverter.fuser(predicted, generated), self.numbers, "fuser/out"
        )

    def test_feature_editor(self, editor):
        features, delta = seeded_input("editor.in", (1, 1024, 64, 64)).chunk(2, dim=1)
        network = editor.model.feature_editor
        assert_features(network(features, delta), self.numbers, "editor/out")
        without_edit = network(features, torch.zeros_like(features))
        assert_features(without_edit, self.numbers, "editor_zero_delta/out")


class TestMethod:
    numbers = golden("sfe")

    def test_inversion(self, editor, inversion):
        assert_image(inversion.pixels, self.numbers, "inversion")
        assert_close(inversion.codes.wplus, self.numbers["inversion/w"])
        assert_features(inversion.features, self.numbers, "inversion/fused_feat")
        predicted = editor.model.inverter.encoder(inversion.encoder_pixels)[1]
        assert_features(predicted, self.numbers, "inversion/predicted_feat")

    @pytest.mark.parametrize(
        ("blend", "case"), [(1.0, "phase1_inversion"), (0.3, "phase1_inversion_n_iter3000")]
    )
    def test_phase_1_inversion_skips_the_feature_editor(self, generator, inversion, blend, case):
        start = generator.run_to(inversion.codes, LAYER)
        features = torch.lerp(start.features, inversion.features, blend)
        pixels = generator.synthesize_from(features, inversion.codes, LAYER, start.rgb)
        assert_image(pixels, self.numbers, case)

    def test_edit_in_w_plus(self, editor, inversion):
        direction = EditDirection.linear(seeded_input("sfe.direction", (1, 18, 512))[0])
        result = editor.edit(inversion, {direction: 0.5})
        assert_image(result.pixels, self.numbers, "edit_wplus")
        anchor = inversion.anchor.codes
        assert_close(anchor.wplus, self.numbers["inversion/w_e4e"])
        generator = editor.model.generator
        assert_image(generator.synthesize(anchor), self.numbers, "edit_wplus/e4e_inversion")
        moved = generator.synthesize(direction.apply(anchor, 0.5))
        assert_image(moved, self.numbers, "edit_wplus/e4e_edit")

    def test_edit_under_a_mask(self, editor, inversion):
        direction = EditDirection.linear(seeded_input("sfe.direction", (1, 18, 512))[0])
        region = 1 - background_mask()[:, :1]
        result = editor.edit(inversion, {direction: 0.5}, mask=region)
        assert_image(result.pixels, self.numbers, "edit_wplus_masked")

    def test_edit_in_stylespace_by_its_published_name(self, editor, inversion):
        result = editor.edit(inversion, {"blond hair": -8.0})
        assert_image(result.pixels, self.numbers, "edit_stylespace")

    @pytest.mark.skipif(
        "SFE_RELEASED_DIRECTIONS" not in os.environ,
        reason="set SFE_RELEASED_DIRECTIONS to the folder of the released direction files",
    )
    def test_edit_by_the_released_age_direction(self, editor, inversion):
        content = read_direction_file(Path(os.environ["SFE_RELEASED_DIRECTIONS"]) / "age.pt")
        age = LinearDirection("age", content.reshape(-1), scale=0.5)
        strip = editor.strip(inversion, age, [-5.0, 5.0])
        pixels = torch.cat([result.pixels for result in strip])
        assert_image(pixels, self.numbers, "edit_age_two_degrees")
