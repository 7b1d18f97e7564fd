"""Directions are linear in the strength, add up, and come in any order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seeded import draw
from stylefeatureeditor.editing.catalog import Catalog, CatalogEntry
from stylefeatureeditor.editing.delta import masked
from stylefeatureeditor.editing.direction import (
    LinearDirection,
    PcaDirection,
    StyleSpaceDirection,
    combine,
)
from stylefeatureeditor.generator.stylegan2 import GeneratorConfig
from stylefeatureeditor.records import Codes

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIG = GeneratorConfig(size=32, style_dim=12, mapping_layers=2, channel_base=128, channel_max=16)
LAYOUT = CONFIG.style_layout()
STYLES, WIDTH = CONFIG.num_styles, CONFIG.style_dim

strengths = st.floats(-20, 20, allow_nan=False, width=32)
seeds = st.integers(0, 10**6)
spans = st.none() | st.tuples(st.integers(0, STYLES - 1), st.integers(1, STYLES)).filter(
    lambda span: span[0] < span[1]
)


@st.composite
def linear(draws):
    seed, rows = draws(seeds), draws(st.booleans())
    shape = (STYLES, WIDTH) if rows else (WIDTH,)
    scale = draws(st.floats(-2, 2, width=32))
    return LinearDirection("linear", draw(f"{seed}", shape), scale, draws(spans))


@st.composite
def pca(draws):
    seed = draws(seeds)
    component = torch.nn.functional.normalize(draw(f"c{seed}", (WIDTH,)), dim=0)
    std = draws(st.floats(0.125, 4, width=32))
    return PcaDirection("pca", component, draw(f"m{seed}", (WIDTH,)), std, draws(spans))


@st.composite
def stylespace(draws):
    layer, channel = draws(st.integers(0, 10)), draws(st.integers(0, 3))
    return StyleSpaceDirection.of_channels("style", ((layer, channel),), LAYOUT)


linear_in_strength = st.one_of(linear(), stylespace())
any_direction = st.one_of(linear(), pca(), stylespace())
codes = st.builds(lambda seed, rows: Codes(draw(f"w{seed}", (rows, STYLES, WIDTH))), seeds,
                  st.integers(1, 3))  # fmt: skip


def flat(values):
    """All numbers of codes or of a shift in one vector; a missing part is zero."""
    parts = [] if values.wplus is None else [values.wplus.flatten(1)]
    if values.styles is not None:
        parts += [*values.styles.conv, *values.styles.rgb]
    rows = max(len(part) for part in parts)
    return torch.cat([part.expand(rows, -1) for part in parts], dim=1)


def assert_same(one, other):
    first, second = flat(one), flat(other)
    assert torch.allclose(first, second, atol=1e-4 * max(1, float(first.abs().max())))


@given(direction=linear_in_strength, code=codes, a=strengths, b=strengths)
def test_shifts_add_as_strengths_do(direction, code, a, b):
    assert_same(direction.shift(code, a) + direction.shift(code, b), direction.shift(code, a + b))


@given(direction=linear_in_strength, code=codes, a=strengths)
def test_a_shift_is_a_multiple_of_that_of_strength_one(direction, code, a):
    assert torch.allclose(
        flat(direction.shift(code, a)), a * flat(direction.shift(code, 1.0)), atol=1e-3
    )
    assert not flat(direction.shift(code, 0.0)).any()


@given(direction=linear_in_strength, code=codes, a=strengths)
def test_an_edit_is_undone_by_its_negative(direction, code, a):
    there = direction.apply(code, a)
    back = direction.apply(there, -a)
    assert torch.allclose(back.wplus, code.wplus, atol=1e-4)
    if back.styles is not None:
        assert flat(back)[:, code.wplus[0].numel() :].abs().max() < 1e-4


@given(edits=st.lists(st.tuples(any_direction, strengths), min_size=2, max_size=4), code=codes,
       random=st.randoms(use_true_random=False))  # fmt: skip
def test_several_edits_come_in_any_order(edits, code, random):
    other = random.sample(edits, len(edits))
    assert_same(combine(code, dict(edits)), combine(code, dict(other)))


@given(edits=st.lists(st.tuples(any_direction, strengths), min_size=1, max_size=3), code=codes)
def test_several_edits_are_the_codes_and_the_sum_of_the_shifts(edits, code):
    total = code
    for direction, strength in edits:
        total = total + direction.shift(code, strength)  # every shift of the unedited codes
    assert_same(combine(code, dict(edits)), total)


@given(edits=st.lists(st.tuples(linear_in_strength, strengths), min_size=1, max_size=3), code=codes)
def test_linear_edits_may_also_come_one_after_another(edits, code):
    one_by_one = code
    for direction, strength in edits:
        one_by_one = direction.apply(one_by_one, strength)
    assert_same(combine(code, dict(edits)), one_by_one)


@given(direction=pca(), code=codes, a=strengths)
def test_a_component_is_brought_to_the_strength_wherever_it_was(direction, code, a):
    moved = direction.apply(code, a)
    there = (moved.wplus - direction.mean) @ direction.component / direction.std
    start, end = direction.layers or (0, STYLES)
    before = (code.wplus - direction.mean) @ direction.component / direction.std
    step = there - before
    assert torch.allclose(step[:, start:end], (a - before[:, :1]).expand_as(step[:, start:end]),
                          atol=1e-3)  # fmt: skip
    untouched = torch.ones(STYLES, dtype=torch.bool)
    untouched[start:end] = False
    assert torch.equal(moved.wplus[:, untouched], code.wplus[:, untouched])


@given(direction=any_direction, seed=seeds, values=st.lists(strengths, min_size=2, max_size=4))
def test_strengths_by_row_are_strengths_one_at_a_time(direction, seed, values):
    code = Codes(draw(f"w{seed}", (len(values), STYLES, WIDTH)))
    whole = flat(direction.apply(code, torch.tensor(values)))
    for row, value in enumerate(values):
        alone = flat(direction.apply(code.rows(slice(row, row + 1)), value))
        assert torch.allclose(whole[row : row + 1], alone, atol=1e-4)


@given(seed=seeds, side=st.sampled_from([4, 8, 16]), a=st.floats(0, 1, width=32))
def test_a_mask_scales_delta_and_never_turns_it(seed, side, a):
    delta = draw(f"d{seed}", (1, 3, 8, 8))
    region = draw(f"r{seed}", (1, 1, side, side)).sigmoid()
    part = masked(delta, region)
    assert (part.abs() <= delta.abs() + 1e-6).all()
    assert (part * delta >= 0).all()
    assert torch.allclose(masked(a * delta, region), a * part, atol=1e-6)
    assert torch.allclose(part + masked(delta, 1 - region), delta, atol=1e-5)


names = st.from_regex(r"[a-z0-9_]{1,12}", fullmatch=True)
texts = st.text(max_size=12)
ranges = st.tuples(st.floats(-50, 0, width=32), st.floats(0.5, 50, width=32))


@st.composite
def catalogs(draws):
    entries = []
    for name in draws(st.lists(names, unique_by=lambda name: name.strip("_"), max_size=4)):
        entry = CatalogEntry(
            name=name,
            kind="linear",
            useful_range=draws(ranges),
            label=draws(texts),
            help=draws(texts),
            scale=draws(st.floats(-2, 2, width=32)),
            layers=draws(spans),
            tensors={"vector": draw(name, (WIDTH,))},
        )
        entries.append(entry)
    return entries


@given(entries=catalogs())
def test_a_catalogue_becomes_a_table_and_the_same_catalogue_again(entries):
    from stylefeatureeditor.editing.direction_names import spelling

    spelled = {spelling(entry.name): entry for entry in entries}
    catalog = Catalog(tuple(spelled.values()))
    again = Catalog.from_table(catalog.to_table(), catalog.tensors())
    assert again.to_table() == catalog.to_table()
    assert [entry.useful_range for entry in again.entries] == [
        entry.useful_range for entry in catalog.entries
    ]
    for name, tensor in catalog.tensors().items():
        assert torch.equal(again.tensors()[name], tensor)
