"""Training of the attribute classifier."""

from dataclasses import replace

import pytest
import torch

from phase_training import assert_resumes, changed, prepared, snapshot
from stylefeatureeditor.data.attribute_table import AttributeTable
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.metrics.attribute_classifier import (
    AttributeClassifier,
    AttributeClassifierConfig,
)
from stylefeatureeditor.training.attributes import (
    FILE,
    AttributePhase,
    AttributeTrainingConfig,
    answer_weights,
    rate,
    shifted,
)
from tiny import tiny_photos

CONFIG = AttributeTrainingConfig(
    network=AttributeClassifierConfig(
        size=32, channels=(4, 4, 6, 8), depths=(1, 1, 1, 1), dropout=0.0
    ),
    lr=1e-2,
    steps=30,
    jitter=0,
)


def bright_and_warm(count):
    """Photos that are bright or dark and warm or cold, and the table that says so."""
    answers = torch.tensor([[1.0, -1.0], [1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0]])
    values = answers.repeat(count // 4, 1)
    photos = 0.1 * tiny_photos(count)
    photos += 0.4 * values[:, 0, None, None, None]
    photos[:, 0] += 0.3 * values[:, 1, None, None]
    photos[:, 2] -= 0.3 * values[:, 1, None, None]
    names = tuple(f"{i}.png" for i in range(count))
    return photos, AttributeTable(names, ("bright", "warm"), values)


def make(config=CONFIG, table=None):
    photos, known = bright_and_warm(16)
    torch.manual_seed(1)
    return AttributePhase(config, known if table is None else table, photos, known)


def train(phase, start, end):
    photos, _ = bright_and_warm(16)
    metrics = []
    for step in range(start, end):
        torch.manual_seed(step)
        metrics.append(phase.train_step(photos, step, phase.labels))
    return metrics


def test_learns_what_can_be_seen():
    phase = prepared(make())
    metrics = train(phase, 0, 30)
    assert metrics[-1]["loss"] < 0.5 * metrics[0]["loss"]
    found = phase.validate()
    names = {"accuracy", "balanced"}
    names |= {f"{kind}/{name}" for kind in names for name in ("bright", "warm")}
    assert set(found) == names
    assert found["accuracy"] > 0.9


def test_validation_leaves_the_network_as_it_is():
    phase = prepared(make())
    before = snapshot(phase.classifier)
    phase.validate()
    assert changed(phase.classifier, before) == set()
    assert phase.classifier.training
    assert phase.samples() is None


def test_labels_are_those_of_the_indices():
    photos, _ = bright_and_warm(16)
    phases = [prepared(make()), prepared(make())]
    right = phases[0].train_step(photos[4:8], 0, phases[0].labels[4:8])
    wrong = phases[1].train_step(photos[4:8], 0, phases[1].labels[5:9])
    assert right["loss"] != wrong["loss"]


def test_unknown_answers_count_nothing():
    photos, known = bright_and_warm(16)
    values = known.values.clone()
    values[:, 1] = 0
    phase = make(table=AttributeTable(known.names, known.attributes, values))
    logits = torch.zeros(16, 2)
    logits[:, 1] = 100.0
    assert phase._loss(logits, phase.labels).item() == pytest.approx(0.6931, abs=1e-3)
    found = prepared(phase).train_step(photos, 0, phase.labels)
    assert 0 <= found["accuracy"] <= 1


def test_validation_judges_only_what_is_known():
    photos, known = bright_and_warm(16)
    values = known.values.clone()
    values[:, 0] = 0
    values[values[:, 1] < 0, 1] = 0
    held_out = AttributeTable(known.names, known.attributes, values)
    phase = prepared(AttributePhase(CONFIG, known, photos, held_out))
    with torch.no_grad():
        phase.classifier.head.weight.zero_()
        phase.classifier.head.bias.copy_(torch.tensor([-1.0, 1.0]))
    found = phase.validate()
    assert found["accuracy/warm"] == 1.0
    assert found["accuracy/bright"] == 0.0  # nothing is known


def test_rarer_answers_weigh_more_as_balance_says():
    labels = torch.tensor([[1.0]] * 2 + [[-1.0]] * 6 + [[0.0]] * 5)
    yes, no = answer_weights(labels, 1.0)
    assert yes.item() == pytest.approx(0.5 / 0.3)  # (2 + 1) / (8 + 2)
    assert no.item() == pytest.approx(0.5 / 0.7)
    assert [w.item() for w in answer_weights(labels, 0.0)] == [1.0, 1.0]


def test_rate_rises_for_a_tenth_and_falls_to_zero():
    assert [rate(step, 100) for step in (0, 9, 10)] == [0.1, 1.0, 1.0]
    assert rate(55, 100) == pytest.approx(0.5)
    assert rate(100, 100) == pytest.approx(0)
    assert rate(1000, 100) == pytest.approx(0)


def test_shift_moves_whole_pixels_and_keeps_the_shape():
    photos = tiny_photos(2)
    moves = [shifted(photos, 2) for _ in range(8)]
    assert {tuple(move.shape) for move in moves} == {tuple(photos.shape)}
    assert any(not torch.equal(move, photos) for move in moves)
    middle = photos[:, :, 8:24, 8:24]
    found = [
        any(
            torch.equal(move[:, :, 8 + i : 24 + i, 8 + j : 24 + j], middle)
            for i in range(-2, 3)
            for j in range(-2, 3)
        )
        for move in moves
    ]
    assert all(found)
    assert shifted(photos, 0) is photos


def test_resumes_exactly():
    photos, _ = bright_and_warm(8)

    class Labelled(AttributePhase):
        def train_step(self, photos, step):
            return super().train_step(photos, step, self.labels[: len(photos)])

    def fresh():
        config = replace(CONFIG, jitter=2, network=replace(CONFIG.network, dropout=0.5))
        return Labelled(config, bright_and_warm(16)[1])

    assert_resumes(fresh, photos)


def test_saves_a_classifier_that_loads(tmp_path):
    phase = prepared(make())
    train(phase, 0, 3)
    phase.save_model(tmp_path)
    loaded = AttributeClassifier.load(tmp_path / FILE)
    assert loaded.config.attributes == ("bright", "warm")
    photos, _ = bright_and_warm(4)
    expected = phase.classifier.eval()(photos)
    torch.testing.assert_close(loaded(photos), expected, rtol=2e-2, atol=2e-2)


def test_refuses_columns_that_are_no_answers():
    values = torch.tensor([[3.5], [1.0]])
    with pytest.raises(ConfigError, match="yes and no"):
        AttributePhase(CONFIG, AttributeTable(("a", "b"), ("age",), values))
    wanted = replace(CONFIG, network=replace(CONFIG.network, attributes=("hat",)))
    with pytest.raises(ConfigError, match="got hat; the table has bright, warm"):
        AttributePhase(wanted, bright_and_warm(4)[1])
