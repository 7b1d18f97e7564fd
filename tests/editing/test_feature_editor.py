"""Feature Editor H (Eq. 6)."""

import pytest
import torch

from seeded import draw
from stylefeatureeditor.editing.feature_editor import FeatureEditor, FeatureEditorConfig
from stylefeatureeditor.errors import ConfigError, ShapeError
from tiny import randomize

pytestmark = pytest.mark.usefixtures("one_thread")
FEATURES, DELTA = draw("editor.features", (2, 4, 5, 5)), draw("editor.delta", (2, 4, 5, 5))


@pytest.fixture(scope="module")
def editor():
    return randomize(FeatureEditor(FeatureEditorConfig(channels=4, num_residual_layers=2)), "H")


@pytest.mark.parametrize("side", [4, 7])
def test_the_shape_stays_at_any_side(editor, side):
    features = draw("editor.side", (2, 4, side, side))
    assert editor(features, features).shape == features.shape


def test_features_come_before_delta(editor):
    assert torch.equal(editor(FEATURES, DELTA), editor.body(torch.cat([FEATURES, DELTA], dim=1)))


def test_reconstructing_is_a_delta_of_zero_and_not_the_identity(editor):
    drawn = editor(FEATURES, torch.zeros_like(FEATURES))
    assert not torch.allclose(drawn, FEATURES, atol=0.1)


def test_the_sign_of_delta_matters(editor):
    assert not torch.allclose(editor(FEATURES, DELTA), editor(FEATURES, -DELTA))


def test_the_gradient_reaches_both_inputs(editor):
    features, delta = (tensor.clone().requires_grad_() for tensor in (FEATURES, DELTA))
    editor(features, delta).square().mean().backward()
    assert features.grad.abs().min() > 0
    assert delta.grad.abs().min() > 0


def test_wrong_shapes_and_sizes_are_refused(editor):
    with pytest.raises(ShapeError, match=r"features: expected shape \(any, 4, any, any\)"):
        editor(torch.zeros(1, 8, 4, 4), torch.zeros(1, 8, 4, 4))
    with pytest.raises(ShapeError, match=r"delta: expected shape \(2, 4, 5, 5\)"):
        editor(FEATURES, DELTA[:1])
    for sizes in ({"channels": 0}, {"num_residual_layers": -1}):
        with pytest.raises(ConfigError, match="at least 1"):
            FeatureEditorConfig(**sizes)
