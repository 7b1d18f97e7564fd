"""Sec. 4.3: who is A, who is B, what an edit changed and what else."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stylefeatureeditor.editing.direction import EditDirection
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.evaluation.editing import (
    EditTask,
    consistency,
    evaluate_edit,
    evaluate_edited_images,
    flips,
    leakage,
    random_halves,
    split_by_attribute,
)
from stylefeatureeditor.metrics.attribute_classifier import (
    AttributeClassifier,
    AttributeClassifierConfig,
)
from stylefeatureeditor.records import Codes
from toy_methods import BRIGHTER, Darker, MemoryPhotos, toy_evaluation

ADD = EditTask(name="bright+", direction=BRIGHTER, strength=0.2, attribute="Bright")
REMOVE = EditTask(name="bright-", direction=BRIGHTER, strength=-0.2, attribute="Bright", target=-1)
VALUES = torch.tensor([1.0, -1, 1, -1, 0, 1, -1, 1, -1, 0])


def split(task, values):
    return split_by_attribute(task.name, task.attribute, task.target, values)


def test_adding_edits_those_without_and_compares_with_those_with():
    real, edited = split(ADD, VALUES)
    assert real.tolist() == [0, 2, 5, 7]
    assert edited.tolist() == [1, 3, 6, 8]


def test_removing_swaps_the_two():
    real, edited = split(REMOVE, VALUES)
    assert real.tolist() == [1, 3, 6, 8]
    assert edited.tolist() == [0, 2, 5, 7]


def test_an_empty_split_is_one_sentence():
    with pytest.raises(ConfigError, match="0 of the 3 photos have Bright = no"):
        split(ADD, torch.ones(3))


def test_random_halves_share_no_photo_and_leave_none_out():
    first, second = random_halves(11, seed=3)
    assert (len(first), len(second)) == (6, 5)
    assert sorted([*first, *second]) == list(range(11))
    assert not np.array_equal(first, random_halves(11, seed=4)[0])
    with pytest.raises(ConfigError, match="at least four"):
        random_halves(3, seed=0)


def test_a_flip_counts_only_where_the_target_was_not_there():
    before, after = torch.tensor([-1.0, -1, 1]), torch.tensor([1.0, -1, 1])
    assert flips(before, after, 1)[:2].tolist() == [1, 0]
    assert flips(before, after, 1)[2].isnan()
    assert flips(-before, -after, -1)[:2].tolist() == [1, 0]


def test_leakage_looks_at_the_other_attributes_only():
    before, after = torch.zeros(1, 3), torch.tensor([[9.0, 0.0, 0.0]])
    assert leakage(before, after, 0).item() == 0
    assert leakage(before, after, 1).item() == pytest.approx(
        (torch.tensor(9.0).sigmoid() - 0.5) / 2
    )


def test_fid_is_taken_between_a_and_edited_b(tmp_path):
    """Edits that bring B to A's brightness bring the sets together."""
    evaluation = toy_evaluation(tmp_path)
    values = bright_as_attribute(evaluation)
    means = brightness(evaluation)
    gap = float(means[values == 1].mean() - means[values == -1].mean())
    fids = []
    for name, strength in (("none", 0.0), ("right", gap), ("wrong", -gap)):
        task = EditTask(name=name, direction=BRIGHTER, strength=strength, attribute="B")
        result = evaluate_edit(Darker(1.0), task, evaluation, values)
        fids.append(result.values[f"{name} fid"].value)
    assert fids[1] < fids[0] < fids[2]
    assert result.count == 5


class Judge(AttributeClassifier):
    """The first attribute is the brightness of the picture, the second that of its left edge."""

    def __init__(self, *attributes: str) -> None:
        super().__init__(AttributeClassifierConfig(attributes=attributes))

    def forward(self, pixels):
        return torch.stack([pixels.mean((1, 2, 3)), pixels[..., 0].mean((1, 2))], 1)


def test_the_judge_adds_flip_and_leakage(tmp_path):
    task = EditTask(name="b+", direction=BRIGHTER, strength=1.0, attribute="B")
    evaluation = toy_evaluation(tmp_path)
    values = bright_as_attribute(evaluation)
    result = evaluate_edit(Darker(), task, evaluation, values, Judge("B", "left"))
    assert result.values["b+ flip"].value == 1
    assert 0 < result.values["b+ leakage"].value < 1
    assert {"seconds", "seconds_edit"} <= set(result.values)


