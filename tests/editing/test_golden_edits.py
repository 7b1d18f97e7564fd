"""Every published kind of edit against the released implementation's numbers.

Cases that need released files run where SFE_RELEASED_DIRECTIONS names a folder of them.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from seeded import draw, fixed_w, seeded_state
from stylefeatureeditor.editing.catalog import load_catalog
from stylefeatureeditor.editing.styleclip import RELEASED_LEVELS, StyleClipGlobal, StyleMapper
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.records import Codes
from stylefeatureeditor.weights.unpickle import read_array, read_numpy_pickle, read_torch

GOLDEN = Path(__file__).parents[1] / "golden" / "edits.npz"
TOLERANCE = 1e-4  # of the golden tensor's standard deviation, float32 on CPU
LAYOUT = GeneratorConfig(size=1024).style_layout()
CODES = Codes(fixed_w("edits.w"))
FOLDER = os.environ.get("SFE_RELEASED_DIRECTIONS")
needs_files = pytest.mark.skipif(
    FOLDER is None, reason="SFE_RELEASED_DIRECTIONS names no folder of released files"
)
CAR_STRENGTHS = {"pose_1": 2, "pose_2": -2, "cube": 25, "color": -8, "grass": -18}
GLOBAL = "styleclip_global_"
TEXT = {  # case: beta
    f"{GLOBAL}face with hair_face with fire hair_0.10": 0.10,
    f"{GLOBAL}a face_a smiling face_1.5": 1.5,
}


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.fixture(scope="module")
def mapper_checkpoint():
    entries = [
        (f"{level}.mapping.{number}.{leaf}", shape)
        for level in RELEASED_LEVELS.values()
        for number in range(1, 5)
        for leaf, shape in (("weight", (512, 512)), ("bias", (512,)))
    ]
    state = seeded_state(entries, "mapper.")
    return {"state_dict": {f"mapper.{key}": value for key, value in state.items()}, "opts": {}}


def entries(*kinds):
    """(family, name) of the published directions of some kinds."""
    return [
        (family, entry.name)
        for family in ("ffhq", "cars")
        for entry in load_catalog(family).entries
        if entry.kind in kinds
    ]


def golden_name(entry, golden, kind):
    """What the golden file calls an entry."""
    return next(name for name in (*entry.aliases, entry.name) if f"{name}/{kind}" in golden)


def assert_near(actual, expected):
    assert actual.shape == expected.shape
    error = (actual - expected).abs().max() / expected.std()
    assert error <= TOLERANCE, f"{error:.2e} of the standard deviation"


def read(path):
    return read_array(path) if path.suffix == ".npy" else read_torch(path)


@pytest.mark.parametrize(("family", "name"), entries("stylespace"))
def test_stylespace_edit_equals_the_release(family, name, golden):
    entry = load_catalog(family).find(name)
    direction = entry.load(Path(), LAYOUT, read)
    case = golden_name(entry, golden, "delta_styles")
    for strength, expected in zip(
        golden[f"{case}/degrees"], golden[f"{case}/delta_styles"], strict=True
    ):
        styles = direction.apply(CODES, float(strength)).styles
        assert_near(torch.cat(styles.conv, dim=1)[0], expected)
        assert not torch.cat(styles.rgb, dim=1).any()


@pytest.mark.parametrize(("family", "name"), entries("mapper"))
def test_mapper_edit_equals_the_release(family, name, golden, mapper_checkpoint, tmp_path):
    entry = load_catalog(family).find(name)
    (tmp_path / entry.file).touch()
    direction = entry.load(tmp_path, LAYOUT, lambda _: mapper_checkpoint)
    check_wplus(direction, golden[f"{name}/degrees"], golden[f"{name}/edited_stride4"])


def check_wplus(direction, strengths, expected):
    """The edited code, and the change alone: it is small beside the code."""
    before = CODES.wplus[0, :, ::4]
    for strength, edited in zip(strengths, expected, strict=True):
        actual = direction.apply(CODES, float(strength)).wplus[0, :, ::4]
        assert_near(actual, edited)
        assert_near(actual - before, edited - before)


@pytest.mark.parametrize("case", TEXT)
def test_text_edit_moves_the_same_channels_as_the_release(case, golden):
    relevance = draw("delta_i_c", (6048, 512))
    ones = tuple(torch.ones(width) for width in LAYOUT.conv[:11])
    text = StyleClipGlobal(relevance=relevance, std=ones, layout=LAYOUT)
    direction = text.along(golden[f"{case}/text_direction"], TEXT[case])
    for strength, expected in zip(
        golden[f"{case}/degrees"], golden[f"{case}/delta_styles"], strict=True
    ):
        actual = torch.cat(direction.apply(CODES, float(strength)).styles.conv, dim=1)[0]
        assert torch.equal(actual != 0, expected != 0)
        assert torch.equal(actual < 0, expected < 0)


def test_text_edits_share_one_spread_per_channel_with_the_release(golden):
    relevance = draw("delta_i_c", (6048, 512))
    ones = tuple(torch.ones(width) for width in LAYOUT.conv[:11])
    text = StyleClipGlobal(relevance=relevance, std=ones, layout=LAYOUT)
    spreads = []
    for case, beta in TEXT.items():
        direction = text.along(golden[f"{case}/text_direction"], beta)
        for strength, expected in zip(
            golden[f"{case}/degrees"], golden[f"{case}/delta_styles"], strict=True
        ):
            unit = torch.cat(direction.apply(CODES, float(strength)).styles.conv, dim=1)[0]
            spreads.append(expected / unit)
    known = torch.stack(spreads).isfinite().all(dim=0)
    assert known.sum() > 600
    for other in spreads[1:]:
        assert_near(other[known], spreads[0][known])
    assert (spreads[0][known] > 0).all()


@needs_files
@pytest.mark.parametrize(("family", "name"), entries("linear", "pca"))
def test_edit_by_a_released_file_equals_the_release(family, name, golden):
    entry = load_catalog(family).find(name)
    direction = entry.load(Path(FOLDER), LAYOUT, read)
    if family == "ffhq":
        check_wplus(direction, golden[f"{name}/degrees"], golden[f"{name}/edited_stride4"])
        return
    cases = [alias for alias in entry.names if alias in CAR_STRENGTHS]
    assert cases
    for case in cases:
        check_wplus(direction, [CAR_STRENGTHS[case]], golden[f"car/{case}/edited_stride4"])


@needs_files
@pytest.mark.parametrize("case", TEXT)
def test_text_edit_with_released_spreads_equals_the_release(case, golden):
    _, stds = read_numpy_pickle(Path(FOLDER) / "S_mean_std")
    text = StyleClipGlobal.from_released(
        draw("delta_i_c", (6048, 512)), [torch.from_numpy(np.array(std)) for std in stds], LAYOUT
    )
    direction = text.along(golden[f"{case}/text_direction"], TEXT[case])
    for strength, expected in zip(
        golden[f"{case}/degrees"], golden[f"{case}/delta_styles"], strict=True
    ):
        styles = direction.apply(CODES, float(strength)).styles
        assert_near(torch.cat(styles.conv, dim=1)[0], expected)


def test_every_golden_case_is_checked_here(golden):
    known = {f"car/{case}" for case in CAR_STRENGTHS} | set(TEXT)
    for family in ("ffhq", "cars"):
        known |= {name for entry in load_catalog(family).entries for name in entry.names}
    assert {name.rsplit("/", 1)[0] for name in golden} <= known


def test_a_mapper_checkpoint_of_other_weights_is_told_apart(golden, mapper_checkpoint):
    state = dict(mapper_checkpoint["state_dict"])
    state["mapper.medium_mapping.mapping.4.bias"] = (
        state["mapper.medium_mapping.mapping.4.bias"] + 1
    )
    change = StyleMapper.from_released(state, ("coarse", "medium"))(CODES.wplus)[0, :, ::4]
    expected = golden["afro/edited_stride4"][0] - CODES.wplus[0, :, ::4]
    with pytest.raises(AssertionError, match="standard deviation"):
        assert_near(0.07 * change, expected)
