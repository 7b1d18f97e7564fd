"""Fuser I_fus (Eq. 2)."""

import pytest
import torch

from seeded import draw
from stylefeatureeditor.errors import ConfigError, ShapeError
from stylefeatureeditor.inversion.fuser import Fuser, FuserConfig
from tiny import randomize

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = FuserConfig(channels=4, num_residual_layers=2)
PREDICTED, GENERATED = draw("fuser.predicted", (2, 4, 5, 5)), draw("fuser.generated", (2, 4, 5, 5))


def fuser():
    return randomize(Fuser(TINY), "fuser")


def test_the_prediction_comes_before_the_generators_features():
    network = fuser()
    pair = torch.cat([PREDICTED, GENERATED], dim=1)
    assert torch.equal(network(PREDICTED, GENERATED), network.body(pair))
    assert not torch.allclose(network(PREDICTED, GENERATED), network(GENERATED, PREDICTED))


def test_both_inputs_count():
    network = fuser()
    fused = network(PREDICTED, GENERATED)
    assert fused.shape == PREDICTED.shape
    assert not torch.allclose(network(PREDICTED + 1, GENERATED), fused)
    assert not torch.allclose(network(PREDICTED, GENERATED + 1), fused)


def test_wrong_shapes_and_sizes_are_refused():
    with pytest.raises(ShapeError, match=r"predicted: expected shape \(any, 4, any, any\)"):
        fuser()(torch.zeros(1, 3, 5, 5), GENERATED)
    with pytest.raises(ShapeError, match=r"generated: expected shape \(2, 4, 5, 5\)"):
        fuser()(PREDICTED, GENERATED[:1])
    for sizes in ({"channels": 0}, {"num_residual_layers": 0}):
        with pytest.raises(ConfigError, match="at least 1"):
            FuserConfig(**sizes)
