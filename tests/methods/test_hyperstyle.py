"""HyperStyle against the numbers of its release."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from released import assert_close, golden
from released_comparisons import STRENGTH, assert_picture, direction, load_from
from seeded import seeded_image
from seeded_comparisons import comparison_state, part, repeated_latent_avg, with_aliases
from stylefeatureeditor.errors import ConfigError, WeightsError
from stylefeatureeditor.methods.hyperstyle import HyperStyleConfig
from stylefeatureeditor.methods.load import _HYPERSTYLE, check_copies, load_hyperstyle
from stylefeatureeditor.methods.pixels import pool

NUMBERS = golden("cmp_hyperstyle")
SHARED = "hypernet.shared_weight_hypernet"
WIDE = (0, 2, 3, 5, 6, 8, 9, 11, 12)  # layers of 512 to 512 channels, as the release counts
TUNED = (*WIDE, 14, 15, 17, 18, 20, 21, 23, 24)


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def published():
    """Its two checkpoints; the shared tensors stand under every name that they have there."""
    state = with_aliases(comparison_state("hyperstyle"))
    assert all(f"hypernet.refinement_blocks.{layer}.hypernet.w2" in state for layer in WIDE)
    encoder = {f"encoder.{key}": value for key, value in part(state, "w_encoder.").items()}
    state = {key: value for key, value in state.items() if not key.startswith("w_encoder.")}
    mean = repeated_latent_avg("hyperstyle")
    return {"state_dict": state, "latent_avg": mean}, {"state_dict": encoder}


@pytest.fixture(scope="module")
def method(published):
    return load_from(load_hyperstyle, *published)


@pytest.fixture(scope="module")
def seen():
    """The pictures that the hyper-network was shown, pass after pass."""
    return []


@pytest.fixture(scope="module")
def attempts(method, seen):
    """The five attempts; only the last keeps its deltas, each attempt's are 100 MB."""
    kept = []
    hook = method.hypernetwork.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    for attempt in method.refine(seeded_image("cmp.x", 256)):
        kept = [replace(old, kept=()) for old in kept] + [attempt]
    hook.remove()
    return kept


def assert_deltas(deltas, case):
    """Compare each layer's changes with their mean, std and largest value, and a sample."""
    assert len(deltas) == len(TUNED)
    for layer, narrow_or_wide in zip(TUNED, deltas, strict=True):
        mean, std, largest = NUMBERS[f"{case}/delta{layer}/stats"]
        delta = narrow_or_wide.expand(-1, -1, -1, 3, 3)
        assert abs(float(delta.mean(dtype=torch.float64)) - mean) < 1e-4 * std
        assert abs(float(delta.std()) / std - 1) < 1e-4
        assert abs(float(delta.abs().max()) - largest) < 1e-4 * std
        if f"{case}/delta{layer}/first" in NUMBERS:
            eighth = delta[:, :: delta.shape[1] // 8, :: delta.shape[2] // 8]
            assert_close(eighth, NUMBERS[f"{case}/delta{layer}/first"], std)


def test_encodes_as_released(method):
    row = method.encoder(seeded_image("cmp.x", 256))
    assert_close(row, NUMBERS["w_encoder/w"][0])


def test_proposes_changes_as_released(method):
    deltas = method.hypernetwork(seeded_image("cmp.x", 256), seeded_image("cmp.y", 256))
    assert_deltas(deltas, "hypernet_of_x_and_y")


def test_starts_from_the_released_picture(attempts, seen):
    assert_close(attempts[0].codes.wplus[:, :1], NUMBERS["w"])
    std = NUMBERS["initial_pool256/stats"][1]
    assert_close(pool(seen[0], 16), NUMBERS["initial_pool256/pool16"], std)


def test_refines_as_released(attempts):
    assert len(attempts) == 5
    for step, attempt in enumerate(attempts, 1):
        assert_picture(attempt.pixels, "hyperstyle", f"iter{step}")
    assert_deltas(attempts[-1].kept, "iter5")


def test_edits_with_the_last_changes_as_released(method, attempts):
    pixels = method.edit(attempts[-1], {direction(): STRENGTH})
    assert_picture(pixels, "hyperstyle", "edit")


def test_the_generator_itself_stays(method, attempts, published):
    own = method.generator.layers[3].conv.weight
    assert attempts[-1].kept[3].any()
    assert torch.equal(own, published[0]["state_dict"]["decoder.convs.2.conv.weight"][0])


def test_the_half_gigabyte_is_the_checkpoints_own_memory(method, published):
    largest = published[0]["state_dict"][f"{SHARED}.w2"]
    assert method.hypernetwork.shared.w2.data_ptr() == largest.data_ptr()


def test_a_head_with_another_hyper_layer_than_the_shared_one_is_refused():
    one = torch.ones(1)
    for own in ({f"{SHARED}.w1": 2 * one}, {}):
        state = {"hypernet.refinement_blocks.0.hypernet.w1": one, "decoder.style.1.bias": one}
        with pytest.raises(WeightsError, match=r"0\.hypernet\.w1' differs"):
            check_copies(part({**state, **own}, "hypernet."))


def test_an_rgb_layer_among_the_changed_ones_is_refused():
    with pytest.raises(WeightsError, match=r"refinement_blocks\.4"):
        _HYPERSTYLE({"refinement_blocks.4.linear.weight": torch.ones(1)})


def test_sizes_that_cannot_work_are_refused():
    with pytest.raises(ConfigError, match="iterations"):
        HyperStyleConfig(iterations=0)
    with pytest.raises(ConfigError, match="power of two"):
        HyperStyleConfig(size=96)
