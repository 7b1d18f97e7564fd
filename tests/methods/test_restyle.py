"""ReStyle, both flavours, against the numbers of their release."""

from __future__ import annotations

import pytest
import torch

from released import assert_close, golden
from released_comparisons import STRENGTH, assert_picture, direction, load_from
from seeded import seeded_image
from seeded_comparisons import comparison_state, repeated_latent_avg
from stylefeatureeditor.errors import WeightsError
from stylefeatureeditor.methods.load import load_restyle

FLAVOURS = {"restyle_psp": "BackboneEncoder", "restyle_e4e": "ProgressiveBackboneEncoder"}


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module", params=FLAVOURS)
def flavour(request):
    return request.param


@pytest.fixture(scope="module")
def method(flavour):
    checkpoint = {
        "state_dict": comparison_state(flavour),
        "latent_avg": repeated_latent_avg(flavour),
        "opts": {"encoder_type": FLAVOURS[flavour]},
    }
    return load_from(load_restyle, checkpoint)


def test_encodes_a_photo_beside_an_attempt_as_released(method, flavour):
    rows = method.encoder(seeded_image("cmp.x", 256), seeded_image("cmp.y", 256))
    assert_close(rows, golden(f"cmp_{flavour}")["encoder/codes_of_x_and_y"])


@pytest.mark.slow
def test_refines_and_edits_as_released(method, flavour, monkeypatch):
    numbers, pictures = golden(f"cmp_{flavour}"), []
    average = method.average_picture
    monkeypatch.setattr(
        method, "average_picture", lambda: pictures.append(average()) or pictures[0]
    )
    attempts = []
    for attempt in method.refine(seeded_image("cmp.x", 256)):
        attempts.append(attempt)
        assert_picture(attempt.pixels, flavour, f"iter{len(attempts)}")
    assert_picture(pictures[0], flavour, "average_image")
    assert len(attempts) == 5
    for step, attempt in enumerate(attempts[:4], 1):
        std = float(numbers[f"iter{step}/w"].std())
        assert_close(attempt.codes.wplus[:, :, ::8], numbers[f"iter{step}/w"], std)
    assert_close(attempts[4].codes.wplus, numbers["iter5/w"])
    assert_picture(method.edit(attempts[4], {direction(): STRENGTH}), flavour, "edit_w")


def test_a_file_that_does_not_say_its_flavour_is_refused():
    with pytest.raises(WeightsError, match="which ReStyle it holds"):
        load_from(load_restyle, {"state_dict": {}, "opts": {"encoder_type": "GradualStyleEncoder"}})
