"""StyleCLIP mappers and text directions, on tiny seeded networks."""

import sys

import pytest
import torch

from seeded import seeded_input
from stylefeatureeditor.editing.styleclip import (
    StyleClipGlobal,
    StyleClipMapper,
    StyleMapper,
    clip_text_encoder,
)
from stylefeatureeditor.errors import DependencyError, DirectionError, WeightsError
from stylefeatureeditor.records import Codes, StyleLayout

D = 4
CODES = Codes(seeded_input("styleclip.codes", (2, 10, D)))
LAYOUT = StyleLayout(conv=(3, 3, 3, 2, 2), rgb=(3, 3, 2))
STDS = (torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0, 6.0]))
RELEVANCE = torch.tensor([[0.5], [-2.0], [0.1], [1.0], [-0.2], [0.3], [9.0]])
TEXT = StyleClipGlobal(relevance=RELEVANCE, std=STDS, layout=LAYOUT)


def released_state(prefix="mapper.", levels=("course", "medium", "fine")):
    return {
        f"{prefix}{level}_mapping.mapping.{number}.{leaf}": 50
        * seeded_input(f"{level}{number}{leaf}", shape)
        for level in levels
        for number in range(1, 5)
        for leaf, shape in (("weight", (D, D)), ("bias", (D,)))
    }


def by_hand(styles, state, level):
    """One level on (B, n, D), written out."""
    x = styles / (styles.pow(2).sum(dim=1, keepdim=True) / styles.shape[1] + 1e-8).sqrt()
    for number in range(1, 5):
        weight = state[f"mapper.{level}_mapping.mapping.{number}.weight"]
        bias = state[f"mapper.{level}_mapping.mapping.{number}.bias"]
        x = torch.einsum("bni,oi->bno", x, weight) * 0.01 / D**0.5 + 0.01 * bias
        x = torch.where(x > 0, x, 0.2 * x) * 2**0.5
    return x


def test_a_mapper_edits_each_level_with_its_own_network():
    state = released_state()
    mapper = StyleMapper.from_released(
        {"state_dict": state, "opts": {}}, ("coarse", "medium", "fine")
    )
    w = CODES.wplus
    change = torch.cat(
        [
            by_hand(w[:, :4], state, "course"),
            by_hand(w[:, 4:8], state, "medium"),
            by_hand(w[:, 8:], state, "fine"),
        ],
        dim=1,
    )
    torch.testing.assert_close(
        StyleClipMapper("m", mapper).apply(CODES, 0.1).wplus, w + 0.1 * change
    )


def test_an_unused_level_changes_nothing_and_needs_no_weights():
    whole, part = released_state(), released_state(levels=("course", "medium"))
    one = StyleMapper.from_released(whole, ("coarse", "medium"))(CODES.wplus)
    other = StyleMapper.from_released(part, ("coarse", "medium"))(CODES.wplus)
    assert torch.equal(one, other)
    assert not one[:, 8:].any()
    assert one[:, :8].all()


def test_a_mapper_survives_its_own_state_dict():
    mapper = StyleMapper.from_released(released_state(), ("coarse", "fine"))
    again = StyleMapper.from_state(mapper.state_dict())
    assert torch.equal(again(CODES.wplus), mapper(CODES.wplus))
    assert not any(weight.requires_grad for weight in again.parameters())