def test_a_folder_that_was_edited_elsewhere_has_the_fid_of_the_method(tmp_path):
    evaluation = toy_evaluation(tmp_path / "run")
    values = bright_as_attribute(evaluation)
    task = EditTask(name="b+", direction=BRIGHTER, strength=0.25, attribute="B")
    own = evaluate_edit(Darker(1.0), task, evaluation, values)
    photos = evaluation.photos
    pixels = torch.stack([photos.image(n) for n in range(len(photos))]) / 127.5 - 1
    moved = MemoryPhotos((pixels + 0.25).clamp(-1, 1), photos.names)
    found = evaluate_edited_images("theirs", "b+", moved, split(task, values), evaluation)
    assert found.values["b+ fid"].value == pytest.approx(own.values["b+ fid"].value, abs=1e-4)
    assert (found.count, found.peak_mib) == (5, None)


def test_latent_editing_consistency_is_how_far_the_way_back_misses(tmp_path):
    """The toy always finds the code 0, so taking back an edit of 0.2 misses by 0.2."""
    task = replace(ADD, strength=0.2)
    evaluation = toy_evaluation(tmp_path)
    result = evaluate_edit(Darker(), task, evaluation, VALUES, lec=True)
    assert result.values["bright+ lec"].value == pytest.approx(0.2)
    plain = evaluate_edit(Darker(), replace(task, name="plain"), evaluation, VALUES)
    assert "plain lec" not in plain.values


@pytest.mark.parametrize(("moved", "missed"), [(0.2, 0.0), (-0.2, 0.4), (0.0, 0.2)])
def test_codes_of_the_edited_picture_are_moved_back_by_the_edit(moved, missed):
    shift = torch.full((1, 1, 1), 0.2)
    task = SimpleNamespace(
        direction=SimpleNamespace(shift=lambda _, by: SimpleNamespace(wplus=by * shift)),
        strength=1.0,
    )
    codes = Codes(torch.ones(1, 1, 1))
    method = SimpleNamespace(invert=lambda _: SimpleNamespace(codes=Codes(codes.wplus + moved)))
    found = consistency(method, codes, torch.zeros(1, 3, 8, 8), task)
    assert found.item() == pytest.approx(missed, abs=1e-6)
    task.direction.shift = lambda *_: SimpleNamespace(wplus=None)
    assert consistency(method, codes, torch.zeros(1, 3, 8, 8), task).isnan().all()


def test_a_judge_without_the_attribute_is_left_out(tmp_path):
    judge = Judge("other", "left")
    result = evaluate_edit(Darker(), ADD, toy_evaluation(tmp_path), VALUES, judge)
    assert "bright+ flip" not in result.values


def test_rotation_edits_one_random_half(tmp_path):
    task = EditTask(name="rotation", direction=BRIGHTER, strength=0.5)
    result = evaluate_edit(Darker(1.0), task, toy_evaluation(tmp_path))
    assert result.count == 5
    assert result.values["rotation fid"].value > 0


def test_a_target_is_one_or_minus_one():
    with pytest.raises(ConfigError, match="1 or -1"):
        EditTask(name="x", direction=BRIGHTER, strength=1.0, target=0)


def brightness(evaluation) -> torch.Tensor:
    """Return the mean of each photo, in [-1, 1]."""
    images = [evaluation.photos.image(index).float() for index in range(len(evaluation.photos))]
    return torch.stack([image.mean() / 127.5 - 1 for image in images])


def bright_as_attribute(evaluation) -> torch.Tensor:
    """Return 1 for the brighter half of the photos, -1 for the other."""
    means = brightness(evaluation)
    return torch.where(means > means.median(), 1.0, -1.0)


def test_a_direction_of_the_same_name_is_another_run(tmp_path):
    first, second = (EditDirection.linear(torch.full((1,), v), "brighter") for v in (1.0, 2.0))
    task = replace(ADD, direction=first)
    for _ in range(2):
        evaluate_edit(Darker(), task, toy_evaluation(tmp_path), VALUES)
    with pytest.raises(ConfigError, match="holds another evaluation"):
        evaluate_edit(Darker(), replace(task, direction=second), toy_evaluation(tmp_path), VALUES)
