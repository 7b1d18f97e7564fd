"""Directions among codes: planted ones are found, lengths are deviations, mistakes are told."""

import pytest
import torch

from stylefeatureeditor.directions.fit import (
    fit_boundary,
    principal_components,
    scaled,
    sefa,
    without,
)
from stylefeatureeditor.errors import ConfigError, DirectionError, ShapeError
from tiny import WIDTH, tiny_model


def planted(count=600, threshold=0.0, noise=0.0):
    """Codes whose label depends on w . n alone, off the axes and off the origin."""
    torch.manual_seed(1)
    normal = torch.nn.functional.normalize(torch.tensor([3.0, -2.0, 1.0, 0.0, 0.5, 0.0]), dim=0)
    codes = torch.randn(count, 6) + 5
    along = (codes - 5) @ normal + noise * torch.randn(count)
    return codes, torch.where(along > threshold, 1.0, -1.0), normal


@pytest.mark.parametrize("threshold", [0.0, 1.8])
def test_a_boundary_finds_what_was_planted_however_rare(threshold):
    codes, labels, normal = planted(4000, threshold, noise=0.3)
    found = fit_boundary(codes, labels)
    unit = found.vector / found.vector.norm()
    assert unit @ normal > 0.97
    assert 0.85 < found.accuracy < 1


def test_a_separable_set_ends_finitely_and_perfectly():
    codes, labels, normal = planted()
    found = fit_boundary(codes, labels)
    assert found.accuracy > 0.95
    assert found.vector.isfinite().all()
    assert found.vector / found.vector.norm() @ normal > 0.99


def test_an_svm_agrees():
    pytest.importorskip("sklearn")
    codes, labels, _ = planted(2000, noise=0.3)
    logistic, svm = (fit_boundary(codes, labels, m).vector for m in ("logistic", "svm"))
    assert torch.cosine_similarity(logistic, svm, dim=0) > 0.99


def test_labels_without_relation_give_chance():
    codes, _, _ = planted(2000)
    labels = torch.randn(2000, generator=torch.Generator().manual_seed(3)).sign()
    assert abs(fit_boundary(codes, labels).accuracy - 0.5) < 0.1


def test_unknown_labels_do_not_count():
    codes, labels, _ = planted()
    more = torch.cat([codes, 100 * torch.randn(50, 6)])
    marks = torch.cat([labels, torch.zeros(25), torch.full((25,), torch.nan)])
    assert torch.equal(fit_boundary(more, marks).vector, fit_boundary(codes, labels).vector)


def test_strength_1_is_one_deviation_of_the_codes():
    codes, labels, _ = planted(noise=0.3)
    vector = fit_boundary(codes, labels).vector
    unit = vector / vector.norm()
    assert torch.isclose(vector.norm(), (codes @ unit).std(), rtol=1e-4)
    assert torch.allclose(scaled(unit, codes), vector, rtol=1e-4)


def test_too_few_of_a_kind_are_refused():
    codes, _, _ = planted(40)
    labels = torch.full((40,), -1.0)
    labels[:3] = 1
    with pytest.raises(ConfigError, match="8 codes with the attribute, got 3"):
        fit_boundary(codes, labels)
    with pytest.raises(ConfigError, match="without the attribute"):
        fit_boundary(codes, -labels)
    with pytest.raises(ShapeError):
        fit_boundary(codes, labels[:-1])


class TestWithout:
    def test_leaves_nothing_of_the_others(self):
        torch.manual_seed(2)
        vector, one, two = torch.randn(3, 6)
        left = without(vector, [one, 3 * two, one + two])
        assert abs(left @ one) < 1e-5
        assert abs(left @ two) < 1e-5
        assert left @ vector > 0

    def test_by_hand(self):
        left = without(torch.tensor([1.0, 2.0, 3.0]), [torch.tensor([0.0, 5.0, 0.0])])
        assert torch.allclose(left, torch.tensor([1.0, 0.0, 3.0]))

    def test_of_nobody_changes_nothing(self):
        vector = torch.randn(6)
        assert torch.equal(without(vector, []), vector)

    def test_refuses_to_take_out_everything(self):
        with pytest.raises(DirectionError, match="name fewer"):
            without(torch.ones(3), [torch.ones(3) * 2])


def test_components_are_the_widest_axes_as_long_as_their_deviations():
    torch.manual_seed(0)
    codes = torch.randn(5000, 4) * torch.tensor([1.0, 4.0, 0.5, 2.0]) + 7
    rows = principal_components(codes, 2)
    assert torch.allclose(rows.norm(dim=1), torch.tensor([4.0, 2.0]), rtol=0.05)
    assert rows.abs().argmax(dim=1).tolist() == [1, 3]
    assert (rows.amax(dim=1) > 0).all()  # a sign that does not depend on the platform


def test_sefa_finds_what_the_layers_amplify():
    model = tiny_model()
    generator = model.generator
    axis = torch.nn.functional.one_hot(torch.tensor(4), WIDTH).float()
    for index in (2, 3):
        weight = generator.get_parameter(f"layers.{index}.conv.affine.weight")
        weight.data.normal_(0, 0.01)
        weight.data[:, 4] += 3
    codes = torch.randn(500, WIDTH)
    row = sefa(generator, codes, 1, (2, 4))[0]
    assert torch.cosine_similarity(row, axis, dim=0) > 0.99
    assert torch.isclose(row.norm(), codes[:, 4].std(), rtol=0.05)
    assert sefa(generator, codes, 3).shape == (3, WIDTH)


def test_impossible_counts_and_layers_are_refused():
    generator, codes = tiny_model().generator, torch.randn(50, WIDTH)
    with pytest.raises(ConfigError, match="1 to 12 directions, got 13"):
        principal_components(codes, 13)
    with pytest.raises(ConfigError, match="layers 0 to 6, got 7 to 8"):
        sefa(generator, codes, 1, (7, 8))