def test_a_mapper_takes_codes_shorter_than_its_fine_level():
    mapper = StyleMapper.from_released(released_state(), ("coarse", "medium", "fine"))
    assert mapper(CODES.wplus[:, :6]).isfinite().all()


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: StyleMapper.from_released({"a": 1}, ("coarse",)), WeightsError, "course_mapping"),
        (lambda: StyleMapper.from_released({"state_dict": 3}, ("coarse",)), WeightsError, "int"),
        (lambda: StyleMapper.from_state({}), WeightsError, "not a StyleCLIP mapper"),
        (
            lambda: StyleMapper.from_state({"levels.fine.1.weight": torch.zeros(())}),
            WeightsError,
            "levels.fine",
        ),
        (
            lambda: StyleMapper.from_released(
                released_state() | {"mapper.fine_mapping.mapping.2.bias": torch.zeros(3)}, ("fine",)
            ),
            WeightsError,
            r"levels.fine.2.bias' is missing, extra or misshapen",
        ),
        (
            lambda: StyleClipMapper("m", StyleMapper(5)).apply(CODES, 1.0),
            DirectionError,
            "width 5, got 4",
        ),
    ],
)
def test_a_mapper_that_does_not_fit_is_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_a_text_direction_follows_the_published_formula():
    styles = TEXT.along(torch.tensor([1.0]), beta=0.3).apply(CODES, 3.0).styles
    assert styles is not None
    # below 0.3: zero; divided by the peak, 2; times the spread; times 3 / 1.5
    expected = [0.5 / 2 * 1 * 2, -2 / 2 * 2 * 2, 0, 1 / 2 * 4 * 2, 0, 0.3 / 2 * 6 * 2]
    torch.testing.assert_close(torch.cat(styles.conv[:2], dim=1)[1], torch.tensor(expected))
    assert not any(row.any() for row in (*styles.conv[2:], *styles.rgb))
    assert [row.shape[1] for row in styles.conv] == list(LAYOUT.conv)
    assert [row.shape[1] for row in styles.rgb] == list(LAYOUT.rgb)


def test_released_spreads_count_rgb_layers_which_are_skipped():
    layers = [torch.full((width,), float(at)) for at, width in enumerate((3, 3, 3, 3, 3, 3, 2, 2))]
    layout = StyleLayout(conv=(3, 3, 3, 3, 2), rgb=(3, 3, 2))
    text = StyleClipGlobal.from_released(torch.ones(14, 1), layers, layout)
    assert [int(std[0]) for std in text.std] == [0, 2, 3, 5, 6]
    with pytest.raises(DirectionError, match="smaller generator"):
        StyleClipGlobal.from_released(torch.ones(14, 1), layers[:5], layout)


def test_prompts_become_the_unit_difference_of_averaged_features():
    sentences = {
        "a pic of fog": [3.0, 0.0],
        "fog": [0.0, 2.0],
        "a pic of sun": [5.0, 0.0],
        "sun": [1.0, 0.0],
    }
    text = StyleClipGlobal(
        relevance=torch.eye(2)[[0, 1, 0, 1, 0, 1]],
        std=(torch.ones(3), torch.ones(3)),
        layout=LAYOUT,
        templates=("a pic of {}", "{}"),
        encode=lambda prompts: torch.tensor([sentences[prompt] for prompt in prompts]),
    )
    got = text.direction("fog", "sun", 0.0)
    change = torch.tensor([1.0, 0.0]) - torch.tensor([0.5**0.5, 0.5**0.5])
    expected = text.along(change / change.norm(), 0.0)
    torch.testing.assert_close(got.offset.conv[0], expected.offset.conv[0])
    assert got.name == "fog -> sun"
    with pytest.raises(DirectionError, match="mean the same"):
        text.direction("sun", "sun", 0.0)


def test_without_a_text_encoder_the_error_names_what_to_install(monkeypatch, tmp_path):
    with pytest.raises(DependencyError, match="pip install transformers"):
        TEXT.direction("a face", "a smiling face", 0.18)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(DependencyError, match="pip install transformers"):
        clip_text_encoder(tmp_path)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TEXT.along(torch.tensor([1.0]), beta=3.0), "no channel reaches the threshold 3"),
        (lambda: TEXT.along(torch.tensor([0.0]), beta=0.0), "no channel reaches"),
        (lambda: TEXT.along(torch.ones(2), beta=0.1), r"shape \(1,\), got \(2,\)"),
        (
            lambda: StyleClipGlobal(relevance=RELEVANCE[:5], std=STDS, layout=LAYOUT),
            "at least 6 rows",
        ),
        (
            lambda: StyleClipGlobal(relevance=RELEVANCE, std=STDS[:1] * 6, layout=LAYOUT),
            "do not fit",
        ),
        (lambda: StyleClipGlobal(relevance=RELEVANCE, std=(), layout=LAYOUT), "do not fit"),
        (
            lambda: StyleClipGlobal(relevance=RELEVANCE, std=STDS, layout=LAYOUT, templates=("a",)),
            "template needs {}",
        ),
    ],
)
def test_text_data_that_does_not_fit_is_refused(build, message):
    with pytest.raises(DirectionError, match=message):
        build()
